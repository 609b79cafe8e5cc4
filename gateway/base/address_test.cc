// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/address.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

namespace spicegate {
namespace {

BindAddress Parse(std::string_view text) {
  BindAddress address;
  EXPECT_TRUE(ParseBindAddress(text, &address)) << text;
  return address;
}

TEST(BindAddress, ParsesAndFormatsTheSameText) {
  for (const char* text : {"127.0.0.1:5930", "[::1]:5930", "*:5931",
                           "0.0.0.0:0", "[fe80::1]:65535", "[::]:1"}) {
    EXPECT_EQ(FormatBindAddress(Parse(text)), text);
  }
  EXPECT_EQ(Parse("[::1]:7"), (BindAddress{"::1", 7}));
  EXPECT_TRUE(Parse("*:7").any());
}

TEST(BindAddress, RefusesAllElse) {
  for (const char* text : {"",
                           ":",
                           "5930",
                           ":5930",
                           "localhost:5930",
                           "::1:5930",
                           "[::1]",
                           "[::1]:",
                           "127.0.0.1",
                           "127.0.0.1:",
                           "127.0.0.1:65536",
                           "127.0.0.1:-1",
                           "127.0.0.1:+1",
                           "127.0.0.1: 1",
                           "127.0.0.1:1 ",
                           "127.0.0.1:0x1",
                           "127.1:1",
                           "[127.0.0.1]:1",
                           "[]:1",
                           "[*]:1",
                           "[fe80::1%eth0]:1",
                           "256.0.0.1:1",
                           "**:1"}) {
    BindAddress address{"untouched", 1};
    EXPECT_FALSE(ParseBindAddress(text, &address)) << text;
    EXPECT_EQ(address.host, "untouched");
  }
  BindAddress address;
  EXPECT_FALSE(
      ParseBindAddress(std::string_view("127.0.0.1\0x:1", 13), &address));
}

TEST(BindAddress, KnowsLoopback) {
  EXPECT_TRUE(IsLoopback(Parse("127.0.0.1:1")));
  EXPECT_TRUE(IsLoopback(Parse("127.255.0.9:1")));
  EXPECT_TRUE(IsLoopback(Parse("[::1]:1")));
  for (const char* text : {"*:1", "0.0.0.0:1", "[::]:1", "128.0.0.1:1",
                           "[::2]:1", "[::ffff:10.0.0.1]:1"}) {
    EXPECT_FALSE(IsLoopback(Parse(text))) << text;
  }
}

TEST(BindAddress, KnowsNumbersFromNames) {
  EXPECT_TRUE(IsNumericHost("10.0.0.1"));
  EXPECT_TRUE(IsNumericHost("::1"));
  EXPECT_FALSE(IsNumericHost("localhost"));
  EXPECT_FALSE(IsNumericHost("[::1]"));
  EXPECT_FALSE(IsNumericHost(""));
  EXPECT_FALSE(IsNumericHost(std::string_view("10.0.0.1\0x", 10)));
}

TEST(BindAddress, SurvivesTheKernelsForm) {
  sockaddr_storage storage;
  for (const char* text : {"127.0.0.1:5930", "[::1]:5930", "[::]:9"}) {
    const BindAddress address = Parse(text);
    EXPECT_GT(ToSockaddr(address, &storage), 0U);
    EXPECT_EQ(FromSockaddr(storage), address);
  }
  EXPECT_EQ(ToSockaddr(Parse("*:9"), &storage), sizeof(sockaddr_in6));
  EXPECT_EQ(FormatBindAddress(FromSockaddr(storage)), "[::]:9");
  EXPECT_EQ(ToSockaddr(Parse("1.2.3.4:9"), &storage), sizeof(sockaddr_in));
  storage.ss_family = AF_UNIX;
  EXPECT_EQ(FromSockaddr(storage), BindAddress());
}

TEST(PeerAddressText, WritesAnIpv4AddressInsideAnIpv6OneAsIpv4) {
  const auto text = [](const std::string& host) {
    sockaddr_storage storage;
    ToSockaddr({host, 567}, &storage);
    return PeerAddressText(storage);
  };
  EXPECT_EQ(text("1.2.3.4"), "1.2.3.4:567");
  EXPECT_EQ(text("2001:db8::1"), "[2001:db8::1]:567");
  EXPECT_EQ(text("::ffff:1.2.3.4"), "1.2.3.4:567");
  sockaddr_storage unix_socket{};
  unix_socket.ss_family = AF_UNIX;
  EXPECT_EQ(PeerAddressText(unix_socket), "");
}

TEST(HostPart, IsWithoutBracketsAndPort) {
  EXPECT_EQ(HostPart("1.2.3.4:567"), "1.2.3.4");
  EXPECT_EQ(HostPart("[2001:db8::1]:567"), "2001:db8::1");
  EXPECT_EQ(HostPart(""), "");
}

TEST(SourceNetwork, IsAnIpv4AddressOrANetworkOfIpv6) {
  EXPECT_EQ(SourceNetwork("1.2.3.4"), "1.2.3.4");
  EXPECT_EQ(SourceNetwork("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  EXPECT_EQ(SourceNetwork("2001:db8:1:2::ffff"), "2001:db8:1:2::/64");
  EXPECT_EQ(SourceNetwork("::1"), "::/64");
  EXPECT_EQ(SourceNetwork(""), "");
  EXPECT_EQ(SourceNetwork("a name"), "a name");
}

}  // namespace
}  // namespace spicegate
