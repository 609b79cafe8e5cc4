// SPDX-License-Identifier: Apache-2.0
//
// Which request does what. Pure but for the calls to AdminServices.
//
//   POST /v1/consoles/NAME/ticket  201 {"ticket":...,"console":...,"expires_s"}
//   GET  /v1/consoles/NAME.vv      200 a connection file with a new ticket
//   GET  /v1/consoles              200 {"consoles":[{"name":...,"title":...}]}
//   GET  /metrics                  200 Prometheus' text format
//   GET  /livez, /readyz           200 or 503
//
// Errors are {"error": TEXT}. HEAD works where GET has no effect.
#ifndef SPICEGATE_GATEWAY_CONTROL_ADMIN_ROUTER_H_
#define SPICEGATE_GATEWAY_CONTROL_ADMIN_ROUTER_H_

#include "gateway/control/admin_services.h"
#include "gateway/control/http.h"

namespace spicegate {

// How the request came. Browsers reach loopback addresses, with any page's
// script behind them, but no unix socket.
enum class AdminTransport : uint8_t { kLoopback, kUnix };

// Answers one request. On loopback, a request that a web page could have
// caused is refused with 403: one with an Origin, one with a Sec-Fetch-Site
// other than "none" and "same-origin", and one whose Host is a name other than
// localhost (a page of a name that resolves to us: DNS rebinding).
HttpResponse RouteAdminRequest(const HttpRequest& request,
                               AdminTransport transport,
                               AdminServices* services);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_ADMIN_ROUTER_H_
