// SPDX-License-Identifier: Apache-2.0
//
// Where to listen and where to connect: TCP over IPv4 and IPv6, unix sockets.
#ifndef SPICEGATE_BENCH_LOAD_ADDRESS_H_
#define SPICEGATE_BENCH_LOAD_ADDRESS_H_

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>

namespace spicegate {

struct Address {
  sockaddr_storage storage = {};
  socklen_t len = 0;

  bool is_unix() const { return storage.ss_family == AF_UNIX; }
  // As ParseAddress() takes it.
  std::string ToString() const;
};

// "127.0.0.1:5900", "[::1]:5900" or "unix:PATH"; numbers only, no names.
std::optional<Address> ParseAddress(const std::string& text);

// A non-blocking listening socket, or -errno. A unix socket's old file is
// replaced.
int ListenOn(const Address& address);
// What a listener really has: port 0 becomes the kernel's choice.
Address LocalAddressOf(int fd);

// Begins a non-blocking connect, TCP_NODELAY set: the socket, or -errno. With
// `spread` above 0 a client on loopback gets one of 127.0.0.2 to 127.0.0.251 as
// its own address, so that closed connections do not use up the ports of one.
int ConnectTo(const Address& address, uint32_t spread);
// A blocking connect: the socket, or -errno.
int ConnectBlocking(const Address& address);

// Small messages must not wait for others.
void SetNoDelay(int fd);

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_ADDRESS_H_
