// SPDX-License-Identifier: Apache-2.0
//
// What the comparison asks: ways, the loads they are put under, and which of
// them the others are measured by.
#ifndef SPICEGATE_BENCH_WAYS_QUESTIONS_H_
#define SPICEGATE_BENCH_WAYS_QUESTIONS_H_

#include <string>
#include <vector>

#include "bench/ways/load.h"
#include "bench/ways/way.h"

namespace spicegate {

struct Question {
  std::string name;       // for --question
  std::string about;      // one line
  std::vector<Way> ways;  // ratios are to the first
  std::vector<Workload> workloads;
};

std::vector<Question> Questions();

// Whether a way is worth a workload; a reason when it is not.
std::string WhyPointless(const Way& way, const Workload& workload);

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_WAYS_QUESTIONS_H_
