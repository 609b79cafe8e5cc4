// SPDX-License-Identifier: Apache-2.0
//
// The engine below every test peer: one thread, epoll, timers. Thousands of
// sockets on one PeerLoop are fine. It shares no code with the gateway, so that
// a mistake there is not made twice.
#ifndef SPICEGATE_TESTS_PEER_PEER_LOOP_H_
#define SPICEGATE_TESTS_PEER_PEER_LOOP_H_

#include <cerrno>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/peer/peer_task.h"

namespace spicegate {

using PeerClock = std::chrono::steady_clock;

class PeerLoop;

// For waits that only the event or the loop's end finishes.
inline PeerClock::time_point PeerFarFuture() {
  return PeerClock::now() + std::chrono::hours(1000);
}

// One coroutine waiting for one thing: a socket, a time, or both.
class PeerWait {
 public:
  // Waits on `slot`, if any, until `deadline`. Whoever sees the event calls
  // Wake() on what lies in the slot.
  PeerWait(PeerLoop* loop, PeerWait** slot, PeerClock::time_point deadline)
      : loop_(loop), slot_(slot), deadline_(deadline) {}
  PeerWait(const PeerWait&) = delete;
  PeerWait& operator=(const PeerWait&) = delete;

  bool await_ready();
  void await_suspend(std::coroutine_handle<> handle);
  // 0 for the event, -ETIMEDOUT, or -ECANCELED when the loop ends.
  int await_resume() const { return result_; }

  // Resumes the coroutine, on the loop's thread.
  void Wake(int result);
  // Makes it resume with -ECANCELED in the loop's next turn. What the slot
  // lies in may go at once.
  void CancelSoon();

 private:
  friend class PeerLoop;

  PeerLoop* loop_;
  PeerWait** slot_;
  PeerClock::time_point deadline_;
  std::multimap<PeerClock::time_point, PeerWait*>::iterator timer_;
  std::coroutine_handle<> handle_;
  int result_ = 0;
  int due_result_ = -ETIMEDOUT;
};

// Slots of the two directions of a socket; its owner keeps them alive as long
// as the socket is watched.
struct PeerSlots {
  uint64_t id = 0;  // Set by PeerLoop::Watch().
  PeerWait* readable = nullptr;
  PeerWait* writable = nullptr;
};

class PeerLoop {
 public:
  PeerLoop();
  ~PeerLoop();
  PeerLoop(const PeerLoop&) = delete;
  PeerLoop& operator=(const PeerLoop&) = delete;

  // Runs `task` to its end on the calling thread and returns what it yields.
  // Other tasks of this loop make progress meanwhile.
  template <typename T>
  T Run(PeerTask<T> task) {
    std::optional<T> result;
    Spawn(Keep(std::move(task), &result));
    RunWhile([&result] { return !result.has_value(); });
    return std::move(*result);
  }
  void Run(PeerTask<void> task);

  // Starts `task` at once; it belongs to the loop. Loop's thread only.
  void Spawn(PeerTask<void> task);

  // Turns the loop while `condition` holds.
  void RunWhile(const std::function<bool()>& condition);

  // Runs `call` on the loop's thread soon. Any thread.
  void Post(std::function<void()> call);

  // Makes every wait, present and future, return -ECANCELED, and turns the
  // loop until no task is left. Loop's thread only.
  void Drain();

  // co_await loop->Sleep(ms): -ETIMEDOUT once it is over, or -ECANCELED.
  PeerWait Sleep(int64_t ms) {
    return PeerWait(this, nullptr,
                    PeerClock::now() + std::chrono::milliseconds(ms));
  }

  // Watches `fd` edge-triggered, in both directions, into `slots`.
  void Watch(int fd, PeerSlots* slots);
  void Unwatch(int fd, PeerSlots* slots);

  bool draining() const { return draining_; }
  size_t num_tasks() const { return num_tasks_; }

 private:
  friend class PeerWait;

  template <typename T>
  static PeerTask<void> Keep(PeerTask<T> task, std::optional<T>* result) {
    T value = co_await task;
    result->emplace(std::move(value));
  }
  peer_internal::Detached Own(PeerTask<void> task);
  static PeerTask<void> Mark(PeerTask<void> task, bool* done);
  void Turn();
  void Deliver(uint64_t id, uint32_t events);
  void WakeDue();
  void RunPosted();
  int NextTimeoutMs() const;

  int epoll_fd_;
  int wake_fd_;
  size_t num_tasks_ = 0;
  uint64_t last_id_ = 0;
  bool draining_ = false;
  std::unordered_map<uint64_t, PeerSlots*> watched_;
  std::multimap<PeerClock::time_point, PeerWait*> timers_;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // Guarded by mutex_.
};

// Counts tasks out: co_await Wait() until as many Done() as Add() have come.
class PeerJoin {
 public:
  explicit PeerJoin(PeerLoop* loop) : loop_(loop) {}
  void Add() { ++pending_; }
  void Done();
  PeerTask<void> Wait();

 private:
  PeerLoop* loop_;
  PeerWait* slot_ = nullptr;
  size_t pending_ = 0;
};

// A PeerLoop on a thread of its own, drained and joined on destruction. What
// its tasks use must outlive it.
class PeerThread {
 public:
  PeerThread();
  ~PeerThread();
  PeerThread(const PeerThread&) = delete;
  PeerThread& operator=(const PeerThread&) = delete;

  PeerLoop* loop() { return &loop_; }
  // Runs `call` on the loop's thread and waits for it.
  void Call(const std::function<void()>& call);
  // Drains and joins; again is harmless.
  void Stop();

 private:
  PeerLoop loop_;
  bool stop_ = false;  // The loop's thread only.
  std::thread thread_;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_PEER_LOOP_H_
