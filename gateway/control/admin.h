// SPDX-License-Identifier: Apache-2.0
//
// The admin address: an HttpServer whose requests go to AdminServices.
#ifndef SPICEGATE_GATEWAY_CONTROL_ADMIN_H_
#define SPICEGATE_GATEWAY_CONTROL_ADMIN_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "gateway/control/admin_services.h"
#include "gateway/control/config.h"
#include "gateway/http/http_server.h"
#include "gateway/http/http_stream.h"

namespace spicegate {

// A scraper, a portal and an operator keep one or two each.
inline constexpr size_t kMaxAdminConnections = 64;

// From accept to the end of the TLS handshake, client certificate included.
inline constexpr int64_t kAdminHandshakeMs = 5'000;

// From a request's first byte to its last, and from the first byte of an
// answer to its last.
inline constexpr int64_t kAdminRequestMs = 10'000;

// From a request's last byte to the first of its answer, which a service may
// have to ask others for; then it is 503. Above what any of those may take.
inline constexpr int64_t kAdminAnswerMs = 5'000;

// Kept open between requests. Above Prometheus' usual scrape interval of 60 s.
inline constexpr int64_t kAdminIdleMs = 75'000;

class AdminServer final : public HttpServer {
 public:
  // `services` outlives the server.
  explicit AdminServer(AdminServices* services);

  // HttpServer's ListenTcp or ListenUnix. Null `maker`: plain HTTP.
  absl::Status Listen(const AdminConfig& config,
                      HttpStreamMaker maker = nullptr);
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_ADMIN_H_
