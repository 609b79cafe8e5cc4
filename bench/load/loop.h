// SPDX-License-Identifier: Apache-2.0
//
// The event loop of the load generator: one thread, edge-triggered epoll, small
// messages before floods.
//
// A turn handles everything that is ready on interactive descriptors, notes
// what is ready on floods, and takes one bounded step of one flood. So what a
// small message waits for inside the generator is one such step, some ten
// microseconds, and its latency is the relay's. Floods read before they write:
// what was received is still hot, and queues stay short.
#ifndef SPICEGATE_BENCH_LOAD_LOOP_H_
#define SPICEGATE_BENCH_LOAD_LOOP_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <queue>
#include <vector>

#include "proto/wire.h"

namespace spicegate {

// Monotonic.
int64_t NowNs();

class Loop;

// Whoever has a descriptor on the loop. Once watched it ends by Loop::Retire().
class Watched {
 public:
  Watched() = default;
  virtual ~Watched() = default;
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  // EPOLLIN, EPOLLOUT and so on, as they came up.
  virtual void OnEvents(uint32_t events) = 0;
  // The time asked for with Loop::WakeAt() has come.
  virtual void OnTimer(int64_t now_ns) { (void)now_ns; }
  // One step of a flood; true when there is more to do at once.
  virtual bool OnReadStep() { return false; }
  virtual bool OnWriteStep() { return false; }

 private:
  friend class Loop;

  int num_references_ = 0;  // From the queues and the timers of the loop.
  bool retired_ = false;
  bool in_limbo_ = false;  // Retired, and deleted with its last reference.
  bool read_queued_ = false;
  bool write_queued_ = false;
};

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Watches `fd` for `events` until it is closed.
  bool Watch(int fd, uint32_t events, Watched* watched);
  // Ends the watching of a descriptor that stays open.
  void Unwatch(int fd);

  // Asks for a step. Repeated calls before it are one.
  void QueueRead(Watched* watched);
  void QueueWrite(Watched* watched);
  // Calls OnTimer() at `due_ns`, once for each call.
  void WakeAt(int64_t due_ns, Watched* watched);

  // Deletes `watched`, whose descriptor is closed, when nothing points to it
  // any more. It gets no more calls.
  void Retire(std::unique_ptr<Watched> watched);

  // One turn at `now_ns`. Sleeps until something happens, at the longest until
  // `until_ns`; a time in the past makes it look only.
  void Turn(int64_t now_ns, int64_t until_ns);

  // Where received bytes go; hot, and free again after each call.
  proto::MutableBytes buffer() { return buffer_; }

 private:
  struct Timer {
    int64_t due_ns;
    Watched* watched;
    bool operator>(const Timer& other) const { return due_ns > other.due_ns; }
  };

  void RunTimers(int64_t now_ns);
  void Poll(int64_t timeout_ns);
  void Step();
  int64_t SleepNs(int64_t now_ns, int64_t until_ns) const;
  void Unreference(Watched* watched);
  void Bury();

  int epoll_fd_;
  std::deque<Watched*> reads_;
  std::deque<Watched*> writes_;
  std::priority_queue<Timer, std::vector<Timer>, std::greater<Timer>> timers_;
  std::vector<std::unique_ptr<Watched>> retired_;
  std::vector<uint8_t> buffer_;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_LOOP_H_
