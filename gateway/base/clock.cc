// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/clock.h"

#include <time.h>

namespace spicegate {
namespace {

int64_t NowMs(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace

int64_t MonotonicMs() { return NowMs(CLOCK_MONOTONIC); }

int64_t WallClockMs() { return NowMs(CLOCK_REALTIME); }

}  // namespace spicegate
