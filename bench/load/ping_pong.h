// SPDX-License-Identifier: Apache-2.0
//
// The round trips of one channel: what was sent and when it was due.
#ifndef SPICEGATE_BENCH_LOAD_PING_PONG_H_
#define SPICEGATE_BENCH_LOAD_PING_PONG_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "bench/load/pattern.h"

namespace spicegate {

// The shortest message; a shorter one could be taken for a command.
inline constexpr uint32_t kMinPingLen = 20;

// With a period, each message has a time at which it is due whatever the
// answers do, and latency counts from there: a relay that stalls is charged
// for every message that had to wait, not for one (coordinated omission).
// Without a period one message is under way at a time and nothing is corrected.
class PingPong {
 public:
  PingPong(uint32_t message_len, uint16_t seed, int64_t period_ns,
           int64_t first_ns);

  // The message due at `due_ns`; valid until the pattern's next use.
  proto::Bytes Next(PatternBuffer* pattern, int64_t due_ns);
  // An answer has come: when its message was due, or nothing for an answer
  // that is wrong or was never asked for.
  std::optional<int64_t> OnAnswer(const PatternBuffer& pattern,
                                  proto::Bytes body);

  bool is_closed_loop() const { return period_ns_ == 0; }
  // When the next message is due; and the one after that.
  int64_t next_due_ns() const { return next_due_ns_; }
  void SkipToNext() { next_due_ns_ += period_ns_; }
  size_t num_under_way() const { return due_ns_.size(); }

 private:
  const FloodPlan plan_;
  const int64_t period_ns_;
  int64_t next_due_ns_;
  uint64_t num_sent_ = 0;
  uint64_t num_answered_ = 0;
  std::deque<int64_t> due_ns_;  // Of the messages under way.
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_PING_PONG_H_
