// SPDX-License-Identifier: Apache-2.0
//
// Two Streams joined in memory, for tests. Bounded, and on request as unkind
// as a network: pieces of any size, -EAGAIN at any time, from a seed.
#ifndef SPICEGATE_GATEWAY_TLS_MEMORY_STREAM_H_
#define SPICEGATE_GATEWAY_TLS_MEMORY_STREAM_H_

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <span>
#include <utility>

#include "gateway/io/stream.h"

namespace spicegate {

// One direction. Tests may look into it and change it at will.
struct MemoryPipe {
  size_t capacity = 64 * 1024;
  std::deque<uint8_t> bytes;
  bool ended = false;
  int error = 0;  // -errno that reader and writer get
};

class MemoryStream final : public Stream {
 public:
  // A `seed` of 0 moves all that fits at once.
  MemoryStream(std::shared_ptr<MemoryPipe> in, std::shared_ptr<MemoryPipe> out,
               uint32_t seed)
      : in_(std::move(in)),
        out_(std::move(out)),
        unkind_(seed != 0),
        random_(seed) {}

  ssize_t Read(std::span<uint8_t> out) override {
    if (in_->error != 0) {
      return in_->error;
    }
    if (in_->bytes.empty() && in_->ended) {
      return 0;
    }
    const size_t n = Some(std::min(out.size(), in_->bytes.size()));
    if (n == 0) {
      return -EAGAIN;
    }
    const auto end = in_->bytes.begin() + static_cast<ptrdiff_t>(n);
    std::copy(in_->bytes.begin(), end, out.begin());
    in_->bytes.erase(in_->bytes.begin(), end);
    return static_cast<ssize_t>(n);
  }

  ssize_t Write(std::span<const uint8_t> in) override {
    if (out_->error != 0) {
      return out_->error;
    }
    const size_t room =
        out_->capacity - std::min(out_->capacity, out_->bytes.size());
    const size_t n = Some(std::min(in.size(), room));
    if (n == 0) {
      return -EAGAIN;
    }
    const auto end = in.begin() + static_cast<ptrdiff_t>(n);
    out_->bytes.insert(out_->bytes.end(), in.begin(), end);
    return static_cast<ssize_t>(n);
  }

  bool ShortReadDrains() const override { return !unkind_; }

  int ShutdownWrite() override {
    out_->ended = true;
    return 0;
  }

 private:
  // Between 0 and `most`, or just `most`.
  size_t Some(size_t most) {
    if (!unkind_ || most == 0) {
      return most;
    }
    const uint32_t choice = static_cast<uint32_t>(random_());
    return choice % 4 == 0 ? 0 : choice % (most + 1);
  }

  const std::shared_ptr<MemoryPipe> in_;
  const std::shared_ptr<MemoryPipe> out_;
  const bool unkind_;
  std::minstd_rand random_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_MEMORY_STREAM_H_
