// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/destinations.h"

#include <gtest/gtest.h>

namespace spicegate {
namespace {

Destinations Of(const std::vector<std::string>& entries) {
  const absl::StatusOr<Destinations> parsed = Destinations::Parse(entries);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? *parsed : Destinations();
}

TEST(Destinations, NoListAllowsAny) {
  for (const Destinations& any : {Destinations(), Of({})}) {
    EXPECT_TRUE(any.any());
    EXPECT_TRUE(any.Allows("10.0.0.1"));
    EXPECT_TRUE(any.Allows("hv2.example.org"));
  }
  EXPECT_FALSE(Of({"10.0.0.1"}).any());
  EXPECT_FALSE(Of({"a"}).any());
}

TEST(Destinations, AddressesMatchThemselves) {
  const Destinations list = Of({"10.1.2.3", "FD00::1"});
  EXPECT_TRUE(list.Allows("10.1.2.3"));
  EXPECT_FALSE(list.Allows("10.1.2.4"));
  EXPECT_TRUE(list.Allows("fd00::1"));
  EXPECT_TRUE(list.Allows("fd00:0:0:0:0:0:0:1"));
  EXPECT_FALSE(list.Allows("fd00::2"));
  EXPECT_FALSE(list.Allows("fd00::1%eth0"));
  EXPECT_FALSE(list.Allows("[fd00::1]"));
}

TEST(Destinations, NetworksMatchToTheBit) {
  const Destinations list = Of({"10.1.0.0/16", "192.0.2.128/25", "fd00::/9"});
  EXPECT_TRUE(list.Allows("10.1.0.0"));
  EXPECT_TRUE(list.Allows("10.1.255.255"));
  EXPECT_FALSE(list.Allows("10.2.0.0"));
  EXPECT_FALSE(list.Allows("10.0.255.255"));
  EXPECT_TRUE(list.Allows("192.0.2.128"));
  EXPECT_TRUE(list.Allows("192.0.2.255"));
  EXPECT_FALSE(list.Allows("192.0.2.127"));
  EXPECT_TRUE(list.Allows("fd7f:ffff::1"));
  EXPECT_FALSE(list.Allows("fd80::1"));
}

TEST(Destinations, NetworksOfAnyLength) {
  EXPECT_TRUE(Of({"0.0.0.0/0"}).Allows("203.0.113.9"));
  EXPECT_FALSE(Of({"0.0.0.0/0"}).Allows("fd00::1"));
  EXPECT_TRUE(Of({"::/0"}).Allows("fd00::1"));
  EXPECT_FALSE(Of({"::/0"}).Allows("203.0.113.9"));
  EXPECT_TRUE(Of({"::ffff:0:0/96"}).Allows("203.0.113.9"));
  EXPECT_TRUE(Of({"10.0.0.1/32"}).Allows("10.0.0.1"));
  EXPECT_FALSE(Of({"10.0.0.1/32"}).Allows("10.0.0.0"));
  EXPECT_TRUE(Of({"fd00::1/128"}).Allows("fd00::1"));
  EXPECT_FALSE(Of({"fd00::1/128"}).Allows("fd00::"));
}

TEST(Destinations, Ipv4InsideIpv6IsIpv4) {
  EXPECT_TRUE(Of({"10.1.0.0/16"}).Allows("::ffff:10.1.2.3"));
  EXPECT_TRUE(Of({"10.1.0.0/16"}).Allows("::FFFF:a01:203"));
  EXPECT_FALSE(Of({"10.1.0.0/16"}).Allows("::ffff:10.2.2.3"));
  EXPECT_TRUE(Of({"::ffff:10.1.0.0/112"}).Allows("10.1.2.3"));
  EXPECT_FALSE(Of({"::ffff:10.1.0.0/112"}).Allows("10.2.2.3"));
  EXPECT_FALSE(Of({"10.1.0.0/16"}).Allows("::10.1.2.3"));
}

TEST(Destinations, NamesMatchWhateverTheCase) {
  const Destinations list = Of({"HV2.example.org", "hv_3"});
  EXPECT_TRUE(list.Allows("hv2.Example.ORG"));
  EXPECT_TRUE(list.Allows("hv2.example.org."));
  EXPECT_TRUE(list.Allows("hv_3"));
  EXPECT_FALSE(list.Allows("x.hv2.example.org"));
  EXPECT_FALSE(list.Allows("hv2.example.or"));
  EXPECT_FALSE(list.Allows("hv2.example.org.."));
  EXPECT_FALSE(list.Allows("example.org"));
  EXPECT_FALSE(list.Allows(""));
  EXPECT_FALSE(list.Allows("."));
}

TEST(Destinations, ADomainMatchesItselfAndAllBelow) {
  const Destinations list = Of({".example.org"});
  EXPECT_TRUE(list.Allows("example.org"));
  EXPECT_TRUE(list.Allows("hv2.example.org"));
  EXPECT_TRUE(list.Allows("a.b.EXAMPLE.org"));
  EXPECT_FALSE(list.Allows("badexample.org"));
  EXPECT_FALSE(list.Allows(".example.org"));
  EXPECT_FALSE(list.Allows("example.org.evil.test"));
  EXPECT_FALSE(list.Allows("org"));
}

TEST(Destinations, NamesAndNumbersDoNotMix) {
  EXPECT_FALSE(Of({"hv2.example.org"}).Allows("10.1.2.3"));
  EXPECT_FALSE(Of({"0.0.0.0/0", "::/0"}).Allows("hv2.example.org"));
}

// What getaddrinfo would make an address of, or cut short.
TEST(Destinations, NothingThatAResolverReadsOtherwise) {
  const Destinations list = Of({"127.0.0.0/8", ".example.org", "localhost"});
  for (const std::string& host :
       {std::string("127.1"), std::string("2130706433"),
        std::string("0x7f000001"), std::string("0x7f.1"),
        std::string("127.0.0.1 "), std::string("127.0.0.01"),
        std::string("evil.test\0.example.org", 22),
        std::string("127.0.0.1\0x", 11), std::string("evil test.example.org"),
        std::string("evil.test/.example.org"), std::string("a..example.org"),
        std::string(64, 'a') + ".example.org"}) {
    EXPECT_FALSE(list.Allows(host)) << host;
  }
}

TEST(Destinations, EntriesAreStrict) {
  for (const char* good :
       {"10.0.0.0/8", "0.0.0.0/0", "::/0", "::1", "a", ".a", "hv-1.b2.example",
        "xn--bcher-kva.example", "a.b3"}) {
    EXPECT_TRUE(Destinations::IsEntry(good)) << good;
  }
  for (const char* bad : {"",
                          ".",
                          "..",
                          "..a",
                          "a..b",
                          "a.",
                          "a b",
                          "*.example.org",
                          "a/8",
                          "10.0.0.0/33",
                          "10.0.0.0/",
                          "10.0.0.0/-1",
                          "10.0.0.0/08",
                          "10.0.0.0/+8",
                          "10.0.0.1/8",
                          "fd00::1/8",
                          "fd00::/129",
                          "10.0.0",
                          "10.1",
                          ".1",
                          "0x7f000001",
                          "256.0.0.1",
                          "[::1]",
                          "::1%lo",
                          "a:5900",
                          "10.0.0.0/8/8",
                          "\xc3\xa4.example"}) {
    EXPECT_FALSE(Destinations::IsEntry(bad)) << bad;
  }
}

TEST(Destinations, ErrorsNameTheEntry) {
  const absl::Status status = Destinations::Parse({"a", "10.0.0.1/8"}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()), std::string("entry 1: expected ") +
                                               Destinations::kExpected +
                                               ", got \"10.0.0.1/8\"");
}

}  // namespace
}  // namespace spicegate
