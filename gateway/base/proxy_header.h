// SPDX-License-Identifier: Apache-2.0
//
// The PROXY protocol, versions 1 and 2, as a balancer speaks it in front of a
// connection to say whose connection it is. Source: "The PROXY protocol,
// versions 1 & 2" of HAProxy's documentation. It is expected where a listener's
// configuration says so and never guessed: whoever may send it chooses the
// address that logs and allow-lists see.
//
// Pure: bytes in, address out; nothing is allocated but its text. The header
// has no checksum unless its sender adds one; where there is one (CRC32C) it
// has to be right.
#ifndef SPICEGATE_GATEWAY_BASE_PROXY_HEADER_H_
#define SPICEGATE_GATEWAY_BASE_PROXY_HEADER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "gateway/base/counters.h"

namespace spicegate {

// Of a version 1 line, its CR LF included: the specification's bound.
inline constexpr size_t kMaxProxyLineBytes = 107;

// Of a version 2 header, all of it. Addresses and the extensions of common
// senders have about 500 bytes; a client certificate among them has 2 KiB.
inline constexpr size_t kMaxProxyHeaderBytes = 4096;

struct ProxyHeader {
  // Never kRefused: then there is no header. kLocal: it names no address of
  // TCP, and the connection's own one counts.
  ProxyHeaderOutcome outcome = ProxyHeaderOutcome::kLocal;
  // Whose connection it is, written as the peers of legs are: "1.2.3.4:567",
  // "[2001:db8::1]:567". An IPv4 address inside an IPv6 one is written as IPv4.
  // Empty for kLocal.
  std::string source;
  // The LOCAL command of version 2: the balancer's own connection, mostly to
  // see whether somebody answers.
  bool local = false;

  bool operator==(const ProxyHeader&) const = default;
};

// How many bytes a header that begins with `begun` still has at the very least:
// so many can be read without taking any that follow the header. 0: `begun` is
// a whole header. Nothing: no header begins like this, or it would be too long.
std::optional<size_t> ProxyHeaderLack(std::span<const uint8_t> begun);

// Parses a whole header (ProxyHeaderLack is 0). Nothing when it is malformed.
std::optional<ProxyHeader> ParseProxyHeader(std::span<const uint8_t> whole);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_PROXY_HEADER_H_
