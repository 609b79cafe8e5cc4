// SPDX-License-Identifier: Apache-2.0
//
// Lists of hosts as an operator writes them: addresses, networks, names and
// domains. Shared by everything that says where the gateway may go or who may
// come.
#ifndef SPICEGATE_GATEWAY_CONSOLE_HOST_PATTERNS_H_
#define SPICEGATE_GATEWAY_CONSOLE_HOST_PATTERNS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace spicegate {

// Longest entry: a DNS name (RFC 1035) with its leading dot.
inline constexpr size_t kMaxHostPatternLen = 254;

// An IPv6 address, or an IPv4 address as IPv6 has it, behind ::ffff:0:0/96. In
// network order.
using AddressBytes = std::array<uint8_t, 16>;

// Takes an address in its full form only: four decimal numbers without leading
// zeros, or IPv6 (RFC 4291) without brackets and zone. False for all else,
// with `out` undefined.
bool ParseHostAddress(std::string_view text, AddressBytes* out);

// Takes a name of letters, digits, '-', '_' and dots between labels, whose
// last label does not begin with a digit: what a resolver would read as an
// address is no name. Gives it in lower case, without a dot at the end.
bool ParseHostName(std::string_view text, std::string* out);

struct HostNetwork {
  AddressBytes address{};
  int prefix_len = 128;

  // IPv4 is in no network of IPv6: ::/0 does not hold 10.0.0.1.
  bool Holds(const AddressBytes& host) const;

  // All of `other` is in this one.
  bool HoldsNetwork(const HostNetwork& other) const {
    return prefix_len <= other.prefix_len && Holds(other.address);
  }
};

// "10.1.0.0/16", "fd00::/8", or an address for itself. False when a bit is set
// behind the prefix.
bool ParseHostNetwork(std::string_view text, HostNetwork* out);

// Immutable once made; any thread may ask.
class HostPatterns {
 public:
  // What an entry is, for error messages: "expected " and this.
  static constexpr char kExpected[] =
      "an address, a network such as 10.1.0.0/16 with no bit set behind the "
      "prefix, a host name, or .example.org for a domain with all below it";
  // What an entry is where no names are taken.
  static constexpr char kNetworkExpected[] =
      "an address, or a network such as 10.1.0.0/16 with no bit set behind the "
      "prefix";

  // Holds nothing.
  HostPatterns() = default;

  // One of
  //   10.1.2.3, fd00::1        that address
  //   10.1.0.0/16, fd00::/8    the addresses of that network
  //   hv2.example.org          that name
  //   .example.org             that name and every name below it
  // IPv4 inside IPv6 (::ffff:10.1.2.3) is IPv4, in entries and in hosts.
  static bool IsEntry(std::string_view text);
  // One of the first two.
  static bool IsNetworkEntry(std::string_view text);

  // InvalidArgument with "entry N: expected ..., got ..." (N from 0).
  static absl::StatusOr<HostPatterns> Parse(
      const std::vector<std::string>& entries);

  // `host` as somebody else wrote it: any bytes. An address is held by
  // addresses and networks only, a name by names only, before any name is
  // resolved. A host that a resolver reads otherwise than it is written
  // (127.1, a zero byte inside) is never held.
  bool Holds(std::string_view host) const;

  bool HoldsAddress(const AddressBytes& address) const;
  // `name` as ParseHostName gives it.
  bool HoldsName(std::string_view name) const;

  bool empty() const { return networks_.empty() && names_.empty(); }
  const std::vector<HostNetwork>& networks() const { return networks_; }

 private:
  std::vector<HostNetwork> networks_;
  std::vector<std::string> names_;  // lower case; "." in front: with all below
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONSOLE_HOST_PATTERNS_H_
