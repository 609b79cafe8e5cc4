// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_BENCH_WAYS_COMPARISON_H_
#define SPICEGATE_BENCH_WAYS_COMPARISON_H_

#include <string>
#include <vector>

#include "bench/ways/questions.h"
#include "bench/ways/runner.h"

namespace spicegate {

// The median of some runs and the half of them that lies around it.
struct Spread {
  double median = 0;
  double low = 0;   // lower quartile
  double high = 0;  // upper quartile

  static Spread Of(std::vector<double> values);
};

// One way under one workload, beside the question's first way: ratios are made
// within each round, then the median of them is taken.
struct Row {
  std::string question;
  std::string workload;
  std::string way;
  std::string not_run;  // why; everything else is 0 then
  Spread cpu;           // ns a byte, or a round trip
  Spread rate;          // bytes or round trips a second
  Spread p50_us;
  Spread p99_us;
  Spread cpu_ratio;
  Spread rate_ratio;
  uint64_t num_wrong = 0;  // bytes or ends that were not as sent: must be 0
};

// Runs a question's workloads, each with all its ways in turn, `num_rounds`
// times; what disturbs the machine then disturbs them all.
std::vector<Row> Compare(const Question& question, int num_rounds,
                         const RunOptions& options);

// A table a workload.
std::string TextOf(const std::vector<Row>& rows);
// One JSON object a line.
std::string JsonOf(const std::vector<Row>& rows);

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_WAYS_COMPARISON_H_
