// SPDX-License-Identifier: Apache-2.0
#include "bench/ways/inline_relay.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr int kSmallBeforeCopying = 2;

ssize_t Answer(ssize_t n) { return n >= 0 ? n : -errno; }

}  // namespace

InlineRelay::InlineRelay(const Way& way)
    : way_(way), source_(MakeReadinessSource(way.readiness)) {}

InlineRelay::~InlineRelay() {
  for (const auto& pipe : free_pipes_) {
    close(pipe->read_fd);
    close(pipe->write_fd);
  }
}

void InlineRelay::Add(int client_fd, int server_fd) {
  Pair& pair = pairs_.emplace_back();
  const std::array<int, 2> fds = {client_fd, server_fd};
  for (int i = 0; i < 2; ++i) {
    pair.ends[i].fd = fds[i];
    pair.ends[i].index = i;
    pair.ends[i].pair = &pair;
    pair.directions[i].pair = &pair;
    pair.directions[i].from = &pair.ends[i];
    pair.directions[i].to = &pair.ends[1 - i];
    pair.directions[i].splices = way_.mover == Mover::kSplice;
  }
  ++num_open_;
  source_->Watch(&pair.ends[0]);
  source_->Watch(&pair.ends[1]);
  RunDirection(&pair.directions[0]);
  RunDirection(&pair.directions[1]);
}

void InlineRelay::Run() {
  while (num_open_ > 0) {
    source_->Wait(/*block=*/yielded_.empty(), this);
    for (Direction* direction : std::exchange(yielded_, {})) {
      direction->queued = false;
      RunDirection(direction);
    }
  }
}

void InlineRelay::OnReady(End* end, bool readable, bool writable) {
  auto* pair = static_cast<Pair*>(end->pair);
  Direction& from_it = pair->directions[end->index];
  Direction& to_it = pair->directions[1 - end->index];
  if (readable && from_it.waits == Direction::Waits::kInput) {
    RunDirection(&from_it);
  }
  if (writable && to_it.waits == Direction::Waits::kRoom) {
    RunDirection(&to_it);
  }
}

void InlineRelay::RunDirection(Direction* direction) {
  size_t moved = 0;
  direction->waits = Direction::Waits::kNothing;
  while (!direction->pair->ended && !direction->finished) {
    if (moved >= way_.quantum_bytes) {
      if (!std::exchange(direction->queued, true)) {
        yielded_.push_back(direction);
      }
      return;
    }
    const size_t in_hand = direction->end - direction->begin;
    if (in_hand == 0) {
      if (Read(direction) == Step::kStop) {
        return;
      }
      continue;
    }
    if (Write(direction) == Step::kStop) {
      return;
    }
    moved += in_hand - (direction->end - direction->begin);
  }
}

InlineRelay::Step InlineRelay::Write(Direction* direction) {
  const ssize_t n = WriteFrom(direction);
  if (n == -EAGAIN) {
    direction->blocked = true;
    direction->waits = Direction::Waits::kRoom;
    source_->Want(direction->to, /*writable=*/true);
    return Step::kStop;
  }
  if (n < 0) {
    EndPair(direction->pair);
    return Step::kStop;
  }
  direction->begin += static_cast<size_t>(n);
  return Step::kGoOn;
}

ssize_t InlineRelay::WriteFrom(Direction* direction) {
  const bool more = way_.cork && direction->filled;
  const size_t len = direction->end - direction->begin;
  if (direction->pipe != nullptr) {
    const unsigned flags =
        SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (more ? SPLICE_F_MORE : 0u);
    return Answer(splice(direction->pipe->read_fd, nullptr, direction->to->fd,
                         nullptr, len, flags));
  }
  return Answer(send(direction->to->fd,
                     direction->buffer->data() + direction->begin, len,
                     MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0)));
}

InlineRelay::Step InlineRelay::Read(Direction* direction) {
  if (MaySkipRead(*direction)) {
    return WaitForInput(direction);
  }
  TakeStore(direction);
  const ssize_t n = ReadInto(direction);
  if (n == -EAGAIN) {
    return WaitForInput(direction);
  }
  if (n < 0) {
    EndPair(direction->pair);
    return Step::kStop;
  }
  if (n == 0) {
    Finish(direction);
    return Step::kStop;
  }
  direction->begin = 0;
  direction->end = static_cast<size_t>(n);
  direction->blocked = false;
  ChooseMover(direction, direction->end);
  return Step::kGoOn;
}

ssize_t InlineRelay::ReadInto(Direction* direction) {
  ssize_t n = 0;
  size_t asked = way_.pipe_bytes;
  if (direction->pipe != nullptr) {
    n = splice(direction->from->fd, nullptr, direction->pipe->write_fd, nullptr,
               asked, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  } else {
    asked = direction->buffer->size();
    n = recv(direction->from->fd, direction->buffer->data(), asked,
             MSG_DONTWAIT);
  }
  n = Answer(n);
  direction->filled = n == static_cast<ssize_t>(asked);
  return n;
}

void InlineRelay::ChooseMover(Direction* direction, size_t num_read) {
  if (way_.mover != Mover::kHybrid) {
    return;
  }
  const bool small = num_read < way_.threshold_bytes;
  direction->num_small = small ? direction->num_small + 1 : 0;
  if (direction->splices) {
    direction->splices = direction->num_small < kSmallBeforeCopying;
  } else {
    direction->splices = !small;
  }
}

// With an edge-triggered source an edge may have passed while a write was
// blocked, and the edge of a FIN tells of nothing that comes after it.
bool InlineRelay::MaySkipRead(const Direction& direction) const {
  return !way_.retry_short_read && !direction.filled && direction.end != 0 &&
         !direction.blocked && !direction.from->hung_up;
}

InlineRelay::Step InlineRelay::WaitForInput(Direction* direction) {
  GiveStore(direction);
  direction->end = 0;
  direction->begin = 0;
  direction->waits = Direction::Waits::kInput;
  source_->Want(direction->from, /*writable=*/false);
  return Step::kStop;
}

void InlineRelay::Finish(Direction* direction) {
  GiveStore(direction);
  direction->finished = true;
  shutdown(direction->to->fd, SHUT_WR);
  Pair* pair = direction->pair;
  if (pair->directions[0].finished && pair->directions[1].finished) {
    EndPair(pair);
  }
}

void InlineRelay::EndPair(Pair* pair) {
  pair->ended = true;
  --num_open_;
  for (Direction& direction : pair->directions) {
    // Bytes are left in the pipe of a pair that failed: it is not reused.
    if (direction.pipe != nullptr && direction.begin != direction.end) {
      close(direction.pipe->read_fd);
      close(direction.pipe->write_fd);
      direction.pipe.reset();
    }
    GiveStore(&direction);
  }
  for (End& end : pair->ends) {
    // A poll in flight keeps the socket open: shutdown ends it.
    shutdown(end.fd, SHUT_RDWR);
    close(std::exchange(end.fd, -1));
  }
}

// What is in hand is empty here, so the way may change.
void InlineRelay::TakeStore(Direction* direction) {
  if (direction->splices ? direction->pipe != nullptr
                         : direction->buffer != nullptr) {
    return;
  }
  GiveStore(direction);
  if (direction->splices) {
    if (free_pipes_.empty()) {
      free_pipes_.push_back(NewPipe());
    }
    direction->pipe = std::move(free_pipes_.back());
    free_pipes_.pop_back();
    return;
  }
  if (free_buffers_.empty()) {
    free_buffers_.push_back(std::make_unique<Buffer>(way_.buffer_bytes));
  }
  direction->buffer = std::move(free_buffers_.back());
  free_buffers_.pop_back();
}

void InlineRelay::GiveStore(Direction* direction) {
  if (direction->pipe != nullptr) {
    free_pipes_.push_back(std::move(direction->pipe));
  }
  if (direction->buffer != nullptr) {
    free_buffers_.push_back(std::move(direction->buffer));
  }
}

std::unique_ptr<InlineRelay::Pipe> InlineRelay::NewPipe() const {
  std::array<int, 2> fds;
  CHECK(pipe2(fds.data(), O_NONBLOCK | O_CLOEXEC) == 0);
  CHECK(fcntl(fds[0], F_SETPIPE_SZ, way_.pipe_bytes) >= 0);
  return std::make_unique<Pipe>(Pipe{fds[0], fds[1]});
}

}  // namespace spicegate
