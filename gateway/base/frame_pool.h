// SPDX-License-Identifier: Apache-2.0
//
// Memory of coroutine frames. A burst of logins makes thousands of frames that
// live for milliseconds between objects that live for hours; on the common heap
// they leave holes, a quarter of what an idle channel costs. Here they have
// pages of their own, which go back to the system when the last frame ends.
//
// Each thread has its pool; a frame ends on the thread that made it. Under
// AddressSanitizer frames come from the heap, so that it sees what it should.
#ifndef SPICEGATE_GATEWAY_BASE_FRAME_POOL_H_
#define SPICEGATE_GATEWAY_BASE_FRAME_POOL_H_

#include <cstddef>

namespace spicegate {

class FramePool {
 public:
  // Never null: without memory the process ends, as everywhere.
  static void* Take(size_t num_bytes);
  // What Take gave out, with the same size, on the same thread.
  static void Give(void* frame, size_t num_bytes);

  // Of this thread, for tests.
  static size_t NumFrames();
  static size_t NumChunks();
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_FRAME_POOL_H_
