// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/admin.h"

#include <utility>

#include "gateway/control/admin_router.h"

namespace spicegate {
namespace {

HttpServerOptions AdminOptions() {
  HttpServerOptions options;
  options.name = "admin address";
  options.max_connections = kMaxAdminConnections;
  options.handshake_ms = kAdminHandshakeMs;
  options.request_ms = kAdminRequestMs;
  options.answer_ms = kAdminAnswerMs;
  options.idle_ms = kAdminIdleMs;
  return options;
}

}  // namespace

AdminServer::AdminServer(AdminServices* services)
    : HttpServer(AdminOptions(), [services](const HttpRequest& request,
                                            const HttpPeer& peer,
                                            const HttpRespond& respond) {
        RouteAdminRequest(request, peer.transport, services, respond);
      }) {}

absl::Status AdminServer::Listen(const AdminConfig& config,
                                 HttpStreamMaker maker) {
  return config.unix_path.empty()
             ? ListenTcp(config.address, std::move(maker))
             : ListenUnix(config.unix_path, std::move(maker));
}

}  // namespace spicegate
