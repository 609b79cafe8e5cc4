// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/peer_loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <future>

namespace spicegate {
namespace {

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::abort();
}

constexpr int kMaxEventsPerTurn = 256;
constexpr uint64_t kWakeId = 0;

}  // namespace

bool PeerWait::await_ready() {
  if (loop_->draining_) {
    result_ = -ECANCELED;
    return true;
  }
  return false;
}

void PeerWait::await_suspend(std::coroutine_handle<> handle) {
  handle_ = handle;
  if (slot_ != nullptr) {
    if (*slot_ != nullptr) {
      std::fprintf(stderr, "two coroutines wait for one event\n");
      std::abort();
    }
    *slot_ = this;
  }
  timer_ = loop_->timers_.emplace(deadline_, this);
}

void PeerWait::Wake(int result) {
  loop_->timers_.erase(timer_);
  if (slot_ != nullptr) {
    *slot_ = nullptr;
  }
  result_ = result;
  handle_.resume();
}

void PeerWait::CancelSoon() {
  if (slot_ != nullptr) {
    *slot_ = nullptr;
    slot_ = nullptr;
  }
  due_result_ = -ECANCELED;
  loop_->timers_.erase(timer_);
  timer_ = loop_->timers_.emplace(PeerClock::now(), this);
}

PeerLoop::PeerLoop()
    : epoll_fd_(epoll_create1(EPOLL_CLOEXEC)),
      wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (epoll_fd_ < 0 || wake_fd_ < 0) {
    Die("PeerLoop");
  }
  // A peer that resets its connection must not end the test.
  signal(SIGPIPE, SIG_IGN);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeId;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd_, &event) != 0) {
    Die("epoll_ctl");
  }
}

PeerLoop::~PeerLoop() {
  Drain();
  close(wake_fd_);
  close(epoll_fd_);
}

PeerTask<void> PeerLoop::Mark(PeerTask<void> task, bool* done) {
  co_await task;
  *done = true;
}

void PeerLoop::Run(PeerTask<void> task) {
  bool done = false;
  Spawn(Mark(std::move(task), &done));
  RunWhile([&done] { return !done; });
}

peer_internal::Detached PeerLoop::Own(PeerTask<void> task) {
  ++num_tasks_;
  co_await task;
  --num_tasks_;
}

void PeerLoop::Spawn(PeerTask<void> task) { Own(std::move(task)); }

void PeerLoop::RunWhile(const std::function<bool()>& condition) {
  while (condition()) {
    Turn();
  }
}

void PeerLoop::Post(std::function<void()> call) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    posted_.push_back(std::move(call));
  }
  const uint64_t one = 1;
  if (write(wake_fd_, &one, sizeof(one)) < 0 && errno != EAGAIN) {
    Die("eventfd");
  }
}

void PeerLoop::Drain() {
  draining_ = true;
  while (num_tasks_ > 0 && !timers_.empty()) {
    timers_.begin()->second->Wake(-ECANCELED);
  }
  if (num_tasks_ > 0) {
    std::fprintf(stderr, "a peer task waits for nothing\n");
    std::abort();
  }
}

void PeerLoop::Watch(int fd, PeerSlots* slots) {
  slots->id = ++last_id_;
  watched_[slots->id] = slots;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = slots->id;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    Die("epoll_ctl");
  }
}

void PeerLoop::Unwatch(int fd, PeerSlots* slots) {
  watched_.erase(slots->id);
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
}

int PeerLoop::NextTimeoutMs() const {
  if (timers_.empty()) {
    return -1;
  }
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(
      timers_.begin()->first - PeerClock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 60'000));
}

void PeerLoop::WakeDue() {
  const auto now = PeerClock::now();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    PeerWait* wait = timers_.begin()->second;
    wait->Wake(wait->due_result_);
  }
}

void PeerLoop::RunPosted() {
  uint64_t count;
  if (read(wake_fd_, &count, sizeof(count)) < 0 && errno != EAGAIN) {
    Die("eventfd");
  }
  std::vector<std::function<void()>> calls;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    calls.swap(posted_);
  }
  for (const auto& call : calls) {
    call();
  }
}

void PeerLoop::Deliver(uint64_t id, uint32_t events) {
  constexpr uint32_t kEnd = EPOLLERR | EPOLLHUP;
  const auto woken = [&](PeerWait* PeerSlots::*slot, uint32_t mask) {
    // Looked up each time: what one coroutine does may close any socket.
    const auto found = watched_.find(id);
    if (found != watched_.end() && (events & mask) != 0 &&
        found->second->*slot != nullptr) {
      (found->second->*slot)->Wake(0);
    }
  };
  woken(&PeerSlots::readable, EPOLLIN | EPOLLRDHUP | kEnd);
  woken(&PeerSlots::writable, EPOLLOUT | kEnd);
}

void PeerLoop::Turn() {
  std::array<epoll_event, kMaxEventsPerTurn> events;
  const int n =
      epoll_wait(epoll_fd_, events.data(), kMaxEventsPerTurn, NextTimeoutMs());
  if (n < 0 && errno != EINTR) {
    Die("epoll_wait");
  }
  for (int i = 0; i < n; ++i) {
    if (events[i].data.u64 == kWakeId) {
      RunPosted();
    } else {
      Deliver(events[i].data.u64, events[i].events);
    }
  }
  WakeDue();
}

void PeerJoin::Done() {
  if (--pending_ == 0 && slot_ != nullptr) {
    slot_->Wake(0);
  }
}

PeerTask<void> PeerJoin::Wait() {
  if (pending_ > 0) {
    co_await PeerWait(loop_, &slot_, PeerFarFuture());
  }
}

PeerThread::PeerThread() {
  thread_ = std::thread([this] {
    loop_.RunWhile([this] { return !stop_; });
    loop_.Drain();
  });
}

PeerThread::~PeerThread() { Stop(); }

void PeerThread::Call(const std::function<void()>& call) {
  std::promise<void> done;
  loop_.Post([&] {
    call();
    done.set_value();
  });
  done.get_future().wait();
}

void PeerThread::Stop() {
  if (thread_.joinable()) {
    loop_.Post([this] { stop_ = true; });
    thread_.join();
  }
}

}  // namespace spicegate
