// SPDX-License-Identifier: Apache-2.0
//
// What a link or a pump reads from and writes to: a plain socket, TLS records
// made in user space, TLS in the kernel. Nothing here waits; what to wait for
// after -EAGAIN is asked of the stream, because a TLS read may need to write.
#ifndef SPICEGATE_GATEWAY_IO_STREAM_H_
#define SPICEGATE_GATEWAY_IO_STREAM_H_

#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <span>

#include "gateway/base/counters.h"
#include "gateway/io/driver.h"

namespace spicegate {

class Socket;

// How TLS fails, beside the errors of the socket below it.
inline constexpr int kTlsBadRecord = -EBADMSG;      // forged or malformed
inline constexpr int kTlsPeerAlert = -EREMOTEIO;    // a fatal alert came
inline constexpr int kTlsRekeyed = -EKEYEXPIRED;    // the kernel cannot follow
inline constexpr int kTlsKeyUsedUp = -EKEYREVOKED;  // nothing more may be sent

// Used by the thread that owns the socket below. Not copied, not moved.
class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  // Bytes (> 0), 0 at the end of the stream, -EAGAIN, or another -errno after
  // which the stream is dead. `out` is not empty. A read that returned less
  // than asked for may have more at once: only -EAGAIN means wait.
  virtual ssize_t Read(std::span<uint8_t> out) = 0;

  // Bytes taken (> 0), -EAGAIN, or another -errno. After -EAGAIN the same
  // bytes are offered again, at any address.
  virtual ssize_t Write(std::span<const uint8_t> in) = 0;

  // Whether SpliceIn can stand in for Read just now, and SpliceOut for Write.
  virtual bool CanSpliceIn() const { return false; }
  virtual bool CanSpliceOut() const { return false; }

  // Into a pipe, as IoDriver::SpliceIn: 0 and -EAGAIN are for Read to confirm,
  // -EINVAL says that splicing is not possible after all.
  virtual ssize_t SpliceIn(const Pipe&, size_t) { return -EINVAL; }
  // Out of a pipe that holds at least so much, as IoDriver::SpliceOut.
  virtual ssize_t SpliceOut(const Pipe&, size_t) { return -EINVAL; }

  // After a read that returned less than asked for: it found nothing more, the
  // next one may wait for ReadWait() at once.
  virtual bool ShortReadDrains() const { return false; }

  // Ends our direction (TLS: close_notify, then FIN). 0, -EAGAIN: call again
  // when WriteWait() is ready, or -errno.
  virtual int ShutdownWrite() = 0;

  // Closing the socket, once all input has been read, ends our direction just
  // as ShutdownWrite does.
  virtual bool CloseIsShutdown() const { return false; }

  // The link is over and relaying begins, on the home worker: `counters` are
  // that worker's and outlive the stream. Returns the stream to go on with in
  // place of this one, or null when this one goes on. `socket` is the one at
  // the bottom. At most once.
  virtual std::unique_ptr<Stream> BeginRelaying(Socket*, WorkerCounters*) {
    return nullptr;
  }

  // What the socket must be for, after Read or Write returned -EAGAIN.
  virtual Ready ReadWait() const { return Ready::kReadable; }
  virtual Ready WriteWait() const { return Ready::kWritable; }

 private:
  friend struct StreamDeleter;

  // Called instead of delete by the owner of a StreamPtr.
  virtual void Dispose() { delete this; }
};

struct StreamDeleter {
  StreamDeleter() = default;
  // So that a unique_ptr to any kind of stream becomes a StreamPtr.
  template <typename T>
  StreamDeleter(std::default_delete<T>) {}

  void operator()(Stream* stream) const { stream->Dispose(); }
};

// Owns a stream, or stands for the plain one that is part of its socket.
using StreamPtr = std::unique_ptr<Stream, StreamDeleter>;

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_STREAM_H_
