// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/frame_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "gateway/base/task.h"

namespace spicegate {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kPooled = false;
#else
constexpr bool kPooled = true;
#endif

TEST(FramePoolTest, FramesDoNotOverlap) {
  std::vector<std::pair<uint8_t*, size_t>> frames;
  for (size_t i = 0; i < 5000; ++i) {
    const size_t num_bytes = 1 + i * 37 % 9000;
    auto* const frame = static_cast<uint8_t*>(FramePool::Take(num_bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(frame) % alignof(std::max_align_t),
              0u);
    std::memset(frame, static_cast<int>(i % 251), num_bytes);
    frames.emplace_back(frame, num_bytes);
  }
  for (size_t i = 0; i < frames.size(); ++i) {
    const auto [frame, num_bytes] = frames[i];
    ASSERT_EQ(frame[0], i % 251);
    ASSERT_EQ(frame[num_bytes - 1], i % 251);
    FramePool::Give(frame, num_bytes);
  }
  EXPECT_EQ(FramePool::NumFrames(), 0u);
  EXPECT_LE(FramePool::NumChunks(), 1u);
}

TEST(FramePoolTest, ReusesFramesOfOneSize) {
  if (!kPooled) {
    return;  // frames come from the heap under AddressSanitizer
  }
  void* const keep = FramePool::Take(1000);
  void* const first = FramePool::Take(1000);
  FramePool::Give(first, 1000);
  void* const again = FramePool::Take(990);
  EXPECT_EQ(again, first);
  FramePool::Give(again, 990);
  FramePool::Give(keep, 1000);
}

Task<int> Answer() { co_return 42; }

Task<void> Ask(int* answer, size_t* num_frames) {
  *answer = co_await Answer();
  *num_frames = FramePool::NumFrames();
}

TEST(FramePoolTest, HoldsTasksOfItsThread) {
  int answer = 0;
  size_t num_frames = 0;
  std::thread thread([&] { Spawn(Ask(&answer, &num_frames)); });
  thread.join();
  EXPECT_EQ(answer, 42);
  if (kPooled) {
    EXPECT_GE(num_frames, 2u);  // the task, and what drives it
  }
  EXPECT_EQ(FramePool::NumFrames(), 0u);
}

}  // namespace
}  // namespace spicegate
