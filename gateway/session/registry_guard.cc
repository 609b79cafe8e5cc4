// SPDX-License-Identifier: Apache-2.0
//
// What the guards of a registry's channels have found.
#include <utility>

#include "gateway/base/counter_names.h"
#include "gateway/base/log.h"
#include "gateway/relay/guard_rules.h"
#include "gateway/session/registry.h"

namespace spicegate {

bool SessionRegistry::AllowsInit(Handle handle,
                                 std::span<const uint8_t> message,
                                 proto::HeaderKind kind) {
  Session* session = sessions_.Get(handle);
  const size_t header_len = proto::DataHeaderLen(kind);
  const auto header = proto::ParseDataHeader(kind, message.first(header_len));
  if (session == nullptr ||
      session->terms.target.console->guard == GuardMode::kOff ||
      (IsGoodDisplayInit(message.subspan(header_len)) &&
       header->sub_list == 0)) {
    return true;
  }
  relay_.pumps.counters
      ->guard_refusals[static_cast<size_t>(proto::ChannelType::kDisplay)]
                      [static_cast<size_t>(GuardRule::kClaimedSize)]
      .Add(1);
  LogRefusal(session, proto::ChannelType::kDisplay,
             GuardRuleName(GuardRule::kClaimedSize), *header);
  return session->terms.target.console->guard == GuardMode::kCount;
}

void SessionRegistry::OnGuardRefusal(Channel* channel,
                                     std::optional<GuardRule> rule,
                                     const proto::DataHeader& header) {
  if (Session* session = sessions_.Get(channel->session())) {
    LogRefusal(session, channel->key().type,
               rule.has_value() ? GuardRuleName(*rule) : "server_message",
               header);
  }
}

void SessionRegistry::LogRefusal(Session* session, proto::ChannelType type,
                                 std::string_view rule,
                                 const proto::DataHeader& header) {
  // Once: a client can send thousands of them. Never a body: keystrokes.
  if (std::exchange(session->guard_logged, true)) {
    return;
  }
  const Console& console = *session->terms.target.console;
  const bool counted =
      rule != "server_message" && console.guard == GuardMode::kCount;
  LogLine(LogLevel::kWarning, "guard_refused")
      .Str("console", console.name)
      .Str("client", session->terms.client)
      .Str("channel", proto::ChannelName(type))
      .Str("rule", rule)
      .Int("type", header.type)
      .Int("size", header.size)
      .Str("action", counted ? "counted" : "closed");
}

}  // namespace spicegate
