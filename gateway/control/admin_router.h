// SPDX-License-Identifier: Apache-2.0
//
// Which request does what. Pure but for the calls to AdminServices.
//
//   POST /v1/consoles/NAME/ticket  201 {"ticket":...,"console":...,
//                                       "policy":..., if asked; "expires_s":..}
//   GET  /v1/consoles/NAME.vv      200 a connection file with a new ticket
//   POST /v1/consoles/NAME/disconnect  200 {"console":...,"sessions":...};
//                                      a cloud's desktop, too: CLOUD.ID
//   GET  /v1/consoles              200 {"consoles":[{"name":...,"title":...}]}
//   GET  /metrics                  200 Prometheus' text format
//   GET  /livez, /readyz           200 or 503
//
// Tickets and files: ?policy=NAME and continues=NAME, files also via=connect
// or via=tunnel, in any order, each once; nothing else. Errors are
// {"error": TEXT}. HEAD works where GET has no effect.
#ifndef SPICEGATE_GATEWAY_CONTROL_ADMIN_ROUTER_H_
#define SPICEGATE_GATEWAY_CONTROL_ADMIN_ROUTER_H_

#include "gateway/control/admin_services.h"
#include "gateway/http/http_handler.h"

namespace spicegate {

// Answers one request, by `respond`: inside the call where no service has to be
// waited for, else when the service is done, and once for each time that it
// says so. `services` lives until then.
//
// A request that a web page could have caused is refused
// with 403, on every address: one with an Origin and one with a Sec-Fetch-Site
// other than "none" and "same-origin". On loopback so is one whose Host is a
// name other than localhost (a page of a name that resolves to us: DNS
// rebinding). Elsewhere Host is any name of ours, and rebinding fails at TLS:
// our certificate does not have the page's name. On kNetwork the client has
// shown a certificate.
void RouteAdminRequest(const HttpRequest& request, HttpTransport transport,
                       AdminServices* services, const HttpRespond& respond);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_ADMIN_ROUTER_H_
