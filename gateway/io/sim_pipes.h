// SPDX-License-Identifier: Apache-2.0
//
// The pipes of a simulated network. As in Linux a pipe is a row of slots, one
// for each page of its capacity, and a slot holds one segment as it came from
// a socket: small segments fill a pipe with few bytes, and large ones (up to
// 32 KiB on loopback) can put more into it than its capacity says. A user's
// pipes share a quota, beyond which new ones are smaller.
//
// Test code only. Using a pipe that is closed, or only half of it, is a CHECK
// failure.
#ifndef SPICEGATE_GATEWAY_IO_SIM_PIPES_H_
#define SPICEGATE_GATEWAY_IO_SIM_PIPES_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <span>

#include "gateway/io/driver.h"
#include "gateway/io/sim_bytes.h"

namespace spicegate {

class SimPipes {
 public:
  static constexpr size_t kPageBytes = 4096;
  static constexpr size_t kMaxSegmentBytes = 32 * 1024;

  explicit SimPipes(size_t quota_bytes) : quota_bytes_(quota_bytes) {}

  // A pipe of `size_bytes`, rounded up to a power of two of pages. Beyond the
  // quota it has the 64 KiB that every pipe begins with, and when that is too
  // much as well, two pages: the kernel never refuses for this reason.
  Pipe Open(size_t size_bytes, int read_fd, int write_fd);
  void Close(const Pipe& pipe);

  size_t num_open() const { return pipes_.size(); }
  size_t NumBytes(const Pipe& pipe) const { return Get(pipe).bytes.size(); }
  bool IsFull(const Pipe& pipe) const;

  // Fills one slot; there must be one, and `segment` not be empty.
  void Put(const Pipe& pipe, std::span<const uint8_t> segment);
  // The oldest bytes, at most `max`; valid until the next call.
  std::span<const uint8_t> Front(const Pipe& pipe, size_t max) const {
    return Get(pipe).bytes.Front(max);
  }
  // Takes out the oldest `n` bytes. A slot is free once it is empty.
  void Drop(const Pipe& pipe, size_t n);

 private:
  struct State {
    int write_fd;
    size_t capacity_bytes;
    SimBytes bytes;
    std::deque<size_t> slots;  // bytes left in each used slot
  };

  const State& Get(const Pipe& pipe) const;
  State& Get(const Pipe& pipe);

  const size_t quota_bytes_;
  size_t used_bytes_ = 0;       // of the quota
  std::map<int, State> pipes_;  // by read_fd
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_SIM_PIPES_H_
