// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_BASE_CIRCUIT_BREAKER_H_
#define SPICEGATE_GATEWAY_BASE_CIRCUIT_BREAKER_H_

#include <cstdint>

namespace spicegate {

// Keeps callers from waiting for a peer that does not answer:
//
//   closed --kFailuresToOpen in a row--> open --its time is over--> half open
//     ^                                   ^                          |      |
//     |                                   +-- twice as long --failed-+      |
//     +-------------------------------------------------------succeeded-----+
//
// Whoever got true from Allow says how it ended. Half open lets one through,
// the probe. Pure: times are milliseconds of the caller's clock.
class CircuitBreaker {
 public:
  static constexpr int kFailuresToOpen = 3;
  static constexpr int64_t kFirstOpenMs = 5'000;
  static constexpr int64_t kLongestOpenMs = 60'000;

  // Whether to try now.
  bool Allow(int64_t now_ms);

  // What was tried went well. True when that closes the breaker.
  bool Succeeded();

  // What was tried failed. True when that opens the breaker, which was closed.
  bool Failed(int64_t now_ms);

  // The next one may try at once: there is reason to think that it succeeds.
  void Probe();

  // Not closed.
  bool open() const { return state_ != State::kClosed; }

 private:
  enum class State : uint8_t { kClosed, kOpen, kHalfOpen };

  State state_ = State::kClosed;
  int failures_ = 0;  // in a row, while closed
  int64_t open_ms_ = kFirstOpenMs;
  int64_t open_until_ms_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_CIRCUIT_BREAKER_H_
