// SPDX-License-Identifier: Apache-2.0
#include "bench/load/loop.h"

#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

namespace spicegate {
namespace {

// Holds what one step of a flood reads; more would leave the second cache. A
// little above the usual write, so that one that came whole is seen to be all.
constexpr size_t kBufferLen = 320 * 1024;
constexpr int kMaxEvents = 256;

timespec ToTimespec(int64_t ns) {
  return {.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
}

}  // namespace

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Loop::Loop() : epoll_fd_(epoll_create1(EPOLL_CLOEXEC)), buffer_(kBufferLen) {}

Loop::~Loop() {
  Bury();
  for (; !timers_.empty(); timers_.pop()) {
    Unreference(timers_.top().watched);
  }
  for (const std::deque<Watched*>* queue : {&reads_, &writes_}) {
    for (Watched* const watched : *queue) {
      Unreference(watched);
    }
  }
  retired_.clear();
  close(epoll_fd_);
}

bool Loop::Watch(int fd, uint32_t events, Watched* watched) {
  epoll_event event = {.events = events, .data = {.ptr = watched}};
  return epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void Loop::Unwatch(int fd) { epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr); }

void Loop::QueueRead(Watched* watched) {
  if (!std::exchange(watched->read_queued_, true)) {
    ++watched->num_references_;
    reads_.push_back(watched);
  }
}

void Loop::QueueWrite(Watched* watched) {
  if (!std::exchange(watched->write_queued_, true)) {
    ++watched->num_references_;
    writes_.push_back(watched);
  }
}

void Loop::WakeAt(int64_t due_ns, Watched* watched) {
  ++watched->num_references_;
  timers_.push({due_ns, watched});
}

void Loop::Retire(std::unique_ptr<Watched> watched) {
  watched->retired_ = true;
  // Events of this turn may still name it: it goes at the end of the turn.
  retired_.push_back(std::move(watched));
}

void Loop::Unreference(Watched* watched) {
  if (--watched->num_references_ == 0 && watched->in_limbo_) {
    retired_.emplace_back(watched);
  }
}

void Loop::Bury() {
  for (std::unique_ptr<Watched>& watched : retired_) {
    if (watched->num_references_ > 0) {
      // Comes back through Unreference().
      watched->in_limbo_ = true;
      (void)watched.release();
    }
  }
  retired_.clear();
}

void Loop::RunTimers(int64_t now_ns) {
  while (!timers_.empty() && timers_.top().due_ns <= now_ns) {
    Watched* const watched = timers_.top().watched;
    timers_.pop();
    if (!watched->retired_) {
      watched->OnTimer(now_ns);
    }
    Unreference(watched);
  }
}

int64_t Loop::SleepNs(int64_t now_ns, int64_t until_ns) const {
  if (until_ns <= now_ns || !reads_.empty() || !writes_.empty() ||
      !retired_.empty()) {
    return 0;
  }
  const int64_t due_ns =
      timers_.empty() ? until_ns : std::min(until_ns, timers_.top().due_ns);
  return std::max<int64_t>(0, due_ns - now_ns);
}

void Loop::Poll(int64_t timeout_ns) {
  std::array<epoll_event, kMaxEvents> events;
  const timespec timeout = ToTimespec(timeout_ns);
  const int n = timeout_ns == 0
                    ? epoll_wait(epoll_fd_, events.data(), kMaxEvents, 0)
                    : epoll_pwait2(epoll_fd_, events.data(), kMaxEvents,
                                   &timeout, nullptr);
  for (int i = 0; i < n; ++i) {
    auto* const watched = static_cast<Watched*>(events[i].data.ptr);
    if (!watched->retired_) {
      watched->OnEvents(events[i].events);
    }
  }
}

void Loop::Step() {
  const bool reading = !reads_.empty();
  std::deque<Watched*>& queue = reading ? reads_ : writes_;
  if (queue.empty()) {
    return;
  }
  Watched* const watched = queue.front();
  queue.pop_front();
  (reading ? watched->read_queued_ : watched->write_queued_) = false;
  if (!watched->retired_) {
    const bool more = reading ? watched->OnReadStep() : watched->OnWriteStep();
    if (more && !watched->retired_) {
      reading ? QueueRead(watched) : QueueWrite(watched);
    }
  }
  Unreference(watched);
}

void Loop::Turn(int64_t now_ns, int64_t until_ns) {
  RunTimers(now_ns);
  Poll(SleepNs(now_ns, until_ns));
  Step();
  Bury();
}

}  // namespace spicegate
