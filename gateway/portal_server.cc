// SPDX-License-Identifier: Apache-2.0
#include "gateway/portal_server.h"

#include <algorithm>
#include <utility>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/http_client/http_client.h"

namespace spicegate {
namespace {

// Links are opened in waves: at nine in the morning, or when a host comes back.
constexpr int kPortalBacklog = 1024;
constexpr int kPortalAcceptsPerTurn = 64;

// A millisecond or two each: QMP and the admin address wait meanwhile.
constexpr int kPortalHandshakesPerTurn = 8;

PortalOptions RouterOptions(const Config& config) {
  PortalOptions options;
  for (const CloudConfig& cloud : config.clouds) {
    options.clouds.push_back({cloud.name, cloud.paths, cloud.hosts});
  }
  options.trusted_proxies = config.portal.trusted_proxies;
  options.portal_failures = config.limits.portal_failures;
  return options;
}

HttpServerOptions HttpOptions(const Config& config) {
  const PortalConfig& portal = config.portal;
  HttpServerOptions options;
  options.name = "portal address";
  options.backlog = kPortalBacklog;
  options.max_connections =
      static_cast<size_t>(config.limits.portal_connections);
  options.max_per_source = options.max_connections / 8;
  options.accepts_per_turn = kPortalAcceptsPerTurn;
  options.handshakes_per_turn = kPortalHandshakesPerTurn;
  options.answer_ms = kPortalAnswerMs;
  options.idle_ms = kPortalIdleMs;
  options.error = portal.tls ? PortalHttpErrorTls : PortalHttpError;
  options.late = PortalLateAnswer(portal.tls);
  options.proxy_protocol = portal.proxy_protocol;
  options.is_proxy = [proxies =
                          portal.trusted_proxies](const std::string& host) {
    return proxies.Holds(host);
  };
  return options;
}

CloudAccess::Needs AccessNeeds(
    const Config& config, TicketVault* vault, CloudService* clouds,
    std::function<std::string(const IssuedTicket&)> make_file,
    std::function<bool()> ready) {
  CloudAccess::Needs needs;
  needs.ready = std::move(ready);
  needs.config = &config;
  needs.vault = vault;
  needs.is_token = [clouds](const std::string& cloud,
                            const std::string& token) {
    return clouds->IsToken(cloud, token);
  };
  needs.resolve = [clouds](const std::string& cloud, const std::string& token,
                           CloudService::Done done) {
    clouds->Resolve(cloud, token, std::move(done));
  };
  needs.make_file = std::move(make_file);
  return needs;
}

}  // namespace

PortalServer::PortalServer(
    const Config& config, TicketVault* vault,
    std::function<std::string(const IssuedTicket&)> make_file,
    std::function<bool()> ready)
    : config_(config),
      clouds_(config.clouds),
      access_(AccessNeeds(config, vault, &clouds_, std::move(make_file),
                          std::move(ready))),
      router_(RouterOptions(config), &access_),
      http_(HttpOptions(config),
            [this](const HttpRequest& request, const HttpPeer& peer,
                   const HttpRespond& respond) {
              router_.Route(request, peer, MonotonicMs(), respond);
            }) {}

int64_t PortalServer::MaxConnections(const Config& config) {
  // Of a cloud's two services.
  constexpr auto kPerCloud = static_cast<int64_t>(2 * kMaxHttpCallsPerOrigin);
  return config.portal.enabled
             ? config.limits.portal_connections +
                   kPerCloud * static_cast<int64_t>(config.clouds.size())
             : 0;
}

absl::Status PortalServer::Listen(HttpStreamMaker maker) {
  const PortalConfig& portal = config_.portal;
  if (absl::Status status = http_.ListenTcp(portal.address, std::move(maker));
      !status.ok()) {
    return status;
  }
  LogLine(LogLevel::kInfo, "portal_listening")
      .Str("address", http_.address())
      .Bool("tls", portal.tls)
      .Int("clouds", static_cast<int64_t>(config_.clouds.size()));
  return absl::OkStatus();
}

void PortalServer::AddPollFds(std::vector<pollfd>* fds) {
  const size_t before = fds->size();
  clouds_.AddPollFds(fds);
  num_cloud_fds_ = fds->size() - before;
  http_.AddPollFds(fds);
}

void PortalServer::HandlePollFds(std::span<const pollfd> fds, int64_t now_ms) {
  // A cloud's word may be an answer that the server has to give.
  clouds_.HandlePollFds(fds.first(num_cloud_fds_), now_ms);
  http_.HandlePollFds(fds.subspan(num_cloud_fds_), now_ms);
}

int64_t PortalServer::NextDeadlineMs() const {
  return std::min(clouds_.NextDeadlineMs(), http_.NextDeadlineMs());
}

void PortalServer::Close() {
  http_.Close();
  clouds_.Close();
}

}  // namespace spicegate
