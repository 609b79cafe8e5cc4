// SPDX-License-Identifier: Apache-2.0
//
// For tests: a guard with a host that notes what it is told.
#ifndef SPICEGATE_GATEWAY_RELAY_GUARD_FIXTURE_H_
#define SPICEGATE_GATEWAY_RELAY_GUARD_FIXTURE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "gateway/base/counters.h"
#include "gateway/relay/filter_runner.h"
#include "gateway/relay/guard.h"
#include "proto/data_header.h"

namespace spicegate {

class NotingHost final : public GuardHost {
 public:
  void OnGuardRefusal(GuardRule rule,
                      const proto::DataHeader& header) override {
    rules.push_back(rule);
    refused.push_back(header);
  }
  void OnPolicyDrop(PolicyDrop drop) override { drops.push_back(drop); }
  void OnAgentDataDropped() override { ++tokens_owed; }
  void OnMotionDropped() override { ++acks_owed; }
  void OnDisplayInit() override { ++inits; }
  void OnMigrationReply(uint16_t type) override { replies.push_back(type); }
  void OnDestinationTaken() override { ++takeovers; }

  std::vector<GuardRule> rules;
  std::vector<proto::DataHeader> refused;
  std::vector<PolicyDrop> drops;
  std::vector<uint16_t> replies;
  int tokens_owed = 0;
  int acks_owed = 0;
  int inits = 0;
  int takeovers = 0;
};

// One leg of a channel. `context` without a host.
struct GuardedLeg {
  explicit GuardedLeg(GuardContext context)
      : guard((context.host = &host, context)) {}

  // Whether `message` goes on as it is, and breaks no rule.
  bool Passes(std::span<const uint8_t> message) {
    const size_t num_rules = host.rules.size();
    return GoesOn(message) && host.rules.size() == num_rules;
  }

  // Whether it goes on, whatever the rules think of it.
  bool GoesOn(std::span<const uint8_t> message) {
    const size_t before = runner.out().size();
    runner.Feed(message);
    return runner.then() == PumpFilter::Then::kGoOn &&
           std::ranges::equal(std::span(runner.out()).subspan(before), message);
  }

  // The rule that stops `message` and the channel with it.
  std::optional<GuardRule> Refusal(std::span<const uint8_t> message) {
    const size_t before = runner.out().size();
    const size_t num_rules = host.rules.size();
    runner.Feed(message);
    const bool refused = runner.then() == PumpFilter::Then::kRefuse &&
                         runner.out().size() == before &&
                         host.rules.size() == num_rules + 1;
    return refused ? std::optional(host.rules.back()) : std::nullopt;
  }

  NotingHost host;
  Guard guard;
  FilterRunner runner{&guard};
};

// A message as a client sends it.
inline std::vector<uint8_t> ClientMessage(proto::HeaderKind kind,
                                          proto::DataHeader header,
                                          std::span<const uint8_t> body) {
  std::vector<uint8_t> message(proto::DataHeaderLen(kind));
  proto::EncodeDataHeader(kind, header, message);
  message.insert(message.end(), body.begin(), body.end());
  return message;
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_GUARD_FIXTURE_H_
