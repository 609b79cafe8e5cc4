// SPDX-License-Identifier: Apache-2.0
//
// Coroutines for conversations that have an order: a link reads top to bottom
// as the protocol has it. A Task starts when it is awaited or spawned, runs on
// one worker's thread and always to its end: there is no destroying a
// suspended task. Whoever wants it gone interrupts the socket it waits for.
//
// Awaiting a task resumes it by a tail call, which g++ makes from -O1 on;
// without optimisation each await that ends at once costs stack until the next
// real wait. Links have a few dozen; do not write a long loop of them.
#ifndef SPICEGATE_GATEWAY_BASE_TASK_H_
#define SPICEGATE_GATEWAY_BASE_TASK_H_

#include <coroutine>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/frame_pool.h"

namespace spicegate {

template <typename T = void>
class Task;

namespace task_internal {

// Resumes the awaiting coroutine when a task has ended.
struct FinalAwaiter {
  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  std::coroutine_handle<> await_suspend(
      std::coroutine_handle<Promise> ended) const noexcept {
    return ended.promise().continuation;
  }
  void await_resume() const noexcept {}
};

// Where the frames of a promise's coroutines live.
struct PooledFrame {
  static void* operator new(size_t num_bytes) {
    return FramePool::Take(num_bytes);
  }
  static void operator delete(void* frame, size_t num_bytes) {
    FramePool::Give(frame, num_bytes);
  }
};

struct PromiseBase : PooledFrame {
  std::coroutine_handle<> continuation = std::noop_coroutine();

  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  // Required by the language; our code is built without exceptions.
  void unhandled_exception() const noexcept { std::abort(); }
};

template <typename T>
struct Promise : PromiseBase {
  std::optional<T> value;

  Task<T> get_return_object();
  template <typename U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T TakeResult() { return std::move(*value); }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object();
  void return_void() const noexcept {}
  void TakeResult() const noexcept {}
};

// Drives a spawned task and frees itself after it.
struct Detached {
  struct promise_type : PooledFrame {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void unhandled_exception() const noexcept { std::abort(); }
    void return_void() const noexcept {}
  };
};

}  // namespace task_internal

template <typename T>
class [[nodiscard]] Task {
 public:
  using promise_type = task_internal::Promise<T>;

  explicit Task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
  Task(Task&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (frame_) {
      frame_.destroy();
    }
  }

  // Awaiting starts the task and yields its result.
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(
      std::coroutine_handle<> awaiting) noexcept {
    frame_.promise().continuation = awaiting;
    return frame_;
  }
  T await_resume() {
    DCHECK(frame_.done());
    return frame_.promise().TakeResult();
  }

 private:
  std::coroutine_handle<promise_type> frame_;
};

namespace task_internal {

template <typename T>
Task<T> Promise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<Promise>::from_promise(*this));
}

inline Task<void> Promise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

inline Detached RunDetached(Task<void> task) { co_await task; }

}  // namespace task_internal

// Starts `task` now and lets it run to its end on this thread.
inline void Spawn(Task<void> task) {
  task_internal::RunDetached(std::move(task));
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_TASK_H_
