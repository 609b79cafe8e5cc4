// SPDX-License-Identifier: Apache-2.0
#include "bench/ways/ring_splice.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace spicegate {

RingSpliceRelay::~RingSpliceRelay() {
  for (const Pair& pair : pairs_) {
    for (const Direction& direction : pair.directions) {
      close(direction.pipe_read);
      close(direction.pipe_write);
    }
  }
}

void RingSpliceRelay::Add(int client_fd, int server_fd) {
  Pair& pair = pairs_.emplace_back();
  const std::array<int, 2> sockets = {client_fd, server_fd};
  for (int i = 0; i < 2; ++i) {
    // A splice that meets O_NONBLOCK ends with EAGAIN instead of waiting.
    fcntl(sockets[i], F_SETFL, fcntl(sockets[i], F_GETFL) & ~O_NONBLOCK);
    std::array<int, 2> pipe_fds;
    CHECK(pipe2(pipe_fds.data(), O_CLOEXEC) == 0);
    CHECK(fcntl(pipe_fds[0], F_SETPIPE_SZ, way_.pipe_bytes) >= 0);
    pair.directions[i] = {&pair,       sockets[i], sockets[1 - i], pipe_fds[0],
                          pipe_fds[1], 0,          false};
  }
  ++num_open_;
  Start(&pair.directions[0]);
  Start(&pair.directions[1]);
}

void RingSpliceRelay::Start(Direction* direction) {
  io_uring_sqe* sqe = ring_.NextSqe();
  if (direction->in_pipe > 0) {
    io_uring_prep_splice(sqe, direction->pipe_read, -1, direction->to, -1,
                         static_cast<unsigned>(direction->in_pipe),
                         SPLICE_F_MOVE);
  } else {
    io_uring_prep_splice(sqe, direction->from, -1, direction->pipe_write, -1,
                         static_cast<unsigned>(way_.pipe_bytes), SPLICE_F_MOVE);
  }
  io_uring_sqe_set_data(sqe, direction);
  ++direction->pair->num_ops;
}

void RingSpliceRelay::Run() {
  while (num_open_ > 0) {
    ring_.Wait(/*block=*/true, [this](const RingEvent& event) {
      auto* direction = reinterpret_cast<Direction*>(event.user_data);
      --direction->pair->num_ops;
      OnSpliced(direction, event.value);
      MaybeEnd(direction->pair);
    });
  }
}

void RingSpliceRelay::OnSpliced(Direction* direction, int value) {
  Pair* pair = direction->pair;
  if (pair->failed) {
    return;
  }
  if (value < 0) {
    pair->failed = true;
    shutdown(direction->from, SHUT_RDWR);
    shutdown(direction->to, SHUT_RDWR);
    return;
  }
  if (direction->in_pipe > 0) {
    direction->in_pipe -= static_cast<size_t>(value);
  } else if (value == 0) {
    direction->finished = true;
    shutdown(direction->to, SHUT_WR);
    return;
  } else {
    direction->in_pipe = static_cast<size_t>(value);
  }
  Start(direction);
}

void RingSpliceRelay::MaybeEnd(Pair* pair) {
  const bool over = pair->failed || (pair->directions[0].finished &&
                                     pair->directions[1].finished);
  if (over && pair->num_ops == 0) {
    close(pair->directions[0].from);
    close(pair->directions[0].to);
    --num_open_;
  }
}

}  // namespace spicegate
