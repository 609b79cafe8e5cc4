// SPDX-License-Identifier: Apache-2.0
//
// The addresses of this machine and the ports of this gateway: where CONNECT
// must never lead, whatever a list allows. A connection of the gateway's to
// itself would be the client's on the trusted side of its own door.
#ifndef SPICEGATE_GATEWAY_OWN_PLACES_H_
#define SPICEGATE_GATEWAY_OWN_PLACES_H_

#include <array>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "gateway/io/listen.h"

namespace spicegate {

// Immutable; shared by the workers.
class OwnPlaces {
 public:
  // The machine's addresses as they are now (getifaddrs). Control thread.
  explicit OwnPlaces(std::vector<uint16_t> ports);

  // An address of this machine, or one that leads back to it (loopback,
  // unspecified).
  bool IsHere(const SocketAddress& address) const;

  // One of the ports at such an address.
  bool Has(const SocketAddress& address) const;

  friend bool operator==(const OwnPlaces&, const OwnPlaces&) = default;

 private:
  using Address = std::array<uint8_t, 16>;  // IPv4 as ::ffff:a.b.c.d

  std::vector<uint16_t> ports_;
  std::set<Address> addresses_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_OWN_PLACES_H_
