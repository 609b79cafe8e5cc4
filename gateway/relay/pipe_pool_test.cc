// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/pipe_pool.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"

namespace spicegate {
namespace {

TEST(PipePoolTest, ReusesTheLastOneGivenBack) {
  SimNetwork network{SimOptions{}};
  SimDriver driver(&network);
  WorkerCounters counters;
  {
    PipePool pool(&driver, &counters);
    auto first = pool.Take();
    auto second = pool.Take();
    ASSERT_TRUE(first != nullptr && second != nullptr);
    EXPECT_EQ(counters.pipes_in_use.value(), 2);
    const RelayPipe* const last = first.get();
    pool.Give(std::move(second));
    pool.Give(std::move(first));
    EXPECT_EQ(counters.pipes_in_use.value(), 0);
    EXPECT_EQ(network.OpenPipes(), 2u);
    auto again = pool.Take();
    EXPECT_EQ(again.get(), last);
    pool.Give(std::move(again));
  }
  EXPECT_EQ(network.OpenPipes(), 0u);
}

TEST(PipePoolTest, ClosesAPipeThatHasBytesInside) {
  SimNetwork network{SimOptions{}};
  SimDriver driver(&network);
  WorkerCounters counters;
  PipePool pool(&driver, &counters);
  auto pipe = pool.Take();
  pipe->bytes = 1;
  pool.Give(std::move(pipe));
  EXPECT_EQ(network.OpenPipes(), 0u);
}

TEST(PipePoolTest, HasNoMoreThanItsLimit) {
  SimNetwork network{SimOptions{}};
  SimDriver driver(&network);
  WorkerCounters counters;
  PipePool pool(&driver, &counters, {.max_pipes = 3});
  std::vector<std::unique_ptr<RelayPipe>> pipes;
  for (int i = 0; i < 3; ++i) {
    pipes.push_back(pool.Take());
    EXPECT_NE(pipes.back(), nullptr);
  }
  EXPECT_EQ(pool.Take(), nullptr);
  EXPECT_EQ(counters.pipe_shortages.value(), 1);
  for (auto& pipe : pipes) {
    pool.Give(std::move(pipe));
  }
  pipes[0] = pool.Take();
  EXPECT_NE(pipes[0], nullptr);
  pool.Give(std::move(pipes[0]));
}

TEST(PipePoolTest, TriesAgainAfterAWhileWithoutDescriptors) {
  SimOptions options;
  options.faults.pipe_error = 1;
  SimNetwork broken(options);
  SimDriver driver(&broken);
  WorkerCounters counters;
  PipePool pool(&driver, &counters);
  EXPECT_EQ(pool.Take(), nullptr);
  EXPECT_EQ(pool.Take(), nullptr);
  EXPECT_EQ(counters.pipe_shortages.value(), 2);
  EXPECT_EQ(counters.pipes_in_use.value(), 0);
}

TEST(PipePoolTest, SmallPipesOfAUsedUpQuotaAreNotWorthIt) {
  SimOptions options;
  options.pipe_quota_bytes = kPipeBytes;
  SimNetwork network(options);
  SimDriver driver(&network);
  WorkerCounters counters;
  PipePool pool(&driver, &counters,
                {.pipe_bytes = kPipeBytes, .max_pipes = 1000});
  std::vector<std::unique_ptr<RelayPipe>> pipes;
  for (auto pipe = pool.Take(); pipe != nullptr; pipe = pool.Take()) {
    EXPECT_GE(pipe->pipe.capacity_bytes, kFewestPipeBytes);
    pipes.push_back(std::move(pipe));
    ASSERT_LE(pipes.size(), 10u);
  }
  EXPECT_EQ(network.OpenPipes(), pipes.size());
  EXPECT_EQ(counters.pipe_shortages.value(), 1);
  for (auto& pipe : pipes) {
    pool.Give(std::move(pipe));
  }
  network.AdvanceMs(kPipeRetryMs);
}

}  // namespace
}  // namespace spicegate
