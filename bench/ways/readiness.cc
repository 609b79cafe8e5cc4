// SPDX-License-Identifier: Apache-2.0
#include "bench/ways/readiness.h"

#include <liburing.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cstdint>

#include "bench/ways/ring.h"
#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr int kMaxEvents = 512;
constexpr uint64_t kWritableBit = 1;  // of an End's address, which is aligned

void Tell(End* end, unsigned events, ReadinessHandler* handler) {
  const bool failed = (events & (POLLERR | POLLHUP)) != 0;
  end->hung_up = end->hung_up || failed || (events & POLLRDHUP) != 0;
  handler->OnReady(end, end->hung_up || (events & POLLIN) != 0,
                   failed || (events & POLLOUT) != 0);
}

class EpollSource final : public ReadinessSource {
 public:
  EpollSource() : fd_(epoll_create1(EPOLL_CLOEXEC)) { CHECK(fd_ >= 0); }
  ~EpollSource() override { close(fd_); }

  void Watch(End* end) override {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = end;
    CHECK(epoll_ctl(fd_, EPOLL_CTL_ADD, end->fd, &event) == 0);
  }

  void Want(End*, bool) override {}

  void Wait(bool block, ReadinessHandler* handler) override {
    std::array<epoll_event, kMaxEvents> events;
    const int num = epoll_wait(fd_, events.data(), kMaxEvents, block ? -1 : 0);
    for (int i = 0; i < num; ++i) {
      Tell(static_cast<End*>(events[i].data.ptr), events[i].events, handler);
    }
  }

 private:
  const int fd_;
};

class PollSource final : public ReadinessSource {
 public:
  explicit PollSource(bool multishot) : multishot_(multishot) {}

  void Watch(End* end) override {
    if (multishot_) {
      ArmMultishot(end);
    }
  }

  void Want(End* end, bool writable) override {
    if (!multishot_) {
      io_uring_sqe* sqe = ring_.NextSqe();
      io_uring_prep_poll_add(sqe, end->fd,
                             writable ? POLLOUT : POLLIN | POLLRDHUP);
      io_uring_sqe_set_data64(
          sqe, reinterpret_cast<uint64_t>(end) | (writable ? kWritableBit : 0));
    }
  }

  void Wait(bool block, ReadinessHandler* handler) override {
    ring_.Wait(block, [&](const RingEvent& event) {
      End* end = reinterpret_cast<End*>(event.user_data & ~kWritableBit);
      if (event.value < 0) {
        return;  // cancelled with its ring
      }
      if (multishot_ && !event.more) {
        ArmMultishot(end);
      }
      unsigned events = static_cast<unsigned>(event.value);
      if (!multishot_) {
        // A one-shot poll answers the question it was asked.
        events |= (event.user_data & kWritableBit) != 0 ? POLLOUT : POLLIN;
      }
      Tell(end, events, handler);
    });
  }

 private:
  void ArmMultishot(End* end) {
    if (end->fd < 0) {
      return;
    }
    io_uring_sqe* sqe = ring_.NextSqe();
    io_uring_prep_poll_multishot(sqe, end->fd, POLLIN | POLLOUT | POLLRDHUP);
    io_uring_sqe_set_data64(sqe, reinterpret_cast<uint64_t>(end));
  }

  const bool multishot_;
  Ring ring_;
};

}  // namespace

std::unique_ptr<ReadinessSource> MakeReadinessSource(Readiness readiness) {
  if (readiness == Readiness::kEpoll) {
    return std::make_unique<EpollSource>();
  }
  return std::make_unique<PollSource>(readiness == Readiness::kMultishot);
}

}  // namespace spicegate
