// SPDX-License-Identifier: Apache-2.0
#include "bench/load/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace spicegate {
namespace {

// Buckets of one doubling: 2^7 keep the error below 0.8 %.
constexpr int kSubBits = 7;
constexpr size_t kSubBuckets = size_t{1} << kSubBits;
constexpr int kMaxBits = 40;
constexpr size_t kNumBuckets = (kMaxBits - kSubBits + 1) * kSubBuckets;

}  // namespace

Histogram::Histogram() : buckets_(kNumBuckets) {}

size_t Histogram::BucketOf(int64_t value_ns) {
  const auto value = static_cast<uint64_t>(value_ns);
  if (value < kSubBuckets) {
    return value;
  }
  const int shift = std::bit_width(value) - 1 - kSubBits;
  return static_cast<size_t>(shift) * kSubBuckets + (value >> shift);
}

int64_t Histogram::EndOf(size_t bucket) {
  if (bucket < kSubBuckets) {
    return static_cast<int64_t>(bucket);
  }
  const size_t shift = bucket / kSubBuckets - 1;
  const size_t top = bucket - shift * kSubBuckets;
  return static_cast<int64_t>(((top + 1) << shift) - 1);
}

void Histogram::Record(int64_t value_ns) {
  const int64_t value = std::clamp<int64_t>(value_ns, 0, kMaxValueNs);
  ++buckets_[BucketOf(value)];
  min_ = count_ == 0 ? value : std::min(min_, value);
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
  ++count_;
}

void Histogram::Merge(const Histogram& other) {
  if (other.count_ == 0) {
    return;
  }
  for (size_t i = 0; i < buckets_.size(); ++i) {
    buckets_[i] += other.buckets_[i];
  }
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
  count_ += other.count_;
}

double Histogram::Mean() const {
  return count_ == 0 ? 0 : sum_ / static_cast<double>(count_);
}

int64_t Histogram::Percentile(double percentile) const {
  const double share = std::clamp(percentile, 0.0, 100.0) / 100;
  // What rounding leaves of 99.9 % of 1000 must not make it 1000.
  const double wanted = std::ceil(share * static_cast<double>(count_) - 1e-6);
  const auto rank = std::max<uint64_t>(1, static_cast<uint64_t>(wanted));
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= rank) {
      return std::clamp(EndOf(i), min_, max_);
    }
  }
  return 0;
}

}  // namespace spicegate
