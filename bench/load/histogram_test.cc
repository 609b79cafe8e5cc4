// SPDX-License-Identifier: Apache-2.0
#include "bench/load/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace spicegate {
namespace {

TEST(Histogram, EmptyIsAllZero) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.min(), 0);
  EXPECT_EQ(histogram.max(), 0);
  EXPECT_EQ(histogram.Percentile(50), 0);
  EXPECT_EQ(histogram.Mean(), 0);
}

TEST(Histogram, SmallValuesAreExact) {
  Histogram histogram;
  for (int value = 1; value <= 100; ++value) {
    histogram.Record(value);
  }
  EXPECT_EQ(histogram.count(), 100u);
  EXPECT_EQ(histogram.min(), 1);
  EXPECT_EQ(histogram.max(), 100);
  EXPECT_DOUBLE_EQ(histogram.Mean(), 50.5);
  EXPECT_EQ(histogram.Percentile(0), 1);
  EXPECT_EQ(histogram.Percentile(1), 1);
  EXPECT_EQ(histogram.Percentile(50), 50);
  EXPECT_EQ(histogram.Percentile(99), 99);
  EXPECT_EQ(histogram.Percentile(99.1), 100);
  EXPECT_EQ(histogram.Percentile(100), 100);
}

// Every bucket edge of the whole range: the value is never below the recorded
// one and never a hundredth above.
TEST(Histogram, ErrorStaysBelowOnePerCent) {
  for (int bit = 0; bit < 40; ++bit) {
    for (const int64_t delta : {-1, 0, 1}) {
      const int64_t value = (int64_t{1} << bit) + delta;
      Histogram histogram;
      histogram.Record(value);
      histogram.Record(Histogram::kMaxValueNs);
      const int64_t median = histogram.Percentile(50);
      EXPECT_GE(median, value);
      EXPECT_LE(static_cast<double>(median - value),
                0.01 * static_cast<double>(value));
    }
  }
}

TEST(Histogram, AgreesWithSortedValues) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> times(10, 2);
  Histogram histogram;
  std::vector<int64_t> values;
  for (int i = 0; i < 100'000; ++i) {
    values.push_back(static_cast<int64_t>(times(random)));
    histogram.Record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double percentile : {1.0, 10.0, 50.0, 90.0, 99.0, 99.9, 99.99}) {
    const auto rank = static_cast<size_t>(
        std::ceil(percentile / 100 * static_cast<double>(values.size())));
    const auto exact = static_cast<double>(values[rank - 1]);
    EXPECT_NEAR(static_cast<double>(histogram.Percentile(percentile)), exact,
                0.01 * exact + 1);
  }
}

TEST(Histogram, MergeIsAsIfAllWereRecordedInOne) {
  Histogram left;
  Histogram right;
  Histogram both;
  for (int64_t i = 0; i < 10'000; ++i) {
    (i % 3 == 0 ? left : right).Record(i * i);
    both.Record(i * i);
  }
  left.Merge(right);
  EXPECT_EQ(left.count(), both.count());
  EXPECT_EQ(left.min(), both.min());
  EXPECT_EQ(left.max(), both.max());
  EXPECT_DOUBLE_EQ(left.Mean(), both.Mean());
  for (double percentile = 0; percentile <= 100; percentile += 0.5) {
    EXPECT_EQ(left.Percentile(percentile), both.Percentile(percentile));
  }
}

TEST(Histogram, MergeOfAnEmptyOneKeepsTheMinimum) {
  Histogram histogram;
  histogram.Record(500);
  histogram.Merge(Histogram());
  EXPECT_EQ(histogram.min(), 500);
  Histogram other;
  other.Merge(histogram);
  EXPECT_EQ(other.min(), 500);
}

TEST(Histogram, OutOfRangeIsKeptAtTheEdge) {
  Histogram histogram;
  histogram.Record(-5);
  histogram.Record(INT64_MAX);
  EXPECT_EQ(histogram.count(), 2u);
  EXPECT_EQ(histogram.min(), 0);
  EXPECT_EQ(histogram.max(), Histogram::kMaxValueNs);
}

}  // namespace
}  // namespace spicegate
