// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/socket.h"

#include <cerrno>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

// Memory that is short for the moment ends no connection. It is waited for as
// if the socket were not ready; as that is mostly not true, the worker tries
// again in each turn until there is some.
ssize_t Retried(ssize_t n) {
  return n == -ENOBUFS || n == -ENOMEM ? -EAGAIN : n;
}

}  // namespace

Socket::~Socket() {
  CHECK(idle());
  CHECK(fd_ < 0);
}

void Socket::Wait(Ready ready, Waiter* waiter) {
  PendingWait& wait = WaitOf(ready);
  CHECK(wait.waiter == nullptr);
  CHECK(!closing_);
  wait.waiter = waiter;
  if (wait.op) {
    // The operation of a forgotten wait is still in flight: it serves again,
    // or, if it was cancelled, is started anew by its completion.
    if (interrupt_ != 0) {
      driver_->Cancel(wait.op);
    }
    return;
  }
  wait.op = driver_->Poll(fd_, ready, this, static_cast<uint32_t>(ready));
  if (interrupt_ != 0) {
    driver_->Cancel(wait.op);
  }
}

void Socket::Forget(Ready ready) {
  PendingWait& wait = WaitOf(ready);
  wait.waiter = nullptr;
}

void Socket::Connect(const sockaddr* address, socklen_t address_len,
                     Waiter* waiter) {
  PendingWait& wait = WaitOf(Ready::kWritable);
  CHECK(wait.waiter == nullptr && !wait.op);
  CHECK(!closing_);
  wait.waiter = waiter;
  wait.op =
      driver_->Connect(fd_, address, address_len, this,
                       static_cast<uint32_t>(Ready::kWritable) | kConnectTag);
  if (interrupt_ != 0) {
    driver_->Cancel(wait.op);
  }
}

void Socket::Interrupt(int error) {
  DCHECK(error < 0);
  if (interrupt_ == error) {
    return;  // waits that began since were cancelled by Wait
  }
  interrupt_ = static_cast<int16_t>(error);
  for (const PendingWait& wait : waits_) {
    if (wait.waiter != nullptr) {
      driver_->Cancel(wait.op);
    }
  }
}

void Socket::Rebind(IoDriver* driver) {
  CHECK(idle());
  driver_ = driver;
}

void Socket::OnOp(uint32_t tag, OpResult result) {
  const Ready ready = static_cast<Ready>(tag & ~kConnectTag);
  PendingWait& wait = WaitOf(ready);
  wait.op = OpId{};
  if (closing_) {
    if (idle()) {
      FinishClose();
    }
    return;
  }
  if (wait.waiter == nullptr) {
    return;
  }
  const bool connecting = (tag & kConnectTag) != 0;
  if (result.value == -ECANCELED && interrupt_ == 0 && !connecting) {
    // Cancelled for a wait that was interrupted, but a new one began since.
    Waiter* waiter = std::exchange(wait.waiter, nullptr);
    Wait(ready, waiter);
    return;
  }
  int error = 0;
  if (interrupt_ != 0) {
    error = interrupt_;
  } else if (connecting) {
    error = result.value;
  }
  std::exchange(wait.waiter, nullptr)->OnReady(ready, error);
}

void Socket::Release(std::unique_ptr<Socket> socket, End end) {
  Socket* self = socket.release();
  self->closing_ = true;
  self->end_ = end;
  for (PendingWait& wait : self->waits_) {
    wait.waiter = nullptr;
    if (wait.op) {
      self->driver_->Cancel(wait.op);
    }
  }
  if (self->idle()) {
    self->FinishClose();
  }
}

void Socket::FinishClose() {
  driver_->Close(std::exchange(fd_, -1), end_ == End::kReset);
  delete this;
}

ssize_t SocketStream::Read(std::span<uint8_t> out) {
  return Retried(socket_->driver()->Recv(socket_->fd(), out));
}

ssize_t SocketStream::Write(std::span<const uint8_t> in) {
  return Retried(socket_->driver()->Send(socket_->fd(), in));
}

ssize_t SocketStream::SpliceIn(const Pipe& pipe, size_t max_bytes) {
  return socket_->driver()->SpliceIn(socket_->fd(), pipe, max_bytes);
}

ssize_t SocketStream::SpliceOut(const Pipe& pipe, size_t max_bytes) {
  return socket_->driver()->SpliceOut(pipe, socket_->fd(), max_bytes);
}

int SocketStream::ShutdownWrite() {
  return socket_->driver()->ShutdownWrite(socket_->fd());
}

}  // namespace spicegate
