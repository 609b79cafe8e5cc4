// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/buffer_pool.h"

#include <utility>

namespace spicegate {
namespace {

// Free buffers kept for reuse; what a burst took beyond that goes back to the
// system.
constexpr size_t kMaxFree = 64;

}  // namespace

std::unique_ptr<RelayBuffer> BufferPool::Take() {
  in_use_bytes_->Add(static_cast<int64_t>(sizeof(RelayBuffer)));
  if (free_.empty()) {
    // Not value-initialised: zeroing 64 KiB would cost more than the copy.
    return std::unique_ptr<RelayBuffer>(new RelayBuffer);
  }
  std::unique_ptr<RelayBuffer> buffer = std::move(free_.back());
  free_.pop_back();
  buffer->begin = 0;
  buffer->end = 0;
  buffer->cleared = 0;
  buffer->insert = {};
  buffer->skip = 0;
  return buffer;
}

void BufferPool::Give(std::unique_ptr<RelayBuffer> buffer) {
  in_use_bytes_->Add(-static_cast<int64_t>(sizeof(RelayBuffer)));
  if (free_.size() < kMaxFree) {
    free_.push_back(std::move(buffer));
  }
}

}  // namespace spicegate
