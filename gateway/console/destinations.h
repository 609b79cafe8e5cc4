// SPDX-License-Identifier: Apache-2.0
//
// Where a migration may take a desktop. The server names its destination, and
// a guest may own its server: without a list it could have the gateway dial
// whatever the gateway can reach.
//
// Hosts are compared as they are written, before any name is resolved: a name
// is allowed by names only, an address by addresses and networks only.
#ifndef SPICEGATE_GATEWAY_CONSOLE_DESTINATIONS_H_
#define SPICEGATE_GATEWAY_CONSOLE_DESTINATIONS_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace spicegate {

// Longest entry: a DNS name (RFC 1035) with its leading dot.
inline constexpr size_t kMaxDestinationLen = 254;

// Immutable once made; any thread may ask.
class Destinations {
 public:
  // What an entry is, for error messages: "expected " and this.
  static constexpr char kExpected[] =
      "an address, a network such as 10.1.0.0/16 with no bit set behind the "
      "prefix, a host name, or .example.org for a domain with all below it";

  // Allows every host.
  Destinations() = default;

  // One of
  //   10.1.2.3, fd00::1        that address
  //   10.1.0.0/16, fd00::/8    the addresses of that network
  //   hv2.example.org          that name
  //   .example.org             that name and every name below it
  // IPv4 inside IPv6 (::ffff:10.1.2.3) is IPv4, in entries and in hosts.
  static bool IsEntry(std::string_view text);

  // InvalidArgument with "entry N: expected ..., got ..." (N from 0).
  static absl::StatusOr<Destinations> Parse(
      const std::vector<std::string>& entries);

  // `host` as a server wrote it: any bytes. Nothing but what IsEntry would
  // take as an address or a name is ever allowed by a list: a host that a
  // resolver reads otherwise (127.1, a zero byte inside) is not.
  bool Allows(std::string_view host) const;

  // There is no list.
  bool any() const { return networks_.empty() && names_.empty(); }

 private:
  using Bytes = std::array<uint8_t, 16>;

  // IPv4 is kept as IPv6 does, behind ::ffff:0:0/96.
  struct Network {
    Bytes address{};
    int prefix_len = 128;

    bool Holds(const Bytes& host) const;
  };

  static bool ParseAddress(std::string_view text, Bytes* out);
  static bool ParseNetwork(std::string_view text, Network* out);
  static bool ParseName(std::string_view text, std::string* out);

  bool AllowsName(std::string_view name) const;

  std::vector<Network> networks_;
  std::vector<std::string> names_;  // lower case; "." in front: with all below
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONSOLE_DESTINATIONS_H_
