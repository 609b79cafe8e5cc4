// SPDX-License-Identifier: Apache-2.0
//
// Which request at the portal gets what.
//
//   GET, HEAD  PATH?token=T         the page for people, else as below
//              PATH?token=T&file=1  200 application/x-virt-viewer
//              PATH.vv?token=T      likewise
//              /                    200, or 503 while no session is welcome
//
// PATH is one of a cloud's. Whoever names text/html in Accept is a person.
// Errors are pages for people, {"error": TEXT, "code": CODE} for others; what
// each means is in portal_pages.h. HEAD asks the cloud as GET does, but makes
// no ticket, and so does the page.
#ifndef SPICEGATE_GATEWAY_PORTAL_PORTAL_ROUTER_H_
#define SPICEGATE_GATEWAY_PORTAL_PORTAL_ROUTER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/console/host_patterns.h"
#include "gateway/http/http.h"
#include "gateway/http/http_handler.h"
#include "gateway/portal/portal_pages.h"
#include "gateway/portal/portal_request.h"
#include "gateway/portal/portal_services.h"
#include "gateway/portal/portal_user.h"
#include "gateway/portal/source_limits.h"

namespace spicegate {

struct PortalOptions {
  std::vector<PortalCloud> clouds;
  HostPatterns trusted_proxies;
  int64_t portal_failures = 10;  // of a source, before it has to wait
};

struct PortalStats {
  // Answers given, by what they were ("file", "page", "error"; "other" is the
  // front page and what is no link of a cloud) and by status.
  std::map<std::pair<std::string, int>, uint64_t> answers;
  // Of these, those that nobody was asked for because of the source.
  uint64_t throttled = 0;
};

// Headers that each answer of the portal has: nothing of it is to be kept,
// indexed, framed or told to other sites. Cache-Control and
// X-Content-Type-Options are not among them: EncodeHttpResponse writes these.
void AddPortalHeaders(bool https, HttpResponse* response);

// For HttpServerOptions: what the parser refuses, and what comes too late.
// JSON, as nobody knows who asks; `Tls` where the portal itself has TLS.
HttpResponse PortalHttpError(int status, std::string_view text);
HttpResponse PortalHttpErrorTls(int status, std::string_view text);
HttpResponse PortalLateAnswer(bool https);

// Control thread only.
class PortalRouter {
 public:
  // `services` outlives the router. The router outlives the lookups that
  // `services` has under way, or they are never answered.
  PortalRouter(PortalOptions options, PortalServices* services);
  PortalRouter(const PortalRouter&) = delete;
  PortalRouter& operator=(const PortalRouter&) = delete;

  // Answers `request` by `respond`, once, inside the call or when the cloud has
  // answered. `now_ms` is monotonic.
  void Route(const HttpRequest& request, const HttpPeer& peer, int64_t now_ms,
             const HttpRespond& respond);

  const PortalStats& stats() const { return stats_; }

 private:
  // One request on its way.
  struct Visit {
    PortalUser user;
    bool page = false;  // for a person
    int64_t now_ms = 0;
    std::string token;
    HttpRespond respond;
  };

  void RouteLink(const HttpRequest& request, const PortalCloud& cloud,
                 Visit visit);
  void Ask(const PortalRequest& asked, bool file, const Visit& visit);
  void Finish(const Visit& visit, bool file,
              const absl::StatusOr<PortalDesktop>& desktop);
  void Front(const Visit& visit);
  // Refuses a visit that nobody is asked for.
  void Throttle(const Visit& visit);

  void Fail(const Visit& visit, PortalError error, std::string_view detail,
            int64_t retry_after_s);
  // An error that says nothing of a link.
  void Refuse(const Visit& visit, PortalError error);
  void Answer(const Visit& visit, const char* kind, HttpResponse response);

  const PortalOptions options_;
  PortalServices* const services_;
  VisitorLimits limits_;
  PortalStats stats_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_PORTAL_PORTAL_ROUTER_H_
