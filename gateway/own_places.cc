// SPDX-License-Identifier: Apache-2.0
#include "gateway/own_places.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "gateway/server_link/own_sockets.h"

namespace spicegate {
namespace {

SocketAddress AddressOf(const sockaddr* address) {
  SocketAddress found;
  found.len = address->sa_family == AF_INET ? sizeof(sockaddr_in)
                                            : sizeof(sockaddr_in6);
  std::memcpy(&found.storage, address, found.len);
  return found;
}

// 127.0.0.0/8, ::1, 0.0.0.0 and ::, which all lead back here.
bool LeadsBack(const std::array<uint8_t, 16>& address) {
  static constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0,    0,
                                                      0, 0, 0, 0, 0xff, 0xff};
  if (std::equal(kMapped.begin(), kMapped.end(), address.begin())) {
    return address[12] == 127 || address[12] == 0;
  }
  return std::all_of(address.begin(), address.end() - 1,
                     [](uint8_t byte) { return byte == 0; }) &&
         address[15] <= 1;
}

}  // namespace

OwnPlaces::OwnPlaces(std::vector<uint16_t> ports) : ports_(std::move(ports)) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) {
    return;
  }
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    const sockaddr* address = entry->ifa_addr;
    if (address == nullptr ||
        (address->sa_family != AF_INET && address->sa_family != AF_INET6)) {
      continue;
    }
    const auto place = OwnSockets::PlaceOf(AddressOf(address));
    Address bytes;
    std::copy_n(place->begin(), bytes.size(), bytes.begin());
    addresses_.insert(bytes);
  }
  freeifaddrs(list);
}

bool OwnPlaces::IsHere(const SocketAddress& address) const {
  const auto place = OwnSockets::PlaceOf(address);
  if (!place.has_value()) {
    return false;
  }
  Address bytes;
  std::copy_n(place->begin(), bytes.size(), bytes.begin());
  return LeadsBack(bytes) || addresses_.contains(bytes);
}

bool OwnPlaces::Has(const SocketAddress& address) const {
  if (!IsHere(address)) {
    return false;
  }
  const auto place = OwnSockets::PlaceOf(address);
  const auto port = static_cast<uint16_t>((*place)[16] << 8 | (*place)[17]);
  return std::find(ports_.begin(), ports_.end(), port) != ports_.end();
}

}  // namespace spicegate
