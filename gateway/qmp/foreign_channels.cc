// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/foreign_channels.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

namespace spicegate {
namespace {

// A server that listens on "::" names its IPv4 peers in IPv6's way.
std::string CanonicalHost(const std::string& host) {
  constexpr std::string_view kMapped = "::ffff:";
  const bool mapped =
      host.starts_with(kMapped) && host.find('.') != std::string::npos;
  return mapped ? host.substr(kMapped.size()) : host;
}

bool ParsePort(const std::string& text, uint16_t* port) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *port);
  return error == std::errc() && stop == end && *port != 0;
}

bool HasAddress(const QmpAddress& peer) {
  return peer.family == QmpAddress::Family::kIpv4 ||
         peer.family == QmpAddress::Family::kIpv6;
}

}  // namespace

bool ForeignChannels::MakeKey(const QmpChannel& channel, Key* key) {
  if (!HasAddress(channel.peer) || !ParsePort(channel.peer.port, &key->port)) {
    return false;
  }
  key->host = CanonicalHost(channel.peer.host);
  key->channel_type = channel.channel_type;
  key->channel_id = channel.channel_id;
  key->connection_id = channel.connection_id;
  return true;
}

void ForeignChannels::Opened(const QmpChannel& channel, int64_t now_ms) {
  Key key;
  if (!MakeKey(channel, &key)) {
    return;
  }
  const auto found = channels_.find(key);
  if (found != channels_.end()) {
    found->second.open = true;
  } else if (channels_.size() < kMaxChannels) {
    const int64_t judge_at_ms = now_ms + kJudgeAfterMs;
    channels_[std::move(key)] = {judge_at_ms, false, true};
    judge_at_ms_ = std::min(judge_at_ms_, judge_at_ms);
  }
}

void ForeignChannels::Closed(const QmpAddress& peer) {
  uint16_t port = 0;
  if (!HasAddress(peer) || !ParsePort(peer.port, &port)) {
    return;
  }
  const std::string host = CanonicalHost(peer.host);
  for (auto& [key, seen] : channels_) {
    if (key.port == port && key.host == host) {
      seen.open = false;
    }
  }
  Forget();
}

void ForeignChannels::Listed(const std::vector<QmpChannel>& channels,
                             int64_t now_ms) {
  for (auto& [key, seen] : channels_) {
    seen.open = false;
  }
  num_unix_ = 0;
  for (const QmpChannel& channel : channels) {
    num_unix_ += HasAddress(channel.peer) ? 0 : 1;
    Opened(channel, now_ms);
  }
  Forget();
}

std::vector<ForeignChannels::Foreign> ForeignChannels::Judge(
    int64_t now_ms, const IsOurs& is_ours) {
  std::vector<Foreign> foreign;
  if (now_ms < judge_at_ms_) {
    return foreign;
  }
  judge_at_ms_ = INT64_MAX;
  for (auto& [key, seen] : channels_) {
    if (seen.judged) {
      continue;
    }
    seen.judged = now_ms >= seen.judge_at_ms;
    if (!seen.judged) {
      judge_at_ms_ = std::min(judge_at_ms_, seen.judge_at_ms);
    } else if (!is_ours(key.host, key.port)) {
      foreign.push_back({key.host, key.port, key.channel_type, key.channel_id});
    }
  }
  Forget();
  return foreign;
}

void ForeignChannels::Forget() {
  std::erase_if(channels_, [](const auto& entry) {
    return entry.second.judged && !entry.second.open;
  });
}

size_t ForeignChannels::num_tcp_open() const {
  return static_cast<size_t>(
      std::count_if(channels_.begin(), channels_.end(),
                    [](const auto& entry) { return entry.second.open; }));
}

}  // namespace spicegate
