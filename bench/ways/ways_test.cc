// SPDX-License-Identifier: Apache-2.0
//
// Every way moves exactly the bytes that were sent, in both directions, and
// passes the ends on. How fast is not asked.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <string>
#include <vector>

#include "bench/ways/questions.h"
#include "bench/ways/runner.h"

namespace spicegate {
namespace {

constexpr double kPatienceSeconds = 60;

// All ways of all questions, each name once.
std::vector<Way> EveryWay() {
  std::vector<Way> ways;
  for (const Question& question : Questions()) {
    for (const Way& way : question.ways) {
      const bool known =
          std::any_of(ways.begin(), ways.end(),
                      [&](const Way& other) { return other.name == way.name; });
      if (!known) {
        ways.push_back(way);
      }
    }
  }
  return ways;
}

class WaysTest : public testing::TestWithParam<Way> {
 protected:
  void MovesAll(const Workload& workload) {
    const std::string why_not = WhyImpossible(GetParam());
    if (!why_not.empty()) {
      std::printf("SKIPPED: %s\n", why_not.c_str());
      return;
    }
    RunOptions options;
    options.seconds = kPatienceSeconds;
    const RunResult result = RunOnce(GetParam(), workload, options);
    EXPECT_TRUE(result.over);
    EXPECT_EQ(result.num_wrong, 0u);
  }
};

TEST_P(WaysTest, MovesABulkStream) {
  Workload workload;
  workload.connections = 3;
  workload.write_bytes = 256 * 1024;
  workload.stream_bytes = 5'000'011;
  MovesAll(workload);
}

TEST_P(WaysTest, MovesWhatIsSentInSmallerWrites) {
  Workload workload;
  workload.write_bytes = 5'000;
  workload.stream_bytes = 1'000'003;
  MovesAll(workload);
}

// More connections than there are provided buffers.
TEST_P(WaysTest, AnswersSmallMessages) {
  Workload workload;
  workload.connections = GetParam().mover == Mover::kRingSplice ? 7 : 70;
  workload.stream_bytes = 64 * 20;
  MovesAll(workload);
}

INSTANTIATE_TEST_SUITE_P(AllWays, WaysTest, testing::ValuesIn(EveryWay()),
                         [](const testing::TestParamInfo<Way>& info) {
                           std::string name;
                           for (const char c : info.param.name) {
                             name += std::isalnum(static_cast<unsigned char>(c))
                                         ? c
                                         : '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace spicegate
