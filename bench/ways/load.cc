// SPDX-License-Identifier: Apache-2.0
#include "bench/ways/load.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "bench/ways/cpu.h"
#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr int kMaxEvents = 256;
constexpr size_t kInputBytes = 256 * 1024;
// Stream position p carries pattern byte p % kPeriod. A prime, so that no
// buffer size hides a shift.
constexpr size_t kPeriod = 65'521;
constexpr size_t kMostReadAtOnce = 1024 * 1024;

std::vector<uint8_t> Pattern(size_t longest_write) {
  std::vector<uint8_t> pattern(kPeriod + std::max(longest_write, kInputBytes));
  uint32_t state = 1;
  for (size_t i = 0; i < pattern.size(); ++i) {
    state = state * 1'664'525u + 1'013'904'223u;
    pattern[i] =
        i < kPeriod ? static_cast<uint8_t>(state >> 24) : pattern[i - kPeriod];
  }
  return pattern;
}

}  // namespace

Load::Load(const Workload& workload, std::vector<int> client_fds,
           std::vector<int> server_fds)
    : workload_(workload),
      epoll_fd_(epoll_create1(EPOLL_CLOEXEC)),
      pattern_(Pattern(workload.write_bytes)),
      input_(kInputBytes) {
  CHECK(epoll_fd_ >= 0 && client_fds.size() == server_fds.size());
  for (size_t i = 0; i < client_fds.size(); ++i) {
    Watch(&peers_.emplace_back(Peer{server_fds[i], true, 0, 0, 0, false}));
    Watch(&peers_.emplace_back(Peer{client_fds[i], false, 0, 0, 0, false}));
    if (!workload_.bulk()) {
      Ask(&peers_.back());
    }
  }
  num_open_ = client_fds.size();
}

Load::~Load() {
  for (const Peer& peer : peers_) {
    close(peer.fd);
  }
  close(epoll_fd_);
}

void Load::Watch(Peer* peer) {
  epoll_event event{};
  event.events = EPOLLIN;
  if (workload_.bulk() && peer->is_server) {
    event.events |= EPOLLOUT;
  }
  event.data.ptr = peer;
  CHECK(epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, peer->fd, &event) == 0);
}

bool Load::RunFor(int64_t duration_ns) {
  const int64_t end_ns = MonotonicNs() + duration_ns;
  std::array<epoll_event, kMaxEvents> events;
  for (;;) {
    const int64_t left_ns = end_ns - MonotonicNs();
    if (num_open_ == 0 || left_ns <= 0) {
      return num_open_ == 0;
    }
    const int num = epoll_wait(
        epoll_fd_, events.data(), kMaxEvents,
        static_cast<int>(std::min<int64_t>(left_ns / 1'000'000 + 1, 100)));
    for (int i = 0; i < num; ++i) {
      OnReady(static_cast<Peer*>(events[i].data.ptr),
              (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0,
              (events[i].events & EPOLLOUT) != 0);
    }
  }
}

void Load::OnReady(Peer* peer, bool readable, bool writable) {
  if (peer->over) {
    return;
  }
  if (writable) {
    SendBulk(peer);
  }
  if (readable) {
    Receive(peer);
  }
}

void Load::SendBulk(Peer* peer) {
  size_t len = workload_.write_bytes;
  if (workload_.stream_bytes != 0) {
    len = std::min(len, workload_.stream_bytes - peer->sent);
  }
  const ssize_t n = send(peer->fd, &pattern_[peer->sent % kPeriod], len,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
  peer->sent += n > 0 ? static_cast<size_t>(n) : 0;
  if (workload_.stream_bytes != 0 && peer->sent == workload_.stream_bytes) {
    EndStream(peer);
  }
}

// No more to send: the stream ends behind it.
void Load::EndStream(Peer* peer) {
  shutdown(peer->fd, SHUT_WR);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = peer;
  epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, peer->fd, &event);
}

void Load::Ask(Peer* peer) {
  peer->asked_ns = MonotonicNs();
  const size_t num_writes = workload_.in_halves ? 2 : 1;
  for (size_t i = 0; i < num_writes; ++i) {
    Send(peer, workload_.message_bytes / num_writes);
  }
}

// What is small enough always goes whole.
void Load::Send(Peer* peer, size_t len) {
  if (len == 0) {
    return;
  }
  const ssize_t n = send(peer->fd, &pattern_[peer->sent % kPeriod], len,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
  num_wrong_ += n == static_cast<ssize_t>(len) ? 0 : 1;
  peer->sent += len;
}

void Load::Receive(Peer* peer) {
  for (size_t total = 0; total < kMostReadAtOnce;) {
    const ssize_t n =
        recv(peer->fd, input_.data(), input_.size(), MSG_DONTWAIT);
    if (n > 0) {
      total += static_cast<size_t>(n);
      OnBytes(peer, static_cast<size_t>(n));
      if (static_cast<size_t>(n) == input_.size()) {
        continue;
      }
      return;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      peer->over = true;
      epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, peer->fd, nullptr);
      if (peer->is_server) {
        shutdown(peer->fd, SHUT_WR);
      } else {
        num_wrong_ += peer->received != workload_.stream_bytes ? 1 : 0;
        shutdown(peer->fd, SHUT_WR);
        --num_open_;
      }
    }
    return;
  }
}

void Load::OnBytes(Peer* peer, size_t len) {
  if (workload_.stream_bytes != 0 &&
      std::memcmp(input_.data(), &pattern_[peer->received % kPeriod], len) !=
          0) {
    ++num_wrong_;
  }
  peer->received += len;
  if (!peer->is_server) {
    num_bytes_ += len;
  }
  if (workload_.bulk()) {
    return;
  }
  if (peer->is_server) {
    const size_t asked = peer->received - peer->sent;
    Send(peer, asked - asked % workload_.message_bytes);
  } else if (peer->received == peer->sent) {
    OnAnswered(peer);
  }
}

void Load::OnAnswered(Peer* peer) {
  latencies_ns_.push_back(
      static_cast<uint32_t>(MonotonicNs() - peer->asked_ns));
  if (workload_.stream_bytes != 0 && peer->sent >= workload_.stream_bytes) {
    EndStream(peer);
  } else {
    Ask(peer);
  }
}

void Load::ResetCounts() {
  num_bytes_ = 0;
  latencies_ns_.clear();
}

}  // namespace spicegate
