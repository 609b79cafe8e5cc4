// SPDX-License-Identifier: Apache-2.0
//
// Who is at the other end of a request, and whether the way there is encrypted,
// where balancers may stand in between. Pure.
#ifndef SPICEGATE_GATEWAY_PORTAL_PORTAL_USER_H_
#define SPICEGATE_GATEWAY_PORTAL_PORTAL_USER_H_

#include <string>

#include "gateway/console/host_patterns.h"
#include "gateway/http/http.h"
#include "gateway/http/http_handler.h"

namespace spicegate {

struct PortalUser {
  AddressBytes address{};
  std::string source;  // the same as text: "192.0.2.7", "2001:db8::7"
  // Came by TLS, to us or to a balancer that says so.
  bool https = false;
  // May have an answer: by TLS, from a trusted balancer that does not say that
  // the user came without, or from this machine where no balancer is trusted.
  bool welcome = false;
};

// Reads X-Forwarded-For and X-Forwarded-Proto (no RFC: every balancer appends
// what it saw to what it was sent) as far as `trusted_proxies` wrote them. From
// the right, the first address that is none of theirs is the user; what stands
// to its left is the user's own invention. An element that is no address ends
// the walk: the balancer that passed it on counts as the user then. A port
// behind an address is left out, IPv6 may have brackets. Several headers of one
// name are one list.
//
// A connection from elsewhere is taken for what it is, whatever it says.
PortalUser FindPortalUser(const HttpRequest& request, const HttpPeer& peer,
                          const HostPatterns& trusted_proxies);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_PORTAL_PORTAL_USER_H_
