// SPDX-License-Identifier: Apache-2.0
//
// The bytes of one connection to an HTTP server: plain here, TLS where the
// composer brings it. Nothing here waits.
#ifndef SPICEGATE_GATEWAY_HTTP_HTTP_STREAM_H_
#define SPICEGATE_GATEWAY_HTTP_HTTP_STREAM_H_

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

namespace spicegate {

// Read is never offered less: a whole TLS record fits, and nothing stays
// behind of which poll(2) would not know.
inline constexpr size_t kHttpReadBytes = 16 * 1024;

// Order of calls: Handshake until it is 0, then the others.
class HttpStream {
 public:
  virtual ~HttpStream() = default;

  // 0 when done, -EAGAIN: call again when the socket is ready for
  // HandshakeEvents(), or another -errno, for good.
  virtual int Handshake() = 0;
  virtual short HandshakeEvents() const = 0;  // POLLIN or POLLOUT

  // Bytes (> 0), 0 at the end, -EAGAIN: call again when the socket is
  // readable, or another -errno, for good.
  virtual ssize_t Read(std::span<char> out) = 0;

  // Bytes taken (> 0), -EAGAIN: offer the same bytes again when the socket is
  // writable, or another -errno, for good.
  virtual ssize_t Write(std::string_view in) = 0;

  // Tells the peer that nothing more comes, short of ending the socket's
  // direction. 0, -EAGAIN: call again when the socket is writable, or another
  // -errno.
  virtual int EndWrite() = 0;
};

// Makes the stream over a connected, non-blocking socket, which outlives it;
// null when there is no memory.
using HttpStreamMaker = std::function<std::unique_ptr<HttpStream>(int fd)>;

// The socket's own bytes; never null.
std::unique_ptr<HttpStream> MakePlainHttpStream(int fd);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_HTTP_HTTP_STREAM_H_
