// SPDX-License-Identifier: Apache-2.0
#include "bench/load/ping_pong.h"

#include "proto/data_header.h"
#include "proto/messages.h"

namespace spicegate {

PingPong::PingPong(uint32_t message_len, uint16_t seed, int64_t period_ns,
                   int64_t first_ns)
    : plan_({.type = proto::kMsgcInputsKeyScancode,
             .seed = seed,
             .min_len = message_len,
             .max_len = message_len}),
      period_ns_(period_ns),
      next_due_ns_(first_ns) {}

proto::Bytes PingPong::Next(PatternBuffer* pattern, int64_t due_ns) {
  due_ns_.push_back(due_ns);
  return pattern->Make(plan_, num_sent_++, 0, plan_.min_len);
}

std::optional<int64_t> PingPong::OnAnswer(const PatternBuffer& pattern,
                                          proto::Bytes body) {
  if (due_ns_.empty() || body.size() != plan_.min_len - proto::kMiniHeaderLen ||
      !pattern.Matches(plan_, num_answered_, 0, body, false)) {
    return std::nullopt;
  }
  ++num_answered_;
  const int64_t due_ns = due_ns_.front();
  due_ns_.pop_front();
  return due_ns;
}

}  // namespace spicegate
