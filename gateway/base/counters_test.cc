// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/counters.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <thread>

namespace spicegate {
namespace {

TEST(CounterTest, AddsAndSets) {
  Counter counter;
  EXPECT_EQ(counter.value(), 0);
  counter.Add(5);
  counter.Add(-7);
  EXPECT_EQ(counter.value(), -2);
  counter.Set(int64_t{1} << 40);
  EXPECT_EQ(counter.value(), int64_t{1} << 40);
}

TEST(CounterTest, ReadersSeeItGrow) {
  constexpr int64_t kTotal = 200'000;
  Counter counter;
  std::atomic<bool> done{false};
  std::thread reader([&] {
    int64_t last = 0;
    while (!done.load()) {
      const int64_t value = counter.value();
      EXPECT_GE(value, last);
      last = value;
    }
  });
  for (int64_t i = 0; i < kTotal; ++i) {
    counter.Add(1);
  }
  done.store(true);
  reader.join();
  EXPECT_EQ(counter.value(), kTotal);
}

TEST(WorkerCountersTest, StartAtZero) {
  const WorkerCounters counters;
  for (const Counter& counter : counters.links_refused) {
    EXPECT_EQ(counter.value(), 0);
  }
  for (const auto& versions : counters.tls_connections) {
    for (const auto& suites : versions) {
      for (const auto& offloads : suites) {
        for (const Counter& counter : offloads) {
          EXPECT_EQ(counter.value(), 0);
        }
      }
    }
  }
  EXPECT_EQ(counters.relay_buffer_bytes.value(), 0);
  EXPECT_EQ(counters.ops_in_flight.value(), 0);
}

TEST(WorkerCountersTest, EveryCloseReasonHasItsPlace) {
  WorkerCounters counters;
  counters.channels_closed[static_cast<size_t>(CloseReason::kInternal)].Add(1);
  EXPECT_EQ(counters.channels_closed.back().value(), 1);
  EXPECT_EQ(counters.channels_closed.size(), kNumCloseReasons);
}

}  // namespace
}  // namespace spicegate
