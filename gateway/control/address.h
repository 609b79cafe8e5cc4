// SPDX-License-Identifier: Apache-2.0
//
// Addresses to listen at: numbers only, because a name that resolves to
// something else tomorrow must not move a listener.
#ifndef SPICEGATE_GATEWAY_CONTROL_ADDRESS_H_
#define SPICEGATE_GATEWAY_CONTROL_ADDRESS_H_

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

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_ADDRESS_H_
