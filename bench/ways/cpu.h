// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_BENCH_WAYS_CPU_H_
#define SPICEGATE_BENCH_WAYS_CPU_H_

#include <sched.h>
#include <time.h>

#include <cstdint>

namespace spicegate {

inline int64_t ClockNs(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

inline int64_t MonotonicNs() { return ClockNs(CLOCK_MONOTONIC); }

// CPU time of the process without the calling thread.
inline int64_t OtherThreadsCpuNs() {
  return ClockNs(CLOCK_PROCESS_CPUTIME_ID) - ClockNs(CLOCK_THREAD_CPUTIME_ID);
}

// Keeps the calling thread on one processor; without effect where that
// processor does not exist.
inline void PinTo(int cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(cpu, &cpus);
  sched_setaffinity(0, sizeof(cpus), &cpus);
}

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_WAYS_CPU_H_
