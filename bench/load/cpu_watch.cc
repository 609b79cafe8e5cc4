// SPDX-License-Identifier: Apache-2.0
#include "bench/load/cpu_watch.h"

#include <stdlib.h>
#include <time.h>

namespace spicegate {
namespace {

std::optional<int64_t> ReadClock(clockid_t clock) {
  timespec time;
  if (clock_gettime(clock, &time) != 0) {
    return std::nullopt;
  }
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

std::optional<int64_t> CpuTimeNs(const std::vector<pid_t>& pids) {
  int64_t sum_ns = 0;
  for (const pid_t pid : pids) {
    clockid_t clock;
    if (clock_getcpuclockid(pid, &clock) != 0) {
      return std::nullopt;
    }
    const std::optional<int64_t> ns = ReadClock(clock);
    if (!ns.has_value()) {
      return std::nullopt;
    }
    sum_ns += *ns;
  }
  return sum_ns;
}

int64_t OwnCpuTimeNs() {
  return ReadClock(CLOCK_PROCESS_CPUTIME_ID).value_or(0);
}

double LoadAverage() {
  double load = -1;
  return getloadavg(&load, 1) == 1 ? load : -1;
}

}  // namespace spicegate
