// SPDX-License-Identifier: Apache-2.0
//
// What the entries of a list mean is tested with the lists made of them
// (destinations_test.cc); here is what those share.
#include "gateway/console/host_patterns.h"

#include <gtest/gtest.h>

namespace spicegate {
namespace {

HostNetwork Network(std::string_view text) {
  HostNetwork network;
  EXPECT_TRUE(ParseHostNetwork(text, &network)) << text;
  return network;
}

TEST(HostPatterns, NoneHoldsNothing) {
  const HostPatterns none;
  EXPECT_TRUE(none.empty());
  EXPECT_FALSE(none.Holds("10.0.0.1"));
  EXPECT_FALSE(none.Holds("hv1.example.org"));
  EXPECT_FALSE(none.Holds(""));
}

TEST(HostPatterns, NamesAndNetworksInOneList) {
  const auto list = HostPatterns::Parse({"10.0.0.0/8", ".Example.org"});
  ASSERT_TRUE(list.ok());
  EXPECT_FALSE(list->empty());
  EXPECT_EQ(list->networks().size(), 1U);
  EXPECT_TRUE(list->Holds("10.9.9.9"));
  EXPECT_TRUE(list->Holds("HV1.example.ORG."));
  EXPECT_TRUE(list->HoldsName("example.org"));
  AddressBytes address;
  ASSERT_TRUE(ParseHostAddress("::ffff:10.1.2.3", &address));
  EXPECT_TRUE(list->HoldsAddress(address));
  ASSERT_TRUE(ParseHostAddress("fd00::1", &address));
  EXPECT_FALSE(list->HoldsAddress(address));
}

TEST(HostPatterns, AddressesAreMapped) {
  AddressBytes four;
  AddressBytes six;
  ASSERT_TRUE(ParseHostAddress("192.0.2.1", &four));
  ASSERT_TRUE(ParseHostAddress("::ffff:c000:201", &six));
  EXPECT_EQ(four, six);
  EXPECT_EQ(four[10], 0xff);
  EXPECT_EQ(four[15], 1);
}

TEST(HostPatterns, NamesComeOutPlain) {
  std::string name;
  ASSERT_TRUE(ParseHostName("HV_1.Example.ORG.", &name));
  EXPECT_EQ(name, "hv_1.example.org");
  for (const char* bad : {"", ".", "..", "a..", ".a", "a b", "127.1", "1",
                          "0x7f.1", "[::1]", "a:1", "a/8"}) {
    EXPECT_FALSE(ParseHostName(bad, &name)) << bad;
  }
}

TEST(HostPatterns, NetworksHoldNarrowerOnes) {
  const HostNetwork loopback = Network("127.0.0.0/8");
  EXPECT_TRUE(loopback.HoldsNetwork(loopback));
  EXPECT_TRUE(loopback.HoldsNetwork(Network("127.0.0.1")));
  EXPECT_TRUE(loopback.HoldsNetwork(Network("127.9.0.0/16")));
  EXPECT_FALSE(loopback.HoldsNetwork(Network("126.0.0.0/7")));
  EXPECT_FALSE(loopback.HoldsNetwork(Network("0.0.0.0/0")));
  EXPECT_FALSE(loopback.HoldsNetwork(Network("::/0")));
  EXPECT_FALSE(loopback.HoldsNetwork(Network("128.0.0.0/9")));
  EXPECT_TRUE(Network("::/0").HoldsNetwork(Network("fd00::/8")));
}

TEST(HostPatterns, NetworkEntriesHaveNoNames) {
  for (const char* good : {"10.0.0.1", "10.0.0.0/8", "fd00::/8", "::1"}) {
    EXPECT_TRUE(HostPatterns::IsNetworkEntry(good)) << good;
    EXPECT_TRUE(HostPatterns::IsEntry(good)) << good;
  }
  for (const char* bad : {"hv1", ".example.org", "10.0.0.1/8", "", "*"}) {
    EXPECT_FALSE(HostPatterns::IsNetworkEntry(bad)) << bad;
  }
  EXPECT_TRUE(HostPatterns::IsEntry("hv1"));
}

}  // namespace
}  // namespace spicegate
