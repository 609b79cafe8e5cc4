// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>
#include <cstring>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr size_t kMappedPrefixBytes = 12;  // ::ffff:0:0/96
constexpr size_t kNetworkBytes = 8;        // a /64

bool ParseIpv4(const std::string& host, in_addr* out) {
  return inet_pton(AF_INET, host.c_str(), out) == 1;
}

bool ParseIpv6(const std::string& host, in6_addr* out) {
  return inet_pton(AF_INET6, host.c_str(), out) == 1;
}

bool ParsePort(std::string_view text, uint16_t* out) {
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, *out);
  return error == std::errc() && stopped == end;
}

// Strips the brackets of an IPv6 address; false when they are missing or
// stand around something else.
bool ParseHost(std::string_view text, std::string* out) {
  if (text == "*") {
    out->clear();
    return true;
  }
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    *out = text.substr(1, text.size() - 2);
    in6_addr ignored;
    return ParseIpv6(*out, &ignored);
  }
  *out = text;
  in_addr ignored;
  return ParseIpv4(*out, &ignored);
}

}  // namespace

bool ParseBindAddress(std::string_view text, BindAddress* out) {
  const size_t colon = text.rfind(':');
  BindAddress parsed;
  if (colon == std::string_view::npos ||
      text.find('\0') != std::string_view::npos ||
      !ParseHost(text.substr(0, colon), &parsed.host) ||
      !ParsePort(text.substr(colon + 1), &parsed.port)) {
    return false;
  }
  *out = std::move(parsed);
  return true;
}

std::string FormatBindAddress(const BindAddress& address) {
  const bool is_ipv6 = address.host.find(':') != std::string::npos;
  std::string host = address.any() ? "*" : address.host;
  if (is_ipv6) {
    host = "[" + host + "]";
  }
  return host + ":" + std::to_string(address.port);
}

bool IsLoopback(const BindAddress& address) {
  in_addr v4;
  in6_addr v6;
  if (ParseIpv4(address.host, &v4)) {
    return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
  }
  return ParseIpv6(address.host, &v6) && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool IsNumericHost(std::string_view host) {
  const std::string text(host);
  in_addr v4;
  in6_addr v6;
  return text.size() == std::strlen(text.c_str()) &&
         (ParseIpv4(text, &v4) || ParseIpv6(text, &v6));
}

socklen_t ToSockaddr(const BindAddress& address, sockaddr_storage* out) {
  *out = {};
  auto* v4 = reinterpret_cast<sockaddr_in*>(out);
  if (ParseIpv4(address.host, &v4->sin_addr)) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    return sizeof(*v4);
  }
  *out = {};
  auto* v6 = reinterpret_cast<sockaddr_in6*>(out);
  CHECK(address.any() || ParseIpv6(address.host, &v6->sin6_addr));
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(address.port);
  return sizeof(*v6);
}

BindAddress FromSockaddr(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    return {text, ntohs(v4.sin_port)};
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
    return {text, ntohs(v6.sin6_port)};
  }
  return {};
}

std::string PeerAddressText(const sockaddr_storage& address) {
  BindAddress peer = FromSockaddr(address);
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  if (address.ss_family == AF_INET6 &&
      IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) != 0) {
    char text[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[kMappedPrefixBytes], text,
              sizeof(text));
    peer.host = text;
  }
  return peer.any() ? "" : FormatBindAddress(peer);
}

std::string_view HostPart(std::string_view peer_address) {
  std::string_view host = peer_address.substr(0, peer_address.rfind(':'));
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  }
  return host;
}

std::string SourceNetwork(std::string_view host) {
  const std::string text(host);
  in6_addr address;
  if (!ParseIpv6(text, &address) || IN6_IS_ADDR_V4MAPPED(&address) != 0) {
    return text;
  }
  std::memset(&address.s6_addr[kNetworkBytes], 0,
              sizeof(address) - kNetworkBytes);
  char network[INET6_ADDRSTRLEN] = "";
  inet_ntop(AF_INET6, &address, network, sizeof(network));
  return std::string(network) + "/64";
}

}  // namespace spicegate
