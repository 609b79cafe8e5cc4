// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/listen.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <string>

#include "gateway/base/limits.h"

namespace spicegate {
namespace {

uint16_t PortOf(const UniqueFd& fd) {
  const SocketAddress address = LocalAddress(fd.get());
  return ntohs(
      reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_port);
}

TEST(ListenTest, WritesAddressesAsTheyAreConfigured) {
  SocketAddress address;
  ASSERT_TRUE(NumericAddress("127.0.0.1", 5930, &address));
  EXPECT_EQ(AddressText(address), "127.0.0.1:5930");
  ASSERT_TRUE(NumericAddress("::1", 5931, &address));
  EXPECT_EQ(AddressText(address), "[::1]:5931");
  ASSERT_TRUE(NumericAddress("::ffff:10.1.2.3", 7, &address));
  EXPECT_EQ(AddressText(address), "10.1.2.3:7");
  for (const char* name : {"", "localhost", "1.2.3", "[::1]", "*"}) {
    EXPECT_FALSE(NumericAddress(name, 1, &address)) << name;
  }
}

TEST(ListenTest, AUnixPathMustFit) {
  const auto address = UnixAddress("/run/vm.sock");
  ASSERT_TRUE(address.ok());
  EXPECT_EQ(AddressText(*address), "unix:/run/vm.sock");
  EXPECT_FALSE(UnixAddress("").ok());
  EXPECT_FALSE(UnixAddress(std::string(108, 'x')).ok());
  EXPECT_TRUE(UnixAddress(std::string(107, 'x')).ok());
}

TEST(ListenTest, SeveralSocketsShareAPort) {
  const auto first = ListenTcp("127.0.0.1", 0);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = ListenTcp("127.0.0.1", PortOf(*first));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(PortOf(*second), PortOf(*first));
}

int OptionOf(int fd, int level, int name) {
  int value = 0;
  socklen_t len = sizeof(value);
  EXPECT_EQ(getsockopt(fd, level, name, &value, &len), 0);
  return value;
}

// What spares six calls for each connection (docs/decisions/0005).
TEST(ListenTest, WhatIsAcceptedHasTheListenersOptions) {
  const auto listener = ListenTcp("127.0.0.1", 0);
  ASSERT_TRUE(listener.ok()) << listener.status();
  TuneSocket(listener->get());
  const SocketAddress address = LocalAddress(listener->get());
  const UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(client.get(), address.get(), address.len), 0);
  const UniqueFd accepted(accept(listener->get(), nullptr, nullptr));
  ASSERT_TRUE(accepted.valid());
  EXPECT_NE(OptionOf(accepted.get(), IPPROTO_TCP, TCP_NODELAY), 0);
  EXPECT_NE(OptionOf(accepted.get(), SOL_SOCKET, SO_KEEPALIVE), 0);
  EXPECT_EQ(OptionOf(accepted.get(), IPPROTO_TCP, TCP_KEEPIDLE),
            kKeepaliveIdleSeconds);
  EXPECT_EQ(OptionOf(accepted.get(), IPPROTO_TCP, TCP_KEEPINTVL),
            kKeepaliveIntervalSeconds);
  EXPECT_EQ(OptionOf(accepted.get(), IPPROTO_TCP, TCP_USER_TIMEOUT),
            static_cast<int>(kTcpUserTimeoutMs));
}

TEST(ListenTest, AnAddressWithAListenerIsNotFree) {
  auto fd = ListenTcp("127.0.0.1", 0);
  ASSERT_TRUE(fd.ok()) << fd.status();
  const uint16_t port = PortOf(*fd);
  const absl::Status taken = CheckAddressIsFree("127.0.0.1", port);
  ASSERT_FALSE(taken.ok());
  EXPECT_NE(std::string(taken.message()).find(std::to_string(port)),
            std::string::npos);
  fd->Reset();
  EXPECT_TRUE(CheckAddressIsFree("127.0.0.1", port).ok());
}

TEST(ListenTest, NoHostIsEveryAddress) {
  const auto fd = ListenTcp("", 0);
  ASSERT_TRUE(fd.ok()) << fd.status();
  const SocketAddress address = LocalAddress(fd->get());
  EXPECT_TRUE(address.family() == AF_INET6 || address.family() == AF_INET);
}

TEST(ListenTest, AnAddressThatIsNotOursIsReported) {
  const auto fd = ListenTcp("192.0.2.1", 0);
  ASSERT_FALSE(fd.ok());
  EXPECT_NE(std::string(fd.status().message()).find("192.0.2.1:0"),
            std::string::npos);
}

}  // namespace
}  // namespace spicegate
