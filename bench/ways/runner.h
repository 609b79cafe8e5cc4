// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_BENCH_WAYS_RUNNER_H_
#define SPICEGATE_BENCH_WAYS_RUNNER_H_

#include <cstdint>
#include <string>

#include "bench/ways/load.h"
#include "bench/ways/way.h"

namespace spicegate {

struct RunOptions {
  double warmup_seconds = 0.15;
  double seconds = 0.5;
  // The relay's thread on one, the load's on the other.
  int relay_cpu = 0;
  int load_cpu = 1;
  // Of all sockets; empty: the machine's default. Some (bbr) pace what they
  // send by timers, which on loopback costs more than all that is compared.
  std::string congestion_control = "cubic";
};

// What one run gave. A unit is a byte of bulk or a round trip of ping-pong.
struct RunResult {
  double units_per_second = 0;
  double cpu_ns_per_unit = 0;  // of the relay, its kernel threads included
  double p50_us = 0;           // ping-pong only
  double p99_us = 0;
  uint64_t num_wrong = 0;  // finite workloads: must be 0
  bool over = false;       // finite workloads: every stream ended
};

// Connects the workload's pairs through the way, over TCP on loopback, runs
// for the time of `options` (a finite workload: until it is over, at most
// that long) and takes everything down. The calling thread is the load's.
RunResult RunOnce(const Way& way, const Workload& workload,
                  const RunOptions& options);

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_WAYS_RUNNER_H_
