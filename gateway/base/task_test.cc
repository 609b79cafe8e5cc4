// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/task.h"

#include <gtest/gtest.h>

#include <coroutine>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace spicegate {
namespace {

// Suspends until the test goes on with it.
class Gate {
 public:
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> awaiting) { awaiting_ = awaiting; }
  void await_resume() const noexcept {}

  bool waiting() const { return static_cast<bool>(awaiting_); }
  void Open() { std::exchange(awaiting_, {}).resume(); }

 private:
  std::coroutine_handle<> awaiting_;
};

Task<int> Add(int a, int b) { co_return a + b; }

Task<int> SumTo(int n) {
  if (n == 0) {
    co_return 0;
  }
  co_return n + co_await SumTo(n - 1);
}

Task<int> CountAwaits(int n) {
  int sum = 0;
  for (int i = 0; i < n; ++i) {
    sum += co_await Add(i, 1 - i);
  }
  co_return sum;
}

Task<> Into(int* out, Task<int> task) { *out = co_await std::move(task); }

TEST(TaskTest, SpawnRunsToTheEnd) {
  int result = 0;
  Spawn(Into(&result, Add(2, 3)));
  EXPECT_EQ(result, 5);
}

TEST(TaskTest, StartsOnlyWhenAwaited) {
  bool started = false;
  const auto body = [](bool* flag) -> Task<> {
    *flag = true;
    co_return;
  };
  { const Task<> task = body(&started); }
  EXPECT_FALSE(started);
  Spawn(body(&started));
  EXPECT_TRUE(started);
}

TEST(TaskTest, Nests) {
  int result = 0;
  Spawn(Into(&result, SumTo(100)));
  EXPECT_EQ(result, 5'050);
}

TEST(TaskTest, AwaitingDoesNotGrowTheStack) {
  // Each await transfers control; a call for each would need far more than a
  // thread's stack. Compilers transfer without a call from -O1 on only.
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_UNDEFINED__)
  constexpr int kNumAwaits = 5'000'000;
#else
  constexpr int kNumAwaits = 10'000;
#endif
  int result = 0;
  Spawn(Into(&result, CountAwaits(kNumAwaits)));
  EXPECT_EQ(result, kNumAwaits);
}

TEST(TaskTest, SuspendsAndGoesOn) {
  Gate gate;
  std::string trace;
  const auto inner = [](Gate* g, std::string* t) -> Task<int> {
    *t += "a";
    co_await *g;
    *t += "c";
    co_return 7;
  };
  const auto outer = [&](Gate* g, std::string* t) -> Task<> {
    const int n = co_await inner(g, t);
    *t += std::to_string(n);
  };
  Spawn(outer(&gate, &trace));
  trace += "b";
  ASSERT_TRUE(gate.waiting());
  gate.Open();
  EXPECT_EQ(trace, "abc7");
}

TEST(TaskTest, ResultsMayBeMoveOnly) {
  int result = 0;
  const auto make = [](int n) -> Task<std::unique_ptr<int>> {
    co_return std::make_unique<int>(n);
  };
  const auto use = [&](int* out) -> Task<> { *out = *co_await make(9); };
  Spawn(use(&result));
  EXPECT_EQ(result, 9);
}

TEST(TaskTest, FramesAreFreedAtTheEnd) {
  const auto alive = std::make_shared<int>(0);
  Gate gate;
  const auto body = [](std::shared_ptr<int>, Gate* g) -> Task<> {
    co_await *g;
  };
  Spawn(body(alive, &gate));
  EXPECT_GT(alive.use_count(), 1);
  gate.Open();
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(TaskTest, MovedFromTaskOwnsNothing) {
  int result = 0;
  Task<int> first = Add(1, 1);
  Task<int> second = std::move(first);
  Spawn(Into(&result, std::move(second)));
  EXPECT_EQ(result, 2);
}

}  // namespace
}  // namespace spicegate
