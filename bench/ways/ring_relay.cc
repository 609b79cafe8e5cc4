// SPDX-License-Identifier: Apache-2.0
#include "bench/ways/ring_relay.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace spicegate {
namespace {

// Newer than Debian 12's header.
constexpr uint16_t kRecvSendBundle = 1u << 4;  // IORING_RECVSEND_BUNDLE

constexpr uint16_t kReceiveGroup = 0;
constexpr unsigned kSendRingEntries = 64;
// A multishot receive is stopped when this much waits to be sent.
constexpr size_t kMaxWaiting = 4;
constexpr uint64_t kKindMask = 15;
constexpr uint64_t kPointerMask = (uint64_t{1} << 48) - 1;

io_uring_buf_ring* MakeBufferRing(io_uring* ring, unsigned entries,
                                  uint16_t group) {
  void* memory =
      mmap(nullptr, entries * sizeof(io_uring_buf), PROT_READ | PROT_WRITE,
           MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
  CHECK(memory != MAP_FAILED);
  io_uring_buf_reg reg{};
  reg.ring_addr = reinterpret_cast<uint64_t>(memory);
  reg.ring_entries = entries;
  reg.bgid = group;
  CHECK(io_uring_register_buf_ring(ring, &reg, 0) == 0);
  auto* buffers = static_cast<io_uring_buf_ring*>(memory);
  io_uring_buf_ring_init(buffers);
  return buffers;
}

void FreeBufferRing(io_uring_buf_ring* buffers, unsigned entries) {
  if (buffers != nullptr) {
    munmap(buffers, entries * sizeof(io_uring_buf));
  }
}

}  // namespace

RingRelay::RingRelay(const Way& way)
    : way_(way),
      buffers_(MakeBufferRing(ring_.get(), way.num_buffers, kReceiveGroup)),
      memory_(way.num_buffers * way.buffer_bytes),
      buffer_at_(way.num_buffers),
      position_of_(way.num_buffers),
      num_refs_(way.num_buffers) {
  for (unsigned i = 0; i < way.num_buffers; ++i) {
    num_refs_[i] = 1;
    Unref(i);
  }
}

RingRelay::~RingRelay() {
  FreeBufferRing(buffers_, way_.num_buffers);
  for (const Pair& pair : pairs_) {
    for (const Direction& direction : pair.directions) {
      FreeBufferRing(direction.send_ring, kSendRingEntries);
    }
  }
}

void RingRelay::Add(int client_fd, int server_fd) {
  Pair& pair = pairs_.emplace_back();
  const std::array<int, 2> fds = {client_fd, server_fd};
  for (int i = 0; i < 2; ++i) {
    Direction& direction = pair.directions[i];
    direction.pair = &pair;
    direction.from = fds[i];
    direction.to = fds[1 - i];
    if (way_.mover == Mover::kBundle) {
      direction.send_group = static_cast<uint16_t>(2 * pairs_.size() + i);
      direction.send_ring =
          MakeBufferRing(ring_.get(), kSendRingEntries, direction.send_group);
    }
  }
  ++num_open_;
  ArmReceive(&pair.directions[0]);
  ArmReceive(&pair.directions[1]);
}

void RingRelay::Run() {
  while (num_open_ > 0) {
    ring_.Wait(/*block=*/true,
               [this](const RingEvent& event) { OnEvent(event); });
  }
}

void RingRelay::Submit(io_uring_sqe* sqe, Direction* direction, Kind kind,
                       unsigned buffer) {
  ++direction->pair->num_ops;
  sqe->user_data =
      reinterpret_cast<uint64_t>(direction) | kind | (uint64_t{buffer} << 48);
}

void RingRelay::OnEvent(const RingEvent& event) {
  auto* direction =
      reinterpret_cast<Direction*>(event.user_data & kPointerMask & ~kKindMask);
  Pair* pair = direction->pair;
  const bool notification = (event.flags & IORING_CQE_F_NOTIF) != 0;
  if (!event.more) {
    --pair->num_ops;
  }
  switch (static_cast<Kind>(event.user_data & kKindMask)) {
    case kRecv:
      OnReceived(direction, event);
      break;
    case kSend:
      if (notification) {
        Unref(static_cast<unsigned>(event.user_data >> 48));
        break;
      }
      if (event.more) {
        ++num_refs_[event.user_data >> 48];  // until its notification
      }
      OnSent(direction, event.value);
      break;
    case kPoll:
      direction->sending = false;
      Push(direction);
      break;
    case kCancel:
      break;
  }
  MaybeEnd(pair);
}

void RingRelay::OnReceived(Direction* direction, const RingEvent& event) {
  if (!event.more) {
    direction->receiving = false;
    direction->stopping_receive = false;
  }
  if (event.value > 0) {
    TakeBuffers(direction, event.flags >> IORING_CQE_BUFFER_SHIFT,
                static_cast<size_t>(event.value));
  } else if (event.value == 0) {
    direction->ended = true;
  } else if (event.value == -ENOBUFS && num_free_ == 0) {
    direction->starved = true;
    starved_.push_back(direction);
  } else if (event.value != -ECANCELED && event.value != -ENOBUFS) {
    Fail(direction->pair);
  }
  Push(direction);
}

// Of a bundle the kernel names the first buffer; the others follow it in the
// order in which they were given.
void RingRelay::TakeBuffers(Direction* direction, unsigned first,
                            size_t num_bytes) {
  unsigned position = position_of_[first];
  while (num_bytes > 0) {
    const unsigned buffer = buffer_at_[position % way_.num_buffers];
    const size_t len = std::min(num_bytes, way_.buffer_bytes);
    ++num_refs_[buffer];
    --num_free_;
    direction->chunks.push_back({buffer, 0, len});
    num_bytes -= len;
    ++position;
  }
}

// Goes on with what is to be done for a direction now.
void RingRelay::Push(Direction* direction) {
  if (direction->pair->failed || direction->finished) {
    while (!direction->chunks.empty() && !direction->sending) {
      Unref(direction->chunks.front().buffer);
      direction->chunks.pop_front();
    }
    return;
  }
  if (!direction->sending && !direction->chunks.empty()) {
    if (way_.mover == Mover::kProvided) {
      SendInline(direction);
    } else if (way_.mover == Mover::kBundle) {
      SendBundle(direction);
    } else {
      SendFront(direction);
    }
  }
  if (direction->chunks.size() >= kMaxWaiting) {
    StopReceive(direction);
  }
  if (!direction->chunks.empty() || direction->receiving ||
      direction->starved) {
    return;
  }
  if (!direction->ended) {
    ArmReceive(direction);
    return;
  }
  direction->finished = true;
  shutdown(direction->to, SHUT_WR);
}

void RingRelay::SendInline(Direction* direction) {
  while (!direction->chunks.empty()) {
    const Chunk& chunk = direction->chunks.front();
    const ssize_t n =
        send(direction->to, BufferAt(chunk.buffer) + chunk.begin,
             chunk.end - chunk.begin, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) {
      io_uring_sqe* sqe = ring_.NextSqe();
      io_uring_prep_poll_add(sqe, direction->to, POLLOUT);
      Submit(sqe, direction, kPoll, 0);
      direction->sending = true;
      return;
    }
    if (n < 0) {
      Fail(direction->pair);
      return;
    }
    Consume(direction, static_cast<size_t>(n));
  }
}

void RingRelay::SendFront(Direction* direction) {
  const Chunk& chunk = direction->chunks.front();
  io_uring_sqe* sqe = ring_.NextSqe();
  if (way_.mover == Mover::kSendZc) {
    io_uring_prep_send_zc(sqe, direction->to,
                          BufferAt(chunk.buffer) + chunk.begin,
                          chunk.end - chunk.begin, MSG_NOSIGNAL, 0);
  } else {
    io_uring_prep_send(sqe, direction->to, BufferAt(chunk.buffer) + chunk.begin,
                       chunk.end - chunk.begin, MSG_NOSIGNAL);
  }
  Submit(sqe, direction, kSend, chunk.buffer);
  direction->sending = true;
}

void RingRelay::SendBundle(Direction* direction) {
  const size_t num =
      std::min(direction->chunks.size(), size_t{kSendRingEntries});
  direction->bundle_bytes = 0;
  for (size_t i = 0; i < num; ++i) {
    const Chunk& chunk = direction->chunks[i];
    direction->bundle_bytes += chunk.end - chunk.begin;
    io_uring_buf_ring_add(
        direction->send_ring, BufferAt(chunk.buffer) + chunk.begin,
        static_cast<unsigned>(chunk.end - chunk.begin),
        static_cast<uint16_t>(i), kSendRingEntries - 1, static_cast<int>(i));
  }
  io_uring_buf_ring_advance(direction->send_ring, static_cast<int>(num));
  io_uring_sqe* sqe = ring_.NextSqe();
  // WAITALL, because what a short send leaves of a bundle is out of order.
  io_uring_prep_send(sqe, direction->to, nullptr, 0,
                     MSG_NOSIGNAL | MSG_WAITALL);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = direction->send_group;
  sqe->ioprio |= kRecvSendBundle;
  Submit(sqe, direction, kSend, 0);
  direction->sending = true;
}

void RingRelay::OnSent(Direction* direction, int value) {
  direction->sending = false;
  if (value < 0 || (way_.mover == Mover::kBundle &&
                    static_cast<size_t>(value) < direction->bundle_bytes)) {
    Fail(direction->pair);
  } else {
    Consume(direction, static_cast<size_t>(value));
  }
  Push(direction);
}

void RingRelay::Consume(Direction* direction, size_t num_bytes) {
  while (num_bytes > 0) {
    CHECK(!direction->chunks.empty());
    Chunk& chunk = direction->chunks.front();
    const size_t len = std::min(num_bytes, chunk.end - chunk.begin);
    chunk.begin += len;
    num_bytes -= len;
    if (chunk.begin < chunk.end) {
      return;
    }
    Unref(chunk.buffer);
    direction->chunks.pop_front();
  }
}

void RingRelay::ArmReceive(Direction* direction) {
  io_uring_sqe* sqe = ring_.NextSqe();
  io_uring_prep_recv(sqe, direction->from, nullptr, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = kReceiveGroup;
  // Waits for input first: without buffers it would fail at once, input or not.
  sqe->ioprio |= num_free_ == 0 ? IORING_RECVSEND_POLL_FIRST : 0;
  if (way_.multishot_receive) {
    sqe->ioprio |= IORING_RECV_MULTISHOT;
  }
  if (way_.mover == Mover::kBundle) {
    sqe->ioprio |= kRecvSendBundle;
  }
  Submit(sqe, direction, kRecv, 0);
  direction->receiving = true;
}

void RingRelay::StopReceive(Direction* direction) {
  if (!way_.multishot_receive || !direction->receiving ||
      direction->stopping_receive) {
    return;
  }
  direction->stopping_receive = true;
  io_uring_sqe* sqe = ring_.NextSqe();
  io_uring_prep_cancel64(sqe, reinterpret_cast<uint64_t>(direction) | kRecv, 0);
  Submit(sqe, direction, kCancel, 0);
}

// Gives a buffer that nobody uses any more back to the kernel.
void RingRelay::Unref(unsigned buffer) {
  if (--num_refs_[buffer] > 0) {
    return;
  }
  buffer_at_[next_position_ % way_.num_buffers] = buffer;
  position_of_[buffer] = next_position_++;
  io_uring_buf_ring_add(buffers_, BufferAt(buffer),
                        static_cast<unsigned>(way_.buffer_bytes),
                        static_cast<uint16_t>(buffer),
                        io_uring_buf_ring_mask(way_.num_buffers), 0);
  io_uring_buf_ring_advance(buffers_, 1);
  ++num_free_;
  FeedStarved();
}

// All of them: who is told first may have no input to use the buffer for.
void RingRelay::FeedStarved() {
  for (Direction* direction : std::exchange(starved_, {})) {
    direction->starved = false;
    if (!direction->pair->failed && !direction->receiving &&
        direction->chunks.empty()) {
      ArmReceive(direction);
    }
  }
}

void RingRelay::Fail(Pair* pair) {
  if (!pair->failed) {
    pair->failed = true;
    shutdown(pair->directions[0].from, SHUT_RDWR);
    shutdown(pair->directions[0].to, SHUT_RDWR);
  }
}

void RingRelay::MaybeEnd(Pair* pair) {
  const bool over = pair->failed || (pair->directions[0].finished &&
                                     pair->directions[1].finished);
  if (!over || pair->num_ops > 0 || pair->closed) {
    return;
  }
  pair->closed = true;
  Push(&pair->directions[0]);  // gives back what is still held
  Push(&pair->directions[1]);
  close(pair->directions[0].from);
  close(pair->directions[0].to);
  --num_open_;
}

}  // namespace spicegate
