// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_BASE_CLOCK_H_
#define SPICEGATE_GATEWAY_BASE_CLOCK_H_

#include <cstdint>

namespace spicegate {

// Monotonic milliseconds (CLOCK_MONOTONIC). What runs on a driver asks the
// driver instead, whose clock a simulator controls.
int64_t MonotonicMs();
// The same clock in microseconds, for what is shorter than a timer's tick.
int64_t MonotonicUs();

// Wall-clock milliseconds since 1970, for log stamps and certificates only.
int64_t WallClockMs();

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_CLOCK_H_
