// SPDX-License-Identifier: Apache-2.0
//
// When a worker without work should look for more of it for a moment instead
// of going to sleep. Being woken is most of what an idle relay adds to a round
// trip: 80 us on a virtual machine, of which 6 are work (docs/decisions/0006).
//
// It spins only while interactive channels are at work, only as long as that
// pays (what was spun in vain is bounded as a share of time), and not on a core
// that others want.
#ifndef SPICEGATE_GATEWAY_BASE_SPIN_POLICY_H_
#define SPICEGATE_GATEWAY_BASE_SPIN_POLICY_H_

#include <cstdint>

namespace spicegate {

// Pure arithmetic on the times it is given: monotonic microseconds. One
// thread's.
class SpinPolicy {
 public:
  // `budget_us`: the longest spin before one sleep; 0: never.
  explicit SpinPolicy(int64_t budget_us) : budget_us_(budget_us) {}

  // How long to spin now before sleeping; 0: sleep at once.
  int64_t SpinUs(int64_t now_us);

  // An interactive channel has moved bytes.
  void OnInteractive(int64_t now_us) { last_interactive_us_ = now_us; }

  // A spin of `spent_us` has ended; `hit`: it found work.
  void OnSpun(int64_t spent_us, bool hit);

  // The system took the core away from us: others need it.
  void OnPreempted(int64_t now_us) { paused_until_us_ = now_us + kPauseUs; }

  // Interactive work this long ago still calls for spinning.
  static constexpr int64_t kRecentUs = 5'000;
  // Time spun in vain: a tenth of all time, and at most this much at once.
  static constexpr int64_t kShare = 10;
  static constexpr int64_t kMaxCreditUs = 2'000;
  // Rest after a preemption.
  static constexpr int64_t kPauseUs = 100'000;

 private:
  const int64_t budget_us_;
  int64_t last_interactive_us_ = -kRecentUs;
  int64_t paused_until_us_ = 0;
  int64_t credited_until_us_ = 0;
  int64_t credit_us_ = kMaxCreditUs;  // what may yet be spun in vain
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_SPIN_POLICY_H_
