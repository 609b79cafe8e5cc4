// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/spinner.h"

#include <sys/resource.h>

#include "gateway/base/clock.h"

namespace spicegate {
namespace {

// Preemptions are counted over this time (asking costs a system call), and as
// many as these mean that somebody else wants the core: a busy neighbour takes
// it every few milliseconds, the kernel's own threads a few times a second.
constexpr int64_t kAskingUs = 20'000;
constexpr int64_t kPreemptionsOfALoadedCore = 3;

}  // namespace

void Spinner::BeforeSleep() {
  const int64_t moves = counters_->interactive_moves.value();
  const bool active = moves != interactive_moves_;
  if (!active && !interested_) {
    return;  // the common case, without a look at the clock
  }
  const int64_t begin_us = MonotonicUs();
  if (active) {
    interactive_moves_ = moves;
    policy_.OnInteractive(begin_us);
  }
  const int64_t spin_us = policy_.SpinUs(begin_us);
  interested_ = spin_us > 0;
  if (spin_us == 0) {
    return;
  }
  const bool hit = driver_->Spin(spin_us);
  const int64_t end_us = MonotonicUs();
  policy_.OnSpun(end_us - begin_us, hit);
  counters_->spin_us.Add(end_us - begin_us);
  (hit ? counters_->spins_hit : counters_->spins_missed).Add(1);
  if (end_us - asked_us_ >= kAskingUs) {
    NoticePreemption(end_us);
  }
}

void Spinner::NoticePreemption(int64_t now_us) {
  rusage usage{};
  if (getrusage(RUSAGE_THREAD, &usage) != 0) {
    return;
  }
  const int64_t num_new = usage.ru_nivcsw - preemptions_;
  const int64_t num_windows = (now_us - asked_us_) / kAskingUs;
  if (num_new >= kPreemptionsOfALoadedCore * num_windows) {
    policy_.OnPreempted(now_us);
  }
  asked_us_ = now_us;
  preemptions_ = usage.ru_nivcsw;
}

}  // namespace spicegate
