// SPDX-License-Identifier: Apache-2.0
//
// Addresses to listen at, and those of who comes: numbers only, because a name
// that resolves to something else tomorrow must not move a listener.
#ifndef SPICEGATE_GATEWAY_BASE_ADDRESS_H_
#define SPICEGATE_GATEWAY_BASE_ADDRESS_H_

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace spicegate {

struct BindAddress {
  std::string host;   // numeric, without brackets; empty: every address
  uint16_t port = 0;  // 0: the kernel chooses

  bool any() const { return host.empty(); }
  bool operator==(const BindAddress&) const = default;
};

// Parses "10.0.0.1:5930", "[::1]:5930" or "*:5930". False for all else; `out`
// is then untouched.
bool ParseBindAddress(std::string_view text, BindAddress* out);

// The same text again.
std::string FormatBindAddress(const BindAddress& address);

// 127.0.0.0/8 or ::1.
bool IsLoopback(const BindAddress& address);

// Whether `host` is an IPv4 or IPv6 address (no brackets, no zone).
bool IsNumericHost(std::string_view host);

// Fills in what bind(2) takes and returns its length. "*" becomes [::], which
// takes IPv4 too on a socket with IPV6_V6ONLY off.
socklen_t ToSockaddr(const BindAddress& address, sockaddr_storage* out);

// The address of a bound or connected socket; host is numeric (never empty).
// For other families than IPv4 and IPv6, empty and 0.
BindAddress FromSockaddr(const sockaddr_storage& address);

// A peer's address as text: "1.2.3.4:567", "[2001:db8::1]:567". An IPv4 address
// inside an IPv6 one is written as IPv4. Empty for other families.
std::string PeerAddressText(const sockaddr_storage& address);

// Of such a text: "1.2.3.4", "2001:db8::1". Empty for an empty one.
std::string_view HostPart(std::string_view peer_address);

// What counts as one source of connections or requests: an IPv4 address, or of
// an IPv6 one the network "2001:db8:0:1::/64", all of which may be one user's.
// `host` is numeric, without brackets; anything else is given back as it is.
std::string SourceNetwork(std::string_view host);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_ADDRESS_H_
