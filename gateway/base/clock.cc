// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/clock.h"

#include <time.h>

namespace spicegate {
namespace {

int64_t NowUs(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

}  // namespace

int64_t MonotonicMs() { return NowUs(CLOCK_MONOTONIC) / 1000; }

int64_t MonotonicUs() { return NowUs(CLOCK_MONOTONIC); }

int64_t WallClockMs() { return NowUs(CLOCK_REALTIME) / 1000; }

}  // namespace spicegate
