// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/listen.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <string>

namespace spicegate {
namespace {

TEST(ListenTest, ParsesNumericAddressesOnly) {
  for (const char* text : {"127.0.0.1:5930", "[::1]:5931", "0.0.0.0:0"}) {
    const auto address = ParseSocketAddress(text);
    ASSERT_TRUE(address.ok()) << text;
    EXPECT_EQ(AddressText(*address), text);
  }
  for (const char* text :
       {"", "localhost:1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
        "127.0.0.1:-1", "::1:5930", "[127.0.0.1]:1", "1.2.3:4", "[::1]5930"}) {
    EXPECT_FALSE(ParseSocketAddress(text).ok()) << text;
  }
}

TEST(ListenTest, WritesMappedAddressesAsIPv4) {
  const auto address = ParseSocketAddress("[::ffff:10.1.2.3]:7");
  ASSERT_TRUE(address.ok());
  EXPECT_EQ(AddressText(*address), "10.1.2.3:7");
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
  const auto first = ListenTcp("127.0.0.1:0");
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string address = AddressText(LocalAddress(first->get()));
  const auto second = ListenTcp(address);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(AddressText(LocalAddress(second->get())), address);
}

TEST(ListenTest, AnAddressWithAListenerIsNotFree) {
  auto fd = ListenTcp("127.0.0.1:0");
  ASSERT_TRUE(fd.ok()) << fd.status();
  const std::string address = AddressText(LocalAddress(fd->get()));
  const absl::Status taken = CheckAddressIsFree(address);
  ASSERT_FALSE(taken.ok());
  EXPECT_NE(std::string(taken.message()).find(address), std::string::npos);
  fd->Reset();
  EXPECT_TRUE(CheckAddressIsFree(address).ok());
}

TEST(ListenTest, AStarIsEveryAddress) {
  const auto fd = ListenTcp("*:0");
  ASSERT_TRUE(fd.ok()) << fd.status();
  const SocketAddress address = LocalAddress(fd->get());
  EXPECT_TRUE(address.family() == AF_INET6 || address.family() == AF_INET);
}

TEST(ListenTest, AnAddressThatIsNotOursIsReported) {
  const auto fd = ListenTcp("192.0.2.1:0");
  ASSERT_FALSE(fd.ok());
  EXPECT_NE(std::string(fd.status().message()).find("192.0.2.1:0"),
            std::string::npos);
}

}  // namespace
}  // namespace spicegate
