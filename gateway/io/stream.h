// SPDX-License-Identifier: Apache-2.0
//
// What a link or a pump reads from and writes to: a plain socket, TLS records
// made in user space, later kernel TLS. Nothing here waits; what to wait for
// after -EAGAIN is asked of the stream, because a TLS read may need to write.
#ifndef SPICEGATE_GATEWAY_IO_STREAM_H_
#define SPICEGATE_GATEWAY_IO_STREAM_H_

#include <sys/types.h>

#include <cstdint>
#include <span>

#include "gateway/io/driver.h"

namespace spicegate {

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

  // Ends our direction (TLS: close_notify, then FIN). 0, -EAGAIN: call again
  // when WriteWait() is ready, or -errno.
  virtual int ShutdownWrite() = 0;

  // What the socket must be for, after Read or Write returned -EAGAIN.
  virtual Ready ReadWait() const { return Ready::kReadable; }
  virtual Ready WriteWait() const { return Ready::kWritable; }
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_STREAM_H_
