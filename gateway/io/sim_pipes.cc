// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/sim_pipes.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr size_t kFirstCapacityBytes = 16 * SimPipes::kPageBytes;
constexpr size_t kLeastCapacityBytes = 2 * SimPipes::kPageBytes;

}  // namespace

Pipe SimPipes::Open(size_t size_bytes, int read_fd, int write_fd) {
  CHECK(size_bytes > 0);
  size_t capacity = std::bit_ceil(std::max(size_bytes, kPageBytes));
  const auto fits = [&] { return used_bytes_ + capacity <= quota_bytes_; };
  if (!fits()) {
    capacity = kFirstCapacityBytes;
  }
  if (!fits()) {
    capacity = kLeastCapacityBytes;
  }
  used_bytes_ += capacity;
  State state;
  state.write_fd = write_fd;
  state.capacity_bytes = capacity;
  CHECK(pipes_.emplace(read_fd, std::move(state)).second);
  return Pipe{read_fd, write_fd, capacity};
}

void SimPipes::Close(const Pipe& pipe) {
  used_bytes_ -= Get(pipe).capacity_bytes;
  pipes_.erase(pipe.read_fd);
}

const SimPipes::State& SimPipes::Get(const Pipe& pipe) const {
  const auto found = pipes_.find(pipe.read_fd);
  CHECK(found != pipes_.end());  // else: a closed pipe is in use
  CHECK(found->second.write_fd == pipe.write_fd);
  return found->second;
}

SimPipes::State& SimPipes::Get(const Pipe& pipe) {
  return const_cast<State&>(std::as_const(*this).Get(pipe));
}

bool SimPipes::IsFull(const Pipe& pipe) const {
  const State& state = Get(pipe);
  return state.slots.size() >= state.capacity_bytes / kPageBytes;
}

void SimPipes::Put(const Pipe& pipe, std::span<const uint8_t> segment) {
  CHECK(!segment.empty() && !IsFull(pipe));
  State& state = Get(pipe);
  state.slots.push_back(segment.size());
  state.bytes.Append(segment);
}

void SimPipes::Drop(const Pipe& pipe, size_t n) {
  State& state = Get(pipe);
  CHECK(n <= state.bytes.size());
  state.bytes.DropFront(n);
  while (n > 0) {
    const size_t of_slot = std::min(n, state.slots.front());
    state.slots.front() -= of_slot;
    n -= of_slot;
    if (state.slots.front() == 0) {
      state.slots.pop_front();
    }
  }
}

}  // namespace spicegate
