// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/circuit_breaker.h"

#include <algorithm>

namespace spicegate {

bool CircuitBreaker::Allow(int64_t now_ms) {
  if (state_ == State::kOpen && now_ms >= open_until_ms_) {
    state_ = State::kHalfOpen;
    return true;
  }
  return state_ == State::kClosed;
}

bool CircuitBreaker::Succeeded() {
  const bool was_open = open();
  state_ = State::kClosed;
  failures_ = 0;
  open_ms_ = kFirstOpenMs;
  return was_open;
}

bool CircuitBreaker::Failed(int64_t now_ms) {
  if (state_ == State::kClosed) {
    if (++failures_ < kFailuresToOpen) {
      return false;
    }
  } else {
    open_ms_ = std::min(open_ms_ * 2, kLongestOpenMs);
  }
  const bool was_open = open();
  state_ = State::kOpen;
  open_until_ms_ = now_ms + open_ms_;
  return !was_open;
}

void CircuitBreaker::Probe() { open_until_ms_ = 0; }

}  // namespace spicegate
