// SPDX-License-Identifier: Apache-2.0
//
// The kernel, as a worker sees it: a seam with two implementations, io_uring
// (uring_driver.h) and a deterministic simulator (sim_driver.h), both held to
// driver_conformance_test.cc.
//
// Readiness, accept, connect, wake-ups and cancellation are operations that
// complete in Dispatch. Bytes move inline, without waiting, once an operation
// said that they can: that is what measured best (docs/decisions/), and no
// buffer is ever lent to the kernel.
//
// A driver belongs to the thread that made it. Only Wake may be called from
// elsewhere. Results follow the kernel: >= 0, or a negated errno.
#ifndef SPICEGATE_GATEWAY_IO_DRIVER_H_
#define SPICEGATE_GATEWAY_IO_DRIVER_H_

#include <sys/socket.h>
#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

namespace spicegate {

enum class Ready : uint8_t { kReadable, kWritable };

// Of a TLS connection, seen from us.
enum class TlsDirection : uint8_t { kSend, kReceive };

// Names an operation in flight. Stale names are harmless everywhere.
struct OpId {
  uint32_t slot = 0;
  uint32_t generation = 0;  // 0: no operation

  explicit operator bool() const { return generation != 0; }
};

// A pipe of the kernel's: bytes pass through it from one socket to another
// without being copied to us. Plain data; whoever opened it closes it.
struct Pipe {
  int read_fd = -1;
  int write_fd = -1;
  size_t capacity_bytes = 0;  // for full pages; small segments fill it earlier

  bool open() const { return read_fd >= 0; }
};

// One completion of an operation.
struct OpResult {
  int32_t value = 0;  // >= 0 or -errno; -ECANCELED after Cancel
  bool more = false;  // the operation stays in flight (accept only)
};

// Receives completions. It must live until the last completion (more ==
// false) of every operation it started.
class OpHandler {
 public:
  // `tag` is what the operation was started with. Called from Dispatch only,
  // never from inside the call that started or cancelled the operation. The
  // handler may start and cancel operations, and may destroy itself when this
  // was its last one.
  virtual void OnOp(uint32_t tag, OpResult result) = 0;

 protected:
  ~OpHandler() = default;
};

class IoDriver {
 public:
  virtual ~IoDriver() = default;

  // ---- Operations: exactly one final completion each.

  // Completes with a positive value once `fd` is ready, has failed or was
  // hung up; trying the read or write then tells which.
  virtual OpId Poll(int fd, Ready ready, OpHandler* handler, uint32_t tag) = 0;

  // Completes with a new non-blocking, close-on-exec socket for each
  // connection, until it is cancelled or fails (more == false). Ends with
  // -EMFILE when the process has no descriptors left: the caller pauses.
  virtual OpId Accept(int listen_fd, OpHandler* handler, uint32_t tag) = 0;

  // Completes with 0 or -errno. `address` is copied.
  virtual OpId Connect(int fd, const sockaddr* address, socklen_t address_len,
                       OpHandler* handler, uint32_t tag) = 0;

  // Asks for an early end. The operation still completes once, with
  // -ECANCELED or with what it had achieved before.
  virtual void Cancel(OpId op) = 0;

  // ---- Inline calls: never wait.

  // A non-blocking, close-on-exec stream socket, or -errno.
  virtual int OpenSocket(int family) = 0;
  // Bytes, 0 at the end of the stream, -EAGAIN, or -errno.
  virtual ssize_t Recv(int fd, std::span<uint8_t> out) = 0;
  // Bytes taken (> 0), -EAGAIN, or -errno. Never raises SIGPIPE.
  virtual ssize_t Send(int fd, std::span<const uint8_t> in) = 0;
  // Sends FIN behind what was sent; 0 or -errno.
  virtual int ShutdownWrite(int fd) = 0;
  // A pipe of `size_bytes`, or smaller where the user's quota of pipe memory
  // is used up: look at its capacity. 0 or -errno (-EMFILE, -ENFILE).
  virtual int OpenPipe(size_t size_bytes, Pipe* pipe) = 0;
  // Bytes that are still inside are lost. `pipe` is not open afterwards.
  virtual void ClosePipe(Pipe* pipe) = 0;
  // From a socket into a pipe: bytes (> 0), 0 at the end of the stream,
  // -EAGAIN, or -errno. -EAGAIN with bytes in the pipe may also mean that it
  // is full. An urgent byte (MSG_OOB) stops it for good: with -EAGAIN, or with
  // 0 when FIN is behind it. Recv gets past it, so that it should have the last
  // word on both.
  virtual ssize_t SpliceIn(int fd, const Pipe& pipe, size_t max_bytes) = 0;
  // From a pipe, which holds at least `max_bytes`, to a socket: bytes (> 0),
  // -EAGAIN, or -errno.
  virtual ssize_t SpliceOut(const Pipe& pipe, int fd, size_t max_bytes) = 0;
  // No operation may be in flight on `fd`. With `reset` the peer sees RST.
  virtual void Close(int fd, bool reset) = 0;

  // ---- Inline calls: TLS in the kernel. A driver without it refuses.

  // Makes `fd` able to take keys; its bytes stay plain until it has some. 0 or
  // -errno: -ENOENT without the kernel's module, -ENOTCONN when the peer has
  // ended its direction already.
  virtual int StartTls(int) { return -ENOENT; }
  // From now on the kernel makes the records of one direction. `key` is a
  // tls12_crypto_info_* of linux/tls.h. 0 or -errno: -ENOENT without the
  // cipher.
  virtual int SetTlsKey(int, TlsDirection, std::span<const uint8_t>) {
    return -ENOENT;
  }
  // The next record, or a part of it, which may be a control record: Recv gives
  // -EIO and SpliceIn -EINVAL as long as one of those is next. As Recv, with
  // the record's type in `type`: 0 where the stream has ended.
  virtual ssize_t RecvTlsRecord(int, std::span<uint8_t>, uint8_t*) {
    return -EOPNOTSUPP;
  }
  // Sends a record of that type. As Send.
  virtual ssize_t SendTlsRecord(int, uint8_t, std::span<const uint8_t>) {
    return -EOPNOTSUPP;
  }
  // Bytes of the connection that TCP has taken so far, acknowledged or not, and
  // the number of the record that the kernel makes next (`key_len` is that of
  // the key that was set). Between a Send and TCP a record can wait for room,
  // and ShutdownWrite forgets it: with these a caller can tell. Or -errno.
  virtual int64_t TcpBytesTaken(int) { return -EOPNOTSUPP; }
  virtual int64_t NextTlsRecord(int, size_t) { return -EOPNOTSUPP; }
  // A part of a record may be waiting: lets the Poll for input that follows in
  // this turn complete once more has come, where the kernel would call the
  // part readable (Linux 6.1). 0: look once more before that Poll; -EAGAIN:
  // nothing is there.
  virtual int ReadableWhenMore(int) { return -EOPNOTSUPP; }

  // ---- The loop.

  // Submits what was started and waits at most `timeout_ms` (-1: until
  // something completes; 0: not at all). NowMs is fresh afterwards, so that
  // timers can fire before handlers rely on them.
  virtual void Wait(int64_t timeout_ms) = 0;

  // Submits what was started and looks for completions for at most `spin_us`
  // without sleeping; true when there are some. Wait follows, in either case.
  virtual bool Spin(int64_t spin_us) = 0;

  // Hands out the completions that Wait found; returns their number.
  virtual unsigned Dispatch() = 0;

  // One turn of a loop without timers.
  unsigned RunOnce(int64_t timeout_ms) {
    Wait(timeout_ms);
    return Dispatch();
  }

  // Makes the current or next Wait return without delay. Any thread.
  virtual void Wake() = 0;

  // Monotonic milliseconds, as of the last return of Wait.
  virtual int64_t NowMs() const = 0;

  // Operations started and not yet finally completed.
  virtual size_t OpsInFlight() const = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_DRIVER_H_
