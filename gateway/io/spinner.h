// SPDX-License-Identifier: Apache-2.0
//
// Looks for work a little longer before a worker sleeps, as SpinPolicy allows.
#ifndef SPICEGATE_GATEWAY_IO_SPINNER_H_
#define SPICEGATE_GATEWAY_IO_SPINNER_H_

#include <cstdint>

#include "gateway/base/counters.h"
#include "gateway/base/spin_policy.h"
#include "gateway/io/driver.h"

namespace spicegate {

// One worker's, on its thread.
class Spinner {
 public:
  // Both outlive it. `budget_us` as in SpinPolicy.
  Spinner(IoDriver* driver, WorkerCounters* counters, int64_t budget_us)
      : driver_(driver), counters_(counters), policy_(budget_us) {}

  // Call when nothing is left to do; Wait follows in any case.
  void BeforeSleep();

 private:
  void NoticePreemption(int64_t now_us);

  IoDriver* const driver_;
  WorkerCounters* const counters_;
  SpinPolicy policy_;
  int64_t interactive_moves_ = 0;  // seen so far
  bool interested_ = false;        // the last of them may still call for it
  int64_t asked_us_ = 0;           // when the kernel was asked for preemptions
  int64_t preemptions_ = 0;        // and how many there had been
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_SPINNER_H_
