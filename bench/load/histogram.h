// SPDX-License-Identifier: Apache-2.0
//
// A histogram of times in the manner of HdrHistogram: buckets that grow with
// the value, so that every percentile is known to better than one per cent,
// from a nanosecond to a quarter of an hour, in 35 KB.
#ifndef SPICEGATE_BENCH_LOAD_HISTOGRAM_H_
#define SPICEGATE_BENCH_LOAD_HISTOGRAM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace spicegate {

// Values below 128 ns are exact; above, a bucket is at most 1/128 of its value
// wide. One thread.
class Histogram {
 public:
  // The highest value told apart; larger ones are counted as this one.
  static constexpr int64_t kMaxValueNs = (int64_t{1} << 40) - 1;

  Histogram();

  // Negative values count as 0: a clock that was read in the wrong order.
  void Record(int64_t value_ns);
  // Adds all values of `other`.
  void Merge(const Histogram& other);

  uint64_t count() const { return count_; }
  // 0 when empty. Minimum, maximum and mean are exact.
  int64_t min() const { return count_ == 0 ? 0 : min_; }
  int64_t max() const { return max_; }
  double Mean() const;
  // The least value that `percentile` (0 to 100) per cent of the values do not
  // exceed, rounded up to the end of its bucket; 0 when empty.
  int64_t Percentile(double percentile) const;

 private:
  static size_t BucketOf(int64_t value_ns);
  // The highest value of a bucket.
  static int64_t EndOf(size_t bucket);

  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  double sum_ = 0;
  int64_t min_ = 0;
  int64_t max_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_HISTOGRAM_H_
