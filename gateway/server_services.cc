// SPDX-License-Identifier: Apache-2.0
//
// What the admin address asks of the gateway: tickets, files for viewers, an
// end to a console's sessions, figures. What it takes to answer is server.cc's.
#include <utility>
#include <vector>

#include "gateway/base/clock.h"
#include "gateway/base/limits.h"
#include "gateway/base/log.h"
#include "gateway/control/metrics.h"
#include "gateway/server.h"
#include "gateway/version.h"

namespace spicegate {
namespace {

QmpValues ValuesOf(const QmpStats& stats) {
  QmpValues values;
  values.commands_ok = static_cast<int64_t>(stats.commands.ok);
  values.commands_error = static_cast<int64_t>(stats.commands.error);
  values.commands_timeout = static_cast<int64_t>(stats.commands.timeout);
  values.commands_gone = static_cast<int64_t>(stats.commands.gone);
  values.commands_rejected = static_cast<int64_t>(stats.commands.rejected);
  values.foreign_channels = static_cast<int64_t>(stats.foreign_channels);
  values.consoles = stats.consoles;
  values.breakers_open = stats.breakers_open;
  return values;
}

}  // namespace

std::shared_ptr<const ConsoleTable> Server::Consoles() { return consoles_; }

bool Server::HasPolicy(const std::string& name) {
  return config_.policies.contains(name);
}

absl::Status Server::CheckRequest(const TicketRequest& request) const {
  const Console* console = consoles_->Find(request.console);
  if (console == nullptr) {
    return absl::NotFoundError("no such console");
  }
  if (!request.policy.empty() && !config_.policies.contains(request.policy)) {
    return absl::NotFoundError("no such policy");
  }
  if (!request.continues.empty()) {
    const Console* other = consoles_->Find(request.continues);
    if (other == nullptr) {
      return absl::NotFoundError("no such console to continue");
    }
    if (console->qmp_path.empty() || other->qmp_path.empty()) {
      return absl::FailedPreconditionError(
          "only consoles of kind qmp continue each other");
    }
  }
  if (!request.via.empty() &&
      (config_.FirstConnectListener() == nullptr || !config_.connect.tickets)) {
    return absl::FailedPreconditionError(
        "no listener takes tickets with CONNECT");
  }
  if (request.via != "tunnel") {
    return absl::OkStatus();
  }
  if (!config_.connect.tunnels) {
    return absl::FailedPreconditionError("connect.tunnels is false");
  }
  if (!request.policy.empty() || !console->policy_name.empty()) {
    return absl::FailedPreconditionError("a policy cannot be kept in a tunnel");
  }
  return absl::OkStatus();
}

void Server::IssueTicket(const TicketRequest& request, TicketDone done) {
  if (absl::Status status = CheckRequest(request); !status.ok()) {
    return done(std::move(status));
  }
  console_access_.Prepare(
      *consoles_->Find(request.console), request.continues,
      [this, request, done = std::move(done)](absl::StatusOr<Console> console) {
        done(console.ok() ? IssueFor(request, *std::move(console))
                          : console.status());
      });
}

absl::StatusOr<IssuedTicket> Server::IssueFor(const TicketRequest& request,
                                              Console console) {
  if (request.via == "tunnel" &&
      (console.tls_port == 0 || console.ca_pem.empty())) {
    return absl::FailedPreconditionError("the console has no TLS port");
  }
  absl::StatusOr<std::string> ticket =
      vault_.Issue(request.console, request.policy, MonotonicMs());
  if (!ticket.ok()) {
    return ticket.status();
  }
  return IssuedTicket{*std::move(ticket), config_.tickets.first_use_s,
                      std::move(console)};
}

std::string Server::VvFile(const TicketRequest& request,
                           const IssuedTicket& ticket) {
  return request.via.empty() ? DirectFile(ticket)
                             : ConnectFile(ticket, request.via);
}

std::string Server::ConnectFile(const IssuedTicket& ticket,
                                const std::string& via) {
  return BuildConnectVv(
      ResolveConnectEndpoint(config_.public_address, bound_, machine_name_),
      ticket, via);
}

std::string Server::DirectFile(const IssuedTicket& ticket) {
  PublicEndpoint endpoint =
      ResolvePublicEndpoint(config_.public_address, bound_, machine_name_);
  if (endpoint.port == 0 && endpoint.tls_port == 0) {
    return ConnectFile(ticket, "connect");
  }
  endpoint.ca_pem = certificates_.ca_for_viewers();
  endpoint.host_subject = config_.public_address.host_subject;
  return BuildVv(endpoint, ticket.console, ticket.ticket);
}

bool Server::CanDisconnect(const std::string& console) {
  return consoles_->Find(console) != nullptr || portal_.Owns(console);
}

void Server::Disconnect(const std::string& console, DisconnectDone done) {
  if (const Console* found = consoles_->Find(console)) {
    return console_access_.Disconnect(*found, std::move(done));
  }
  if (!portal_.Owns(console)) {
    return done(absl::NotFoundError("no such console"));
  }
  // Sessions know it by its name alone.
  Console of_cloud;
  of_cloud.name = console;
  console_access_.Disconnect(of_cloud, std::move(done));
}

std::string Server::MetricsText() {
  const IoFeatures& features = probe_.features;
  ProcessValues values;
  values.version = kVersion;
  values.tickets_issued = static_cast<int64_t>(vault_.issued_total());
  values.tickets_live = static_cast<int64_t>(vault_.size());
  values.log_lines_dropped = DroppedLogLines();
  values.consoles = static_cast<int64_t>(consoles_->size());
  values.console_reloads = console_reloads_;
  values.console_reload_failures = console_reload_failures_;
  values.certificates = certificates_.values();
  values.io_features = {{"single_issuer", features.single_issuer},
                        {"defer_taskrun", features.defer_taskrun},
                        {"multishot_accept", features.multishot_accept},
                        {"recvsend_bundle", features.recvsend_bundle},
                        {"kernel_tls", features.kernel_tls}};
  values.qmp = ValuesOf(console_access_.qmp()->stats());
  values.clouds = portal_.cloud_stats();
  values.portal.enabled = portal_.enabled();
  values.portal.answers = portal_.stats().answers;
  values.portal.throttled = portal_.stats().throttled;
  values.portal.connections = static_cast<int64_t>(portal_.num_connections());
  values.process = ReadProcessStats();
  return spicegate::MetricsText(counters(), values);
}

// A worker that broke an invariant has taken the process with it; one that
// hangs shows here.
bool Server::Live() {
  const int64_t now_ms = MonotonicMs();
  for (const auto& worker : workers_) {
    if (now_ms - worker->counters().last_turn_ms.value() > kWorkerStalledMs) {
      return false;
    }
  }
  return true;
}

// The admin address is served from the last step of Start to the first of the
// stop.
absl::Status Server::Ready() { return absl::OkStatus(); }

}  // namespace spicegate
