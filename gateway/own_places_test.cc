// SPDX-License-Identifier: Apache-2.0
#include "gateway/own_places.h"

#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <cstring>
#include <string>
#include <vector>

namespace spicegate {
namespace {

constexpr uint16_t kPort = 3128;

bool Has(const OwnPlaces& places, const std::string& host, uint16_t port) {
  SocketAddress address;
  EXPECT_TRUE(NumericAddress(host, port, &address)) << host;
  return places.Has(address);
}

TEST(OwnPlacesTest, WhateverLeadsBackHere) {
  const OwnPlaces places({kPort, 5930});
  for (const char* host : {"127.0.0.1", "127.3.2.1", "0.0.0.0", "0.1.2.3",
                           "::1", "::", "::ffff:127.0.0.1", "::ffff:0.0.0.0"}) {
    EXPECT_TRUE(Has(places, host, kPort)) << host;
    EXPECT_TRUE(Has(places, host, 5930)) << host;
    EXPECT_FALSE(Has(places, host, 5900)) << host;
  }
}

TEST(OwnPlacesTest, OthersAreOthers) {
  const OwnPlaces places({kPort});
  for (const char* host :
       {"192.0.2.1", "126.255.255.255", "128.0.0.1", "1.0.0.0", "2001:db8::1",
        "::2", "::1:0:0:1", "::ffff:192.0.2.1"}) {
    EXPECT_FALSE(Has(places, host, kPort)) << host;
  }
}

TEST(OwnPlacesTest, TheMachinesOwnAddresses) {
  const OwnPlaces places({kPort});
  ifaddrs* list = nullptr;
  ASSERT_EQ(getifaddrs(&list), 0);
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    const sockaddr* from = entry->ifa_addr;
    if (from == nullptr || from->sa_family != AF_INET) {
      continue;
    }
    SocketAddress address;
    address.len = sizeof(sockaddr_in);
    std::memcpy(&address.storage, from, sizeof(sockaddr_in));
    auto* in = reinterpret_cast<sockaddr_in*>(&address.storage);
    in->sin_port = htons(kPort);
    EXPECT_TRUE(places.Has(address)) << AddressText(address);
    in->sin_port = htons(kPort + 1);
    EXPECT_FALSE(places.Has(address)) << AddressText(address);
  }
  freeifaddrs(list);
}

TEST(OwnPlacesTest, AUnixSocketIsNoPlace) {
  EXPECT_FALSE(OwnPlaces({kPort}).Has(*UnixAddress("/run/x")));
}

TEST(OwnPlacesTest, AreEqualWhenNothingHasChanged) {
  EXPECT_EQ(OwnPlaces({kPort}), OwnPlaces({kPort}));
  EXPECT_FALSE(OwnPlaces({kPort}) == OwnPlaces({5930}));
  EXPECT_FALSE(Has(OwnPlaces({}), "127.0.0.1", kPort));
}

}  // namespace
}  // namespace spicegate
