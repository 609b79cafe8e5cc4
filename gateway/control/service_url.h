// SPDX-License-Identifier: Apache-2.0
//
// URLs of services that the gateway asks (Keystone, Nova, brokers), as an
// operator writes them.
#ifndef SPICEGATE_GATEWAY_CONTROL_SERVICE_URL_H_
#define SPICEGATE_GATEWAY_CONTROL_SERVICE_URL_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace spicegate {

inline constexpr size_t kMaxServiceUrlLen = 1024;

struct ServiceUrl {
  bool https = false;
  std::string host;   // lower-case name, or an address without brackets
  uint16_t port = 0;  // never 0 once parsed
  std::string path;   // empty, or begins with '/'
};

// Takes http: and https: in lower case, with a host name or an address (IPv6 in
// brackets), maybe a port, maybe a path in RFC 3986's letters. Not user and
// password, which would end up in places where they are read, and no query
// and fragment, behind which nothing could be appended. False for all else,
// with `out` undefined.
bool ParseServiceUrl(std::string_view text, ServiceUrl* out);

// Whether what is said to it stays on this machine: 127.0.0.0/8, ::1 or
// localhost.
bool IsLoopbackService(const ServiceUrl& url);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_SERVICE_URL_H_
