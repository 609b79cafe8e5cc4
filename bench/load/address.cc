// SPDX-License-Identifier: Apache-2.0
#include "bench/load/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <string_view>

namespace spicegate {
namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr int kBacklog = 4096;
constexpr uint32_t kNumSpreadAddresses = 50'000;

const sockaddr* AsSockaddr(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address.storage);
}

std::optional<Address> UnixAddress(std::string_view path) {
  sockaddr_un un = {};
  un.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(un.sun_path)) {
    return std::nullopt;
  }
  std::memcpy(un.sun_path, path.data(), path.size());
  Address address;
  std::memcpy(&address.storage, &un, sizeof(un));
  address.len =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

std::optional<uint16_t> ParsePort(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return port;
}

std::optional<Address> InetAddress(const std::string& host, uint16_t port) {
  Address address;
  sockaddr_in in4 = {};
  sockaddr_in6 in6 = {};
  if (inet_pton(AF_INET, host.c_str(), &in4.sin_addr) == 1) {
    in4.sin_family = AF_INET;
    in4.sin_port = htons(port);
    std::memcpy(&address.storage, &in4, sizeof(in4));
    address.len = sizeof(in4);
  } else if (inet_pton(AF_INET6, host.c_str(), &in6.sin6_addr) == 1) {
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(port);
    std::memcpy(&address.storage, &in6, sizeof(in6));
    address.len = sizeof(in6);
  } else {
    return std::nullopt;
  }
  return address;
}

void SetOption(int fd, int level, int name) {
  const int on = 1;
  setsockopt(fd, level, name, &on, sizeof(on));
}

int CloseWithError(int fd) {
  const int error = errno;
  close(fd);
  return -error;
}

// Binds to an address of its own; the port is chosen at connect.
void BindSpread(int fd, uint32_t spread) {
  sockaddr_in own = {};
  own.sin_family = AF_INET;
  own.sin_addr.s_addr =
      htonl(INADDR_LOOPBACK + 1 + spread % kNumSpreadAddresses);
  SetOption(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
  // Without it the kernel's choice of address is as good.
  (void)bind(fd, reinterpret_cast<const sockaddr*>(&own), sizeof(own));
}

bool IsLoopback(const Address& address) {
  sockaddr_in in4;
  std::memcpy(&in4, &address.storage, sizeof(in4));
  return in4.sin_family == AF_INET && ntohl(in4.sin_addr.s_addr) >> 24 == 127;
}

}  // namespace

std::string Address::ToString() const {
  if (is_unix()) {
    sockaddr_un un;
    std::memcpy(&un, &storage, sizeof(un));
    return std::string(kUnixPrefix) + un.sun_path;
  }
  char host[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    sockaddr_in in4;
    std::memcpy(&in4, &storage, sizeof(in4));
    inet_ntop(AF_INET, &in4.sin_addr, host, sizeof(host));
    return std::string(host) + ":" + std::to_string(ntohs(in4.sin_port));
  }
  sockaddr_in6 in6;
  std::memcpy(&in6, &storage, sizeof(in6));
  inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
  return "[" + std::string(host) + "]:" + std::to_string(ntohs(in6.sin6_port));
}

std::optional<Address> ParseAddress(const std::string& text) {
  const std::string_view view = text;
  if (view.substr(0, kUnixPrefix.size()) == kUnixPrefix) {
    return UnixAddress(view.substr(kUnixPrefix.size()));
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) {
    return std::nullopt;
  }
  std::string host = text.substr(0, colon);
  const std::optional<uint16_t> port = ParsePort(view.substr(colon + 1));
  const bool bracketed =
      host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) {
    host = host.substr(1, host.size() - 2);
  }
  if (!port.has_value() || bracketed != (host.find(':') != host.npos)) {
    return std::nullopt;
  }
  return InetAddress(host, *port);
}

int ListenOn(const Address& address) {
  const int fd = socket(address.storage.ss_family,
                        SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return -errno;
  }
  if (address.is_unix()) {
    unlink(address.ToString().c_str() + kUnixPrefix.size());
  } else {
    SetOption(fd, SOL_SOCKET, SO_REUSEADDR);
  }
  if (bind(fd, AsSockaddr(address), address.len) != 0 ||
      listen(fd, kBacklog) != 0) {
    return CloseWithError(fd);
  }
  return fd;
}

Address LocalAddressOf(int fd) {
  Address address;
  address.len = sizeof(address.storage);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.len);
  return address;
}

int ConnectTo(const Address& address, uint32_t spread) {
  const int fd = socket(address.storage.ss_family,
                        SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return -errno;
  }
  if (!address.is_unix()) {
    SetNoDelay(fd);
    if (spread > 0 && IsLoopback(address)) {
      BindSpread(fd, spread);
    }
  }
  if (connect(fd, AsSockaddr(address), address.len) != 0 &&
      errno != EINPROGRESS) {
    return CloseWithError(fd);
  }
  return fd;
}

int ConnectBlocking(const Address& address) {
  const int fd =
      socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return -errno;
  }
  if (connect(fd, AsSockaddr(address), address.len) != 0) {
    return CloseWithError(fd);
  }
  SetNoDelay(fd);
  return fd;
}

void SetNoDelay(int fd) { SetOption(fd, IPPROTO_TCP, TCP_NODELAY); }

}  // namespace spicegate
