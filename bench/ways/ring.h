// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_BENCH_WAYS_RING_H_
#define SPICEGATE_BENCH_WAYS_RING_H_

#include <liburing.h>

#include <cstdint>
#include <vector>

#include "gateway/base/check.h"

namespace spicegate {

struct RingEvent {
  uint64_t user_data = 0;
  int32_t value = 0;
  uint32_t flags = 0;
  bool more = false;
};

// An io_uring of one thread, made as the gateway makes its own.
class Ring {
 public:
  Ring() {
    io_uring_params params{};
    params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP |
                   IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    params.cq_entries = kCompletionEntries;
    CHECK(io_uring_queue_init_params(kSubmissionEntries, &ring_, &params) == 0);
  }
  ~Ring() { io_uring_queue_exit(&ring_); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  io_uring* get() { return &ring_; }

  io_uring_sqe* NextSqe() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe == nullptr) {
      io_uring_submit(&ring_);
      sqe = io_uring_get_sqe(&ring_);
      CHECK(sqe != nullptr);
    }
    return sqe;
  }

  // Submits what was prepared, waits for a completion if `block`, and hands
  // out all that there are. `handler` may prepare more.
  template <typename Handler>
  void Wait(bool block, Handler handler) {
    if (block) {
      io_uring_submit_and_wait(&ring_, 1);
    } else {
      io_uring_submit_and_get_events(&ring_);
    }
    unsigned head = 0;
    unsigned num = 0;
    io_uring_cqe* cqe = nullptr;
    events_.clear();
    io_uring_for_each_cqe(&ring_, head, cqe) {
      events_.push_back({cqe->user_data, cqe->res, cqe->flags,
                         (cqe->flags & IORING_CQE_F_MORE) != 0});
      ++num;
    }
    io_uring_cq_advance(&ring_, num);
    for (const RingEvent& event : events_) {
      handler(event);
    }
  }

 private:
  static constexpr unsigned kSubmissionEntries = 2048;
  static constexpr unsigned kCompletionEntries = 8192;

  io_uring ring_{};
  std::vector<RingEvent> events_;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_WAYS_RING_H_
