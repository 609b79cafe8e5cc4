// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/bypass_audit.h"

#include <string_view>
#include <utility>
#include <vector>

#include "gateway/base/log.h"
#include "proto/channel.h"

namespace spicegate {
namespace {

std::string PeerText(const ForeignChannels::Foreign& foreign) {
  const bool is_v6 = foreign.host.find(':') != std::string::npos;
  return (is_v6 ? "[" + foreign.host + "]" : foreign.host) + ":" +
         std::to_string(foreign.port);
}

std::string_view TypeText(int type) {
  const int byte = type >= 0 && type <= 255 ? type : 0;
  return proto::ChannelName(static_cast<proto::ChannelType>(byte));
}

}  // namespace

BypassAudit::BypassAudit(std::string console, int64_t first_look_ms)
    : console_(std::move(console)),
      next_look_ms_(first_look_ms),
      watch_until_ms_(first_look_ms + kWatchMs) {}

void BypassAudit::Asked(int64_t now_ms) {
  watch_until_ms_ = now_ms + kWatchMs;
  if (next_look_ms_ == INT64_MAX) {
    next_look_ms_ = now_ms + kLookEveryMs;
  }
  asked_ = true;
}

void BypassAudit::Listed(const QmpSpice& spice, int64_t now_ms) {
  channels_.Listed(spice.channels, now_ms);
}

void BypassAudit::Opened(const QmpChannel& channel, int64_t now_ms) {
  channels_.Opened(channel, now_ms);
}

void BypassAudit::Closed(const QmpAddress& peer) { channels_.Closed(peer); }

void BypassAudit::Looked(bool ok, bool listening, int64_t now_ms) {
  if (!listening) {
    channels_.Listed({}, now_ms);
  }
  looked_ = looked_ || ok;
  const bool watching = now_ms < watch_until_ms_ && (asked_ || !looked_);
  next_look_ms_ =
      watching || channels_.num_open() > 0 ? now_ms + kLookEveryMs : INT64_MAX;
}

uint64_t BypassAudit::Judge(int64_t now_ms, const IsOurs& is_ours) {
  const std::vector<ForeignChannels::Foreign> foreign =
      channels_.Judge(now_ms, is_ours);
  for (const ForeignChannels::Foreign& channel : foreign) {
    Log(channel, now_ms);
  }
  return foreign.size();
}

void BypassAudit::Log(const ForeignChannels::Foreign& foreign, int64_t now_ms) {
  if (now_ms >= log_period_ends_ms_) {
    log_period_ends_ms_ = now_ms + kLogPeriodMs;
    lines_ = 0;
  }
  if (++lines_ <= kMaxLinesPerPeriod) {
    LogLine(LogLevel::kWarning, "qmp_foreign_channel")
        .Str("console", console_)
        .Str("peer", PeerText(foreign))
        .Str("channel", TypeText(foreign.channel_type));
  }
}

}  // namespace spicegate
