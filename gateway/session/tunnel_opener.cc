// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/tunnel_opener.h"

#include <utility>

#include "gateway/base/limits.h"
#include "gateway/server_link/console_dial.h"
#include "gateway/server_link/dialer.h"

namespace spicegate {
namespace {

// What is in the tunnel cannot be seen, and so not be restricted.
bool MayTunnel(const Passage& passage, const ConsoleTarget& target) {
  return passage.settings->tunnels && target.tls != nullptr &&
         target.console->policy_name.empty() &&
         passage.grant.claim.policy_name().empty();
}

// A place that is no console's.
ConsoleTarget Unlisted(const ConnectGrant& grant) {
  auto console = std::make_shared<Console>();
  console->name = grant.name;
  console->host = grant.host;
  console->tls_port = grant.port;
  ConsoleTarget target;
  target.console = std::move(console);
  return target;
}

}  // namespace

Task<std::optional<CloseReason>> TunnelOpener::Open(
    Handle handle, std::unique_ptr<Passage> passage) {
  Opening* opening = openings_->Get(handle);
  Leg server = std::move(passage->server);
  opening->server = &server;
  ConsoleTarget target;
  Refusal refusal;
  if (passage->grant.kind == ConnectGrant::Kind::kConsole) {
    refusal = co_await DialConsoleOf(passage.get(), &target, &server);
  } else {
    target = Unlisted(passage->grant);
  }
  opening->server = nullptr;
  if (refusal.has_value()) {
    co_return refusal;
  }
  const Handle session =
      JoinSession(*opening, passage.get(), std::move(target));
  if (!registry_->HasRoom(*registry_->Get(session))) {
    co_return CloseReason::kTooManyChannels;
  }
  if (!passage->mark) {
    passage->mark = OwnSocketMark(server_.own_sockets, server.socket->fd());
  }
  const Handle channel = registry_->AddChannel(
      session, {proto::ChannelType::kTunnel, 0}, proto::HeaderKind::kMini,
      std::move(opening->client), std::move(server), nullptr,
      /*bytes_sent=*/0);
  registry_->KeepMark(channel, std::move(passage->mark));
  co_return std::nullopt;
}

Task<TunnelOpener::Refusal> TunnelOpener::DialConsoleOf(const Passage* passage,
                                                        ConsoleTarget* target,
                                                        Leg* leg) {
  std::optional<ConsoleTarget> found = find_target_(passage->grant.claim);
  if (!found.has_value()) {
    co_return CloseReason::kConsoleUnknown;
  }
  *target = *std::move(found);
  if (!MayTunnel(*passage, *target)) {
    co_return CloseReason::kTunnelRefused;
  }
  const int64_t deadline_ms =
      server_.timers->now_ms() + server_.limits->server_connect_ms;
  Refusal refusal;
  if (target->by_qmp()) {
    refusal = co_await AskForAccess(target, server_.access, deadline_ms);
  }
  if (!refusal.has_value()) {
    Dialer dialer(server_, leg);
    refusal = co_await DialConsole(&dialer, target, deadline_ms);
  }
  co_return refusal;
}

Handle TunnelOpener::JoinSession(const Opening& opening, Passage* passage,
                                 ConsoleTarget target) {
  ConnectGrant& grant = passage->grant;
  TicketClaim claim = grant.kind == ConnectGrant::Kind::kConsole
                          ? std::move(grant.claim)
                          : TicketClaim::Unvaulted(grant.group, grant.name);
  SessionTerms terms;
  terms.target = std::move(target);
  terms.client = opening.client_address;
  terms.tunnel = true;
  return registry_->JoinTunnels(std::move(claim), std::move(terms));
}

}  // namespace spicegate
