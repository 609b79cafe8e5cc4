// SPDX-License-Identifier: Apache-2.0
//
// Coroutines of the test peers: a conversation reads top to bottom. A task
// starts when it is awaited and runs on the thread of its PeerLoop. It is never
// destroyed while it waits; a loop that ends makes every wait return
// -ECANCELED, so a task must return when an operation fails.
#ifndef SPICEGATE_TESTS_PEER_PEER_TASK_H_
#define SPICEGATE_TESTS_PEER_PEER_TASK_H_

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

namespace spicegate {

template <typename T>
class PeerTask;

namespace peer_internal {

// Goes on with whoever awaited the task. Nobody is noted when the task ended
// before its first wait: then the awaiter is still on the stack below, and
// simply continues. Loops over operations that never wait keep a flat stack.
struct FinalStep {
  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  std::coroutine_handle<> await_suspend(
      std::coroutine_handle<Promise> ended) const noexcept {
    return ended.promise().awaiter;
  }
  void await_resume() const noexcept {}
};

struct PromiseCore {
  std::coroutine_handle<> awaiter = std::noop_coroutine();

  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalStep final_suspend() const noexcept { return {}; }
  void unhandled_exception() const noexcept { std::terminate(); }
};

template <typename T>
struct TaskPromise : PromiseCore {
  std::optional<T> value;

  PeerTask<T> get_return_object();
  void return_value(T result) { value.emplace(std::move(result)); }
  T Take() { return std::move(*value); }
};

template <>
struct TaskPromise<void> : PromiseCore {
  PeerTask<void> get_return_object();
  void return_void() const noexcept {}
  void Take() const noexcept {}
};

}  // namespace peer_internal

// A conversation that yields a T. Await it exactly once, or give it to a
// PeerLoop.
template <typename T = void>
class [[nodiscard]] PeerTask {
 public:
  using promise_type = peer_internal::TaskPromise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  explicit PeerTask(Handle handle) : handle_(handle) {}
  PeerTask(PeerTask&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)) {}
  PeerTask& operator=(PeerTask&&) = delete;
  ~PeerTask() {
    if (handle_) {
      handle_.destroy();
    }
  }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> awaiter) {
    handle_.resume();
    if (handle_.done()) {
      return false;
    }
    handle_.promise().awaiter = awaiter;
    return true;
  }
  T await_resume() { return handle_.promise().Take(); }

 private:
  Handle handle_;
};

namespace peer_internal {

template <typename T>
PeerTask<T> TaskPromise<T>::get_return_object() {
  return PeerTask<T>(
      std::coroutine_handle<TaskPromise<T>>::from_promise(*this));
}

inline PeerTask<void> TaskPromise<void>::get_return_object() {
  return PeerTask<void>(
      std::coroutine_handle<TaskPromise<void>>::from_promise(*this));
}

// Starts at once, frees itself at its end.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

}  // namespace peer_internal
}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_PEER_TASK_H_
