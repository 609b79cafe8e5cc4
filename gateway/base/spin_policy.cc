// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/spin_policy.h"

#include <algorithm>

namespace spicegate {

int64_t SpinPolicy::SpinUs(int64_t now_us) {
  if (budget_us_ == 0 || now_us - last_interactive_us_ > kRecentUs ||
      now_us < paused_until_us_) {
    return 0;
  }
  // Credit grows in whole units; the remainder of the time is kept.
  const int64_t earned_us = (now_us - credited_until_us_) / kShare;
  credited_until_us_ += earned_us * kShare;
  credit_us_ = std::min(credit_us_ + earned_us, kMaxCreditUs);
  return credit_us_ >= budget_us_ ? budget_us_ : 0;
}

void SpinPolicy::OnSpun(int64_t spent_us, bool hit) {
  if (!hit) {
    credit_us_ -= spent_us;
  }
}

}  // namespace spicegate
