// SPDX-License-Identifier: Apache-2.0
//
// The portal with everything behind it: the HTTP server where users open the
// links of their clouds, the clouds that are asked, and the tickets that come
// of it. Part of the control thread's poll(2) loop.
#ifndef SPICEGATE_GATEWAY_PORTAL_SERVER_H_
#define SPICEGATE_GATEWAY_PORTAL_SERVER_H_

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "gateway/auth/vault.h"
#include "gateway/cloud/cloud_service.h"
#include "gateway/cloud_access.h"
#include "gateway/control/admin_services.h"
#include "gateway/control/config.h"
#include "gateway/http/http_server.h"
#include "gateway/http/http_stream.h"
#include "gateway/portal/portal_router.h"

namespace spicegate {

// From a request's last byte to the first of its answer; above what a cloud may
// take.
inline constexpr int64_t kPortalAnswerMs = 10'000;

// Between requests: a person reads the page, and then asks for the file again.
inline constexpr int64_t kPortalIdleMs = 30'000;

class PortalServer {
 public:
  // `config` and `vault` outlive the object. `make_file` writes the connection
  // file for a ticket; `ready` says whether new sessions are welcome.
  PortalServer(const Config& config, TicketVault* vault,
               std::function<std::string(const IssuedTicket&)> make_file,
               std::function<bool()> ready);
  PortalServer(const PortalServer&) = delete;
  PortalServer& operator=(const PortalServer&) = delete;

  // Does nothing at all without "portal" in the configuration; the other
  // functions may be called all the same.
  bool enabled() const { return config_.portal.enabled; }

  // Connections that users and clouds may have with it at once.
  static int64_t MaxConnections(const Config& config);

  // The CA files of the clouds' servers. InvalidArgument names the file.
  absl::Status Load() { return access_.Load(); }

  // Listens; `maker` gives connections their TLS, null for plain HTTP.
  absl::Status Listen(HttpStreamMaker maker);

  // As HttpServer's.
  const std::string& address() const { return http_.address(); }
  void AddPollFds(std::vector<pollfd>* fds);
  void HandlePollFds(std::span<const pollfd> fds, int64_t now_ms);
  int64_t NextDeadlineMs() const;

  // Once a second.
  void Refresh() { access_.Refresh(); }

  // Whether a console of that name is one of a cloud's.
  bool Owns(std::string_view console) const { return access_.Owns(console); }

  std::vector<CloudStats> cloud_stats() const { return clouds_.stats(); }
  const PortalStats& stats() const { return router_.stats(); }
  size_t num_connections() const { return http_.num_connections(); }

  void Close();

 private:
  const Config& config_;
  CloudService clouds_;
  CloudAccess access_;
  PortalRouter router_;
  HttpServer http_;
  size_t num_cloud_fds_ = 0;  // of the last AddPollFds
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_PORTAL_SERVER_H_
