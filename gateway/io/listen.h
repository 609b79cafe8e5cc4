// SPDX-License-Identifier: Apache-2.0
//
// Listening sockets and addresses as text. Control path: called at start, on
// any thread.
#ifndef SPICEGATE_GATEWAY_IO_LISTEN_H_
#define SPICEGATE_GATEWAY_IO_LISTEN_H_

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/base/unique_fd.h"

namespace spicegate {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t len = 0;

  const sockaddr* get() const {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
  int family() const { return storage.ss_family; }
};

// A numeric IPv4 or IPv6 address without a port; false when it is a name.
bool NumericAddress(const std::string& host, uint16_t port, SocketAddress* out);

// A unix socket's address; fails when the path is too long for one.
absl::StatusOr<SocketAddress> UnixAddress(const std::string& path);

// "127.0.0.1:5930", "[::1]:5930" or "unix:/PATH".
std::string AddressText(const SocketAddress& address);

// The address a socket is bound to, or its peer's; empty text when unknown.
SocketAddress LocalAddress(int fd);
std::string PeerText(int fd);

// Listens with SO_REUSEPORT, so that each worker has a socket of its own. The
// host is numeric; an empty one is every address, IPv6 and IPv4 alike where
// there is IPv6. Port 0 lets the kernel choose. Retries a busy address for two
// seconds: rings of an ended process let go late.
absl::StatusOr<UniqueFd> ListenTcp(const std::string& host, uint16_t port);

// Fails when somebody listens there already, which SO_REUSEPORT would hide: two
// gateways on one port would each refuse the other's tickets. The same patience
// as ListenTcp.
absl::Status CheckAddressIsFree(const std::string& host, uint16_t port);

// Options of a relayed TCP socket (no delay, keepalive, user timeout). No
// effect on a unix socket.
void TuneSocket(int fd);

// The same for a socket that is about to connect and will speak first: the
// handshake is acknowledged together with its first bytes, a segment less.
void TuneConnectingSocket(int fd);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_LISTEN_H_
