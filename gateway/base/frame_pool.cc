// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/frame_pool.h"

#include <sys/mman.h>

#include <array>
#include <new>
#include <vector>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

// Frames of one class differ by less than this; the links' have 200 to 3000
// bytes. Larger ones come from the heap.
constexpr size_t kClassBytes = 128;
constexpr size_t kMaxFrameBytes = 8 * 1024;
constexpr size_t kNumClasses = kMaxFrameBytes / kClassBytes;
constexpr size_t kChunkBytes = 256 * 1024;

struct FreeFrame {
  FreeFrame* next;
};

class ThreadPool {
 public:
  ThreadPool() = default;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() { ReleaseChunks(0); }

  void* Take(size_t index) {
    ++num_frames_;
    if (FreeFrame* frame = free_[index]) {
      free_[index] = frame->next;
      return frame;
    }
    const size_t num_bytes = (index + 1) * kClassBytes;
    if (left_bytes_ < num_bytes) {
      AddChunk();
    }
    void* const frame = next_;
    next_ += num_bytes;
    left_bytes_ -= num_bytes;
    return frame;
  }

  void Give(void* frame, size_t index) {
    free_[index] = new (frame) FreeFrame{free_[index]};
    if (--num_frames_ == 0 && chunks_.size() > 1) {
      ReleaseChunks(1);
    }
  }

  size_t num_frames() const { return num_frames_; }
  size_t num_chunks() const { return chunks_.size(); }

 private:
  void AddChunk() {
    void* const chunk = mmap(nullptr, kChunkBytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(chunk != MAP_FAILED);
    chunks_.push_back(chunk);
    StartAt(chunk);
  }

  void StartAt(void* chunk) {
    next_ = static_cast<char*>(chunk);
    left_bytes_ = kChunkBytes;
  }

  // No frame is in use. Keeps that many chunks, empty.
  void ReleaseChunks(size_t num_kept) {
    free_ = {};
    left_bytes_ = 0;
    while (chunks_.size() > num_kept) {
      munmap(chunks_.back(), kChunkBytes);
      chunks_.pop_back();
    }
    if (!chunks_.empty()) {
      StartAt(chunks_.front());
    }
  }

  std::array<FreeFrame*, kNumClasses> free_{};
  std::vector<void*> chunks_;
  char* next_ = nullptr;
  size_t left_bytes_ = 0;
  size_t num_frames_ = 0;
};

ThreadPool& Pool() {
  thread_local ThreadPool pool;
  return pool;
}

// gcc says so with a macro, clang with a feature.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kUsePool = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kUsePool = false;
#else
constexpr bool kUsePool = true;
#endif
#else
constexpr bool kUsePool = true;
#endif

bool IsPooled(size_t num_bytes) {
  return kUsePool && num_bytes <= kMaxFrameBytes;
}

size_t ClassOf(size_t num_bytes) {
  return num_bytes == 0 ? 0 : (num_bytes - 1) / kClassBytes;
}

}  // namespace

void* FramePool::Take(size_t num_bytes) {
  return IsPooled(num_bytes) ? Pool().Take(ClassOf(num_bytes))
                             : ::operator new(num_bytes);
}

void FramePool::Give(void* frame, size_t num_bytes) {
  if (IsPooled(num_bytes)) {
    Pool().Give(frame, ClassOf(num_bytes));
  } else {
    ::operator delete(frame);
  }
}

size_t FramePool::NumFrames() { return Pool().num_frames(); }

size_t FramePool::NumChunks() { return Pool().num_chunks(); }

}  // namespace spicegate
