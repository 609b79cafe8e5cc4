// SPDX-License-Identifier: Apache-2.0
//
// Where an inline relay learns that a socket is ready: epoll or io_uring.
#ifndef SPICEGATE_BENCH_WAYS_READINESS_H_
#define SPICEGATE_BENCH_WAYS_READINESS_H_

#include <memory>

#include "bench/ways/way.h"

namespace spicegate {

// One socket of a pair, for the relay and the source both.
struct End {
  int fd = -1;
  int index = 0;  // 0: the client's, 1: the server's
  void* pair = nullptr;
  bool hung_up = false;  // the peer's FIN or an error was seen
};

class ReadinessHandler {
 public:
  virtual void OnReady(End* end, bool readable, bool writable) = 0;

 protected:
  ~ReadinessHandler() = default;
};

class ReadinessSource {
 public:
  virtual ~ReadinessSource() = default;

  // A socket begins. Its End lives as long as the source.
  virtual void Watch(End* end) = 0;
  // A call on it said EAGAIN; tell when it is ready. Sources that were armed
  // once for all have nothing to do.
  virtual void Want(End* end, bool writable) = 0;
  // Tells the handler what is ready; waits for it if `block`.
  virtual void Wait(bool block, ReadinessHandler* handler) = 0;
};

std::unique_ptr<ReadinessSource> MakeReadinessSource(Readiness readiness);

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_WAYS_READINESS_H_
