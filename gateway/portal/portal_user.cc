// SPDX-License-Identifier: Apache-2.0
#include "gateway/portal/portal_user.h"

#include <arpa/inet.h>

#include <algorithm>
#include <string_view>

#include "gateway/base/ascii.h"
#include "gateway/base/http_text.h"

namespace spicegate {
namespace {

constexpr AddressBytes kLoopbackIpv6 = {0, 0, 0, 0, 0, 0, 0, 0,
                                        0, 0, 0, 0, 0, 0, 0, 1};
constexpr size_t kIpv4At = 12;  // in AddressBytes
constexpr uint8_t kIpv4LoopbackNet = 127;

bool IsIpv4(const AddressBytes& address) {
  return std::all_of(address.begin(), address.begin() + 10,
                     [](uint8_t byte) { return byte == 0; }) &&
         address[10] == 0xff && address[11] == 0xff;
}

bool IsLoopbackAddress(const AddressBytes& address) {
  return IsIpv4(address) ? address[kIpv4At] == kIpv4LoopbackNet
                         : address == kLoopbackIpv6;
}

std::string FormatAddress(const AddressBytes& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (IsIpv4(address)) {
    inet_ntop(AF_INET, address.data() + kIpv4At, text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, address.data(), text, sizeof(text));
  }
  return text;
}

// "1.2.3.4", "1.2.3.4:5", "::1", "[::1]" or "[::1]:5", without its port.
std::string_view WithoutPort(std::string_view text) {
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    const bool ends = end != std::string_view::npos &&
                      (end + 1 == text.size() || text[end + 1] == ':');
    return ends ? text.substr(1, end - 1) : std::string_view();
  }
  const size_t colon = text.find(':');
  return colon == text.rfind(':') ? text.substr(0, colon) : text;
}

bool ParseElement(std::string_view text, AddressBytes* out) {
  std::string_view host = WithoutPort(HttpTrimmed(text));
  // A link-local address has its interface behind it.
  host = host.substr(0, host.find('%'));
  return ParseHostAddress(host, out);
}

// All headers `name` as one list.
std::string ListOf(const HttpRequest& request, std::string_view name) {
  std::string list;
  for (const HttpHeader& header : request.headers) {
    if (header.name == name) {
      list += list.empty() ? header.value : "," + header.value;
    }
  }
  return list;
}

// `nearest` is a trusted balancer.
AddressBytes WalkForwarded(const HttpRequest& request,
                           const HostPatterns& trusted_proxies,
                           AddressBytes nearest) {
  const std::string list = ListOf(request, "x-forwarded-for");
  std::string_view rest = list;
  while (!rest.empty()) {
    const size_t comma = rest.rfind(',');
    const size_t from = comma == std::string_view::npos ? 0 : comma + 1;
    AddressBytes address;
    if (!ParseElement(rest.substr(from), &address)) {
      break;
    }
    nearest = address;
    if (!trusted_proxies.HoldsAddress(address)) {
      break;
    }
    rest = rest.substr(0, from == 0 ? 0 : comma);
  }
  return nearest;
}

enum class Proto : uint8_t { kUnsaid, kHttps, kOther };

Proto ForwardedProto(const HttpRequest& request) {
  const std::string list = ListOf(request, "x-forwarded-proto");
  const std::string_view last =
      HttpTrimmed(std::string_view(list).substr(list.rfind(',') + 1));
  if (last.empty()) {
    return Proto::kUnsaid;
  }
  return AsciiLowered(std::string(last)) == "https" ? Proto::kHttps
                                                    : Proto::kOther;
}

}  // namespace

PortalUser FindPortalUser(const HttpRequest& request, const HttpPeer& peer,
                          const HostPatterns& trusted_proxies) {
  PortalUser user;
  AddressBytes nearest{};
  // No address is a unix socket, which the portal has none of.
  const bool known = ParseElement(peer.socket_address, &nearest);
  if (!ParseElement(peer.address, &user.address)) {
    user.address = nearest;
  }
  const bool trusted = known && trusted_proxies.HoldsAddress(nearest);
  if (trusted && trusted_proxies.HoldsAddress(user.address)) {
    user.address = WalkForwarded(request, trusted_proxies, user.address);
  }
  user.source = FormatAddress(user.address);
  const Proto proto = trusted ? ForwardedProto(request) : Proto::kUnsaid;
  user.https = proto == Proto::kHttps || (proto == Proto::kUnsaid && peer.tls);
  const bool local =
      known && trusted_proxies.empty() && IsLoopbackAddress(nearest);
  user.welcome = (peer.tls || trusted || local) && proto != Proto::kOther;
  return user;
}

}  // namespace spicegate
