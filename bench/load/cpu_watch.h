// SPDX-License-Identifier: Apache-2.0
//
// CPU time of processes, exact to the nanosecond at the moment of asking.
#ifndef SPICEGATE_BENCH_LOAD_CPU_WATCH_H_
#define SPICEGATE_BENCH_LOAD_CPU_WATCH_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace spicegate {

// User and system time of all threads that the processes have and had; nothing
// when one of them is gone. What a kernel thread does for them does not count.
std::optional<int64_t> CpuTimeNs(const std::vector<pid_t>& pids);

// This process's own.
int64_t OwnCpuTimeNs();

// Of the last minute; negative when the system does not say.
double LoadAverage();

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_CPU_WATCH_H_
