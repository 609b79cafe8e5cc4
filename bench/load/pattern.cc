// SPDX-License-Identifier: Apache-2.0
#include "bench/load/pattern.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "proto/data_header.h"

namespace spicegate {
namespace {

using proto::kMiniHeaderLen;

// Of messages, one is compared whole.
constexpr uint64_t kWholeEvery = 64;

// The finalizer of SplitMix64: every input bit reaches every output bit.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// Different for every block of every message of every stream.
uint64_t StampOf(uint16_t seed, uint64_t index, uint64_t block) {
  return (uint64_t{seed} << 48 ^ index << 13 ^ block) * 0x9e3779b97f4a7c15ull;
}

// Calls visit(offset in the body, stamp bytes in the piece, stamp bytes) for
// the parts of stamps that lie in [from, to) of a body; stops when it is false.
template <typename Visit>
bool ForEachStamp(const FloodPlan& plan, uint64_t index, size_t from, size_t to,
                  Visit visit) {
  for (size_t block = from / kStampBlockLen; block * kStampBlockLen < to;
       ++block) {
    const size_t start = block * kStampBlockLen;
    const size_t low = std::max(start, from);
    const size_t high = std::min(start + kStampLen, to);
    if (low >= high) {
      continue;
    }
    std::array<uint8_t, kStampLen> stamp;
    proto::StoreU64(stamp.data(), StampOf(plan.seed, index, block));
    if (!visit(low, proto::Bytes(stamp).subspan(low - start, high - low))) {
      return false;
    }
  }
  return true;
}

}  // namespace

uint32_t FloodPlan::LenOf(uint64_t index) const {
  if (min_len == max_len) {
    return min_len;
  }
  const uint64_t random = Mix(uint64_t{seed} << 48 ^ index) >> 32;
  return min_len +
         static_cast<uint32_t>(random * (max_len - min_len + 1) >> 32);
}

// ---- PatternBuffer.

PatternBuffer::PatternBuffer(size_t max_message_len) {
  const size_t num_words = (max_message_len + 7) / 8 + 1;
  bytes_.resize(num_words * 8);
  for (size_t i = 0; i < num_words; ++i) {
    proto::StoreU64(bytes_.data() + i * 8, Mix(i + 1));
  }
}

proto::Bytes PatternBuffer::Make(const FloodPlan& plan, uint64_t index,
                                 size_t from, size_t to) {
  if (from < kMiniHeaderLen) {
    proto::EncodeDataHeader(
        proto::HeaderKind::kMini,
        {.type = plan.type,
         .size = plan.LenOf(index) - static_cast<uint32_t>(kMiniHeaderLen)},
        bytes_);
  }
  uint8_t* const body = bytes_.data() + kMiniHeaderLen;
  const size_t body_from = std::max(from, kMiniHeaderLen) - kMiniHeaderLen;
  const size_t body_to = std::max(to, kMiniHeaderLen) - kMiniHeaderLen;
  ForEachStamp(plan, index, body_from, body_to,
               [body](size_t at, proto::Bytes stamp) {
                 std::memcpy(body + at, stamp.data(), stamp.size());
                 return true;
               });
  return proto::Bytes(bytes_).subspan(from, to - from);
}

bool PatternBuffer::Matches(const FloodPlan& plan, uint64_t index, size_t from,
                            proto::Bytes piece, bool stamps_only) const {
  if (from + piece.size() + kMiniHeaderLen > bytes_.size()) {
    return false;
  }
  const bool stamped =
      ForEachStamp(plan, index, from, from + piece.size(),
                   [&](size_t at, proto::Bytes stamp) {
                     return std::memcmp(piece.data() + at - from, stamp.data(),
                                        stamp.size()) == 0;
                   });
  if (stamps_only || !stamped) {
    return stamped;
  }
  const uint8_t* const body = bytes_.data() + kMiniHeaderLen;
  size_t at = from;
  const size_t to = from + piece.size();
  while (at < to) {
    const size_t start = at / kStampBlockLen * kStampBlockLen;
    const size_t low = std::max(at, start + kStampLen);
    const size_t high = std::min(to, start + kStampBlockLen);
    if (low < high &&
        std::memcmp(piece.data() + low - from, body + low, high - low) != 0) {
      return false;
    }
    at = start + kStampBlockLen;
  }
  return true;
}

// ---- FloodSource.

void FloodSource::Advance(size_t num_bytes) {
  offset_ += num_bytes;
  if (offset_ == len_) {
    ++index_;
    offset_ = 0;
    len_ = plan_.LenOf(index_);
  }
}

// ---- FloodSink.

bool FloodSink::Begin(uint32_t body_len) {
  offset_ = 0;
  good_ = true;
  return uint64_t{body_len} + kMiniHeaderLen == plan_.LenOf(index_);
}

void FloodSink::Feed(proto::Bytes piece) {
  if (verify_ != Verify::kNone && good_) {
    const bool stamps_only =
        verify_ == Verify::kStamps && index_ % kWholeEvery != 0;
    good_ = pattern_->Matches(plan_, index_, offset_, piece, stamps_only);
  }
  offset_ += piece.size();
}

void FloodSink::End() {
  num_errors_ += good_ ? 0 : 1;
  ++index_;
}

}  // namespace spicegate
