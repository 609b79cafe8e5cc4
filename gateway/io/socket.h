// SPDX-License-Identifier: Apache-2.0
//
// One connected (or connecting) stream socket of the data path, and the plain
// Stream over it. Keeps the rule that an operation owns its socket until its
// last completion: a released socket cancels, waits, closes and frees itself.
#ifndef SPICEGATE_GATEWAY_IO_SOCKET_H_
#define SPICEGATE_GATEWAY_IO_SOCKET_H_

#include <sys/socket.h>

#include <array>
#include <coroutine>
#include <cstdint>
#include <memory>

#include "gateway/io/driver.h"
#include "gateway/io/stream.h"

namespace spicegate {

// Told once for each Socket::Wait.
class Waiter {
 public:
  // `error` is 0 when the socket is ready (or has failed: try it), or the
  // -errno given to Interrupt.
  virtual void OnReady(Ready ready, int error) = 0;

 protected:
  ~Waiter() = default;
};

class Socket;

// Plain bytes over a Socket, of which it is a part.
class SocketStream final : public Stream {
 public:
  explicit SocketStream(Socket* socket) : socket_(socket) {}

  ssize_t Read(std::span<uint8_t> out) override;
  ssize_t Write(std::span<const uint8_t> in) override;
  int ShutdownWrite() override;
  bool CanSpliceIn() const override { return true; }
  bool CanSpliceOut() const override { return true; }
  ssize_t SpliceIn(const Pipe& pipe, size_t max_bytes) override;
  ssize_t SpliceOut(const Pipe& pipe, size_t max_bytes) override;
  bool ShortReadDrains() const override { return true; }
  bool CloseIsShutdown() const override { return true; }

 private:
  void Dispose() override {}  // goes with its socket

  Socket* const socket_;
};

class Socket final : private OpHandler {
 public:
  // How Release ends the connection.
  enum class End : uint8_t { kFin, kReset };

  // Owns `fd` from now on.
  Socket(IoDriver* driver, int fd) : driver_(driver), fd_(fd) {}
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // Calls `waiter` once when `ready` holds; never from inside this call. At
  // most one wait of each kind at a time. The waiter stays alive until told
  // or until Forget.
  void Wait(Ready ready, Waiter* waiter);
  bool waiting(Ready ready) const { return WaitOf(ready).waiter != nullptr; }

  // Drops a wait without telling the waiter.
  void Forget(Ready ready);

  // Starts connecting; `waiter` is told with Ready::kWritable and 0 or -errno.
  void Connect(const sockaddr* address, socklen_t address_len, Waiter* waiter);

  // Every wait, now and from now on, ends with `error` (a negated errno):
  // how deadlines and shutdown reach a coroutine. Bytes can still be moved.
  void Interrupt(int error);

  // Undoes Interrupt for waits to come.
  void ClearInterrupt() { interrupt_ = 0; }

  // Moves the socket to another worker's driver. Nothing may be in flight.
  void Rebind(IoDriver* driver);

  // Ends the connection and frees the object once the kernel is done with it.
  // Waiters are forgotten.
  static void Release(std::unique_ptr<Socket> socket, End end);

  IoDriver* driver() const { return driver_; }
  int fd() const { return fd_; }
  // The plain stream, as long as the socket is not released.
  Stream* plain() { return &plain_; }

  // Awaitable form: `int error = co_await socket.Until(Ready::kReadable)`.
  class UntilReady;
  UntilReady Until(Ready ready);

  // Awaitable connect, with 0 or -errno.
  class UntilConnected;
  UntilConnected Connected(const sockaddr* address, socklen_t address_len);

 private:
  friend struct std::default_delete<Socket>;
  ~Socket();

  // Marks the completion of a connect among the tags.
  static constexpr uint32_t kConnectTag = 2;

  struct PendingWait {
    Waiter* waiter = nullptr;
    OpId op;  // in flight even after Forget, until its completion
  };

  void OnOp(uint32_t tag, OpResult result) override;
  void FinishClose();
  bool idle() const { return !waits_[0].op && !waits_[1].op; }
  PendingWait& WaitOf(Ready ready) {
    return waits_[static_cast<size_t>(ready)];
  }
  const PendingWait& WaitOf(Ready ready) const {
    return waits_[static_cast<size_t>(ready)];
  }

  IoDriver* driver_;
  SocketStream plain_{this};
  std::array<PendingWait, 2> waits_;
  int fd_;
  int16_t interrupt_ = 0;  // a negated errno
  bool closing_ = false;
  End end_ = End::kFin;
};

class Socket::UntilReady final : private Waiter {
 public:
  UntilReady(Socket* socket, Ready ready) : socket_(socket), ready_(ready) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> awaiting) {
    awaiting_ = awaiting;
    socket_->Wait(ready_, this);
  }
  int await_resume() const noexcept { return error_; }

 private:
  void OnReady(Ready, int error) override {
    error_ = error;
    awaiting_.resume();
  }

  Socket* const socket_;
  const Ready ready_;
  std::coroutine_handle<> awaiting_;
  int error_ = 0;
};

class Socket::UntilConnected final : private Waiter {
 public:
  UntilConnected(Socket* socket, const sockaddr* address, socklen_t len)
      : socket_(socket), address_(address), address_len_(len) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> awaiting) {
    awaiting_ = awaiting;
    socket_->Connect(address_, address_len_, this);
  }
  int await_resume() const noexcept { return error_; }

 private:
  void OnReady(Ready, int error) override {
    error_ = error;
    awaiting_.resume();
  }

  Socket* const socket_;
  const sockaddr* const address_;
  const socklen_t address_len_;
  std::coroutine_handle<> awaiting_;
  int error_ = 0;
};

inline Socket::UntilReady Socket::Until(Ready ready) { return {this, ready}; }
inline Socket::UntilConnected Socket::Connected(const sockaddr* address,
                                                socklen_t address_len) {
  return {this, address, address_len};
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_SOCKET_H_
