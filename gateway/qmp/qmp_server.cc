// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/qmp_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>

namespace spicegate {
namespace {

// Where to dial a server that listens on `host`.
std::string DialHost(const std::string& host) {
  if (host.empty() || host == "*" || host == "0.0.0.0") {
    return "127.0.0.1";
  }
  return host == "::" ? "::1" : host;
}

bool IsThisHost(const std::string& host) {
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    return (ntohl(v4.s_addr) >> 24) == 127;
  }
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) {
    return IN6_IS_ADDR_LOOPBACK(&v6) != 0;
  }
  return strcasecmp(host.c_str(), "localhost") == 0;
}

// Addresses that are written differently are still the same.
bool SameAddress(const std::string& a, const std::string& b) {
  in6_addr left{};
  in6_addr right{};
  return inet_pton(AF_INET6, a.c_str(), &left) == 1 &&
         inet_pton(AF_INET6, b.c_str(), &right) == 1 &&
         IN6_ARE_ADDR_EQUAL(&left, &right);
}

bool SameHost(const std::string& a, const std::string& b) {
  return strcasecmp(a.c_str(), b.c_str()) == 0 || SameAddress(a, b) ||
         (IsThisHost(a) && IsThisHost(b));
}

}  // namespace

absl::StatusOr<QmpServer> ServerOf(const QmpSpice& spice) {
  if (!spice.enabled) {
    return absl::FailedPreconditionError("QEMU has no SPICE server");
  }
  if (spice.auth != "spice") {
    return absl::FailedPreconditionError(
        "the SPICE server asks for no password (auth is \"" + spice.auth +
        "\"; disable-ticketing?)");
  }
  if (spice.unix_path.empty() && spice.port == 0 && spice.tls_port == 0) {
    return absl::FailedPreconditionError("the SPICE server has no port");
  }
  QmpServer server;
  server.unix_path = spice.unix_path;
  if (server.unix_path.empty()) {
    server.host = DialHost(spice.host);
    server.port = spice.port;
    server.tls_port = spice.tls_port;
  }
  return server;
}

bool ListensAt(const QmpServer& server, const std::string& host,
               uint16_t port) {
  const bool has_port =
      port != 0 && (server.port == port || server.tls_port == port);
  return has_port && SameHost(server.host, host);
}

}  // namespace spicegate
