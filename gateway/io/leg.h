// SPDX-License-Identifier: Apache-2.0
//
// One of the two connections of a channel: a socket and the stream over it.
#ifndef SPICEGATE_GATEWAY_IO_LEG_H_
#define SPICEGATE_GATEWAY_IO_LEG_H_

#include <memory>
#include <span>
#include <utility>

#include "gateway/base/task.h"
#include "gateway/io/socket.h"
#include "gateway/io/stream.h"

namespace spicegate {

// Moves with its channel from worker to worker; destroying it ends the
// connection with FIN.
struct Leg {
  std::unique_ptr<Socket> socket;
  StreamPtr stream;

  Leg() = default;
  Leg(std::unique_ptr<Socket> s, StreamPtr t)
      : socket(std::move(s)), stream(std::move(t)) {}
  Leg(Leg&&) = default;
  Leg& operator=(Leg&& other) {
    Release(Socket::End::kFin);
    socket = std::move(other.socket);
    stream = std::move(other.stream);
    return *this;
  }
  ~Leg() { Release(Socket::End::kFin); }

  explicit operator bool() const {
    return socket != nullptr && stream != nullptr;
  }

  // A plain leg over `fd`, which it owns.
  static Leg Plain(IoDriver* driver, int fd);

  // As Stream's: what comes from now on is relayed.
  void BeginRelaying(WorkerCounters* counters);

  // Ends the connection; the leg is empty afterwards. Harmless when empty.
  void Release(Socket::End end);
};

// Fills `out` whole. 0, -ENODATA when the peer ended first, or -errno; an
// interrupt of the socket ends it with the interrupt's error.
Task<int> ReadExactly(Leg* leg, std::span<uint8_t> out);

// Fills the first `at_least` bytes of `out`, and more where it is there
// already. The number of bytes, or as ReadExactly.
Task<int> ReadAtLeast(Leg* leg, std::span<uint8_t> out, size_t at_least);

// Writes `in` whole. 0 or -errno.
Task<int> WriteAll(Leg* leg, std::span<const uint8_t> in);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_LEG_H_
