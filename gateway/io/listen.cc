// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/listen.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "gateway/base/clock.h"
#include "gateway/base/limits.h"

namespace spicegate {
namespace {

constexpr int64_t kBindRetryMs = 2'000;
constexpr useconds_t kBindPauseUs = 20'000;

// 0 or an errno.
int Bind(int fd, const SocketAddress& address) {
  const int64_t give_up_ms = MonotonicMs() + kBindRetryMs;
  while (bind(fd, address.get(), address.len) != 0) {
    if (errno != EADDRINUSE || MonotonicMs() > give_up_ms) {
      return errno;
    }
    usleep(kBindPauseUs);
  }
  return 0;
}

absl::StatusOr<UniqueFd> BoundSocket(const SocketAddress& address,
                                     bool reuse_port) {
  UniqueFd fd(
      socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return absl::UnavailableError(std::strerror(errno));
  }
  const int on = 1;
  const int off = 0;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (reuse_port) {
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
  }
  if (address.family() == AF_INET6) {
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  if (const int error = Bind(fd.get(), address); error != 0) {
    return absl::UnavailableError("cannot listen on " + AddressText(address) +
                                  ": " + std::strerror(error));
  }
  return fd;
}

absl::StatusOr<SocketAddress> ListenAddress(const std::string& host,
                                            uint16_t port) {
  SocketAddress address;
  if (host.empty()) {
    const UniqueFd probe(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    NumericAddress(probe.valid() ? "::" : "0.0.0.0", port, &address);
  } else if (!NumericAddress(host, port, &address)) {
    return absl::InvalidArgumentError("\"" + host +
                                      "\" is not a numeric address");
  }
  return address;
}

}  // namespace

bool NumericAddress(const std::string& host, uint16_t port,
                    SocketAddress* out) {
  *out = SocketAddress{};
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out->storage);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out->len = sizeof(sockaddr_in);
    return true;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out->storage);
  if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out->len = sizeof(sockaddr_in6);
    return true;
  }
  return false;
}

absl::StatusOr<SocketAddress> UnixAddress(const std::string& path) {
  SocketAddress address;
  auto* un = reinterpret_cast<sockaddr_un*>(&address.storage);
  if (path.empty() || path.size() >= sizeof(un->sun_path)) {
    return absl::InvalidArgumentError("\"" + path +
                                      "\" is too long for a unix socket");
  }
  un->sun_family = AF_UNIX;
  std::memcpy(un->sun_path, path.c_str(), path.size() + 1);
  address.len =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

std::string AddressText(const SocketAddress& address) {
  char host[INET6_ADDRSTRLEN] = "";
  if (address.family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
    inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
    return std::string(host) + ":" + std::to_string(ntohs(v4->sin_port));
  }
  if (address.family() == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    const uint16_t port = ntohs(v6->sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
      inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], host, sizeof(host));
      return std::string(host) + ":" + std::to_string(port);
    }
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
    return "[" + std::string(host) + "]:" + std::to_string(port);
  }
  if (address.family() == AF_UNIX) {
    const auto* un = reinterpret_cast<const sockaddr_un*>(&address.storage);
    return std::string("unix:") + un->sun_path;
  }
  return "";
}

SocketAddress LocalAddress(int fd) {
  SocketAddress address;
  address.len = sizeof(address.storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage),
                  &address.len) != 0) {
    return SocketAddress{};
  }
  return address;
}

std::string PeerText(int fd) {
  SocketAddress address;
  address.len = sizeof(address.storage);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address.storage),
                  &address.len) != 0) {
    return "";
  }
  return AddressText(address);
}

absl::StatusOr<UniqueFd> ListenTcp(const std::string& host, uint16_t port) {
  const absl::StatusOr<SocketAddress> address = ListenAddress(host, port);
  if (!address.ok()) {
    return address.status();
  }
  absl::StatusOr<UniqueFd> fd = BoundSocket(*address, /*reuse_port=*/true);
  if (fd.ok() && listen(fd->get(), kListenBacklog) != 0) {
    return absl::UnavailableError("cannot listen on " + AddressText(*address) +
                                  ": " + std::strerror(errno));
  }
  return fd;
}

absl::Status CheckAddressIsFree(const std::string& host, uint16_t port) {
  const absl::StatusOr<SocketAddress> address = ListenAddress(host, port);
  if (!address.ok()) {
    return address.status();
  }
  return BoundSocket(*address, /*reuse_port=*/false).status();
}

void TuneSocket(int fd) {
  // On a unix socket each of these fails, which is as good.
  const int on = 1;
  const int idle = kKeepaliveIdleSeconds;
  const int interval = kKeepaliveIntervalSeconds;
  const unsigned timeout_ms = kTcpUserTimeoutMs;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
             sizeof(timeout_ms));
}

void TuneConnectingSocket(int fd) {
  const int off = 0;
  TuneSocket(fd);
  setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off));
}

}  // namespace spicegate
