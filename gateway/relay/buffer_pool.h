// SPDX-License-Identifier: Apache-2.0
//
// The worker's relay buffers. A pump takes one only while it has bytes in
// hand; what is free is reused last in, first out, so that copies stay in the
// cache. An idle channel holds none.
#ifndef SPICEGATE_GATEWAY_RELAY_BUFFER_POOL_H_
#define SPICEGATE_GATEWAY_RELAY_BUFFER_POOL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gateway/base/counters.h"
#include "gateway/base/limits.h"

namespace spicegate {

struct RelayBuffer {
  std::array<uint8_t, kPumpBufferBytes> bytes;
  size_t begin = 0;  // first byte not yet written
  size_t end = 0;    // behind the last byte read
  // What the pump's filter has decided (PumpFilter::Step) and is not yet done.
  size_t cleared = 0;  // from `begin`: may be written
  std::span<const uint8_t> insert;
  size_t skip = 0;

  bool empty() const { return begin == end && insert.empty(); }
};

// One thread's.
class BufferPool {
 public:
  // `in_use_bytes` follows the buffers given out; it outlives the pool.
  explicit BufferPool(Counter* in_use_bytes) : in_use_bytes_(in_use_bytes) {}
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  std::unique_ptr<RelayBuffer> Take();
  void Give(std::unique_ptr<RelayBuffer> buffer);

 private:
  Counter* const in_use_bytes_;
  std::vector<std::unique_ptr<RelayBuffer>> free_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_BUFFER_POOL_H_
