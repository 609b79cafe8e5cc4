// SPDX-License-Identifier: Apache-2.0
//
// What may stand in front of SPICE: a PROXY header, and HTTP CONNECT with all
// that follows from it.
#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "gateway/base/clock.h"
#include "gateway/door/client_leg.h"
#include "gateway/door/connect_door.h"
#include "gateway/door/proxy_header.h"
#include "gateway/io/deadline.h"
#include "gateway/io/unread_stream.h"
#include "gateway/server_link/dialer.h"
#include "gateway/server_link/proxy_hop.h"
#include "gateway/worker_engine.h"

namespace spicegate {
namespace {

using Kind = ConnectGrant::Kind;

// "192.0.2.1:567" and "[2001:db8::1]:567" without the port.
std::string_view HostOf(std::string_view address) {
  address = address.substr(0, address.rfind(':'));
  if (address.starts_with('[')) {
    address.remove_prefix(1);
    address.remove_suffix(1);
  }
  return address;
}

// What the client is told of a server that could not be reached.
ConnectStatus StatusOf(CloseReason failure, const ConnectSettings& settings) {
  switch (failure) {
    case CloseReason::kServerTimeout:
      return ConnectStatus::kTimeout;
    case CloseReason::kConnectForbidden:
      // What no list has is answered as if no rule had come near it.
      return settings.login ? ConnectStatus::kLogin : ConnectStatus::kForbidden;
    case CloseReason::kInternal:
    case CloseReason::kShutdown:
      return ConnectStatus::kBusy;
    default:
      return ConnectStatus::kUnreachable;
  }
}

// The first bytes of a TLS handshake's record, and of a SPICE link.
bool BeginsTls(std::span<const uint8_t> bytes) {
  return bytes[0] == 0x16 && bytes[1] == 0x03;
}
bool BeginsSpice(std::span<const uint8_t> bytes) {
  return bytes[0] == proto::kLinkMagic[0] && bytes[1] == proto::kLinkMagic[1];
}

// Servers that are asked over QMP run on this machine, wherever they listen.
bool IsServerOf(const ConsoleTarget& target, const std::string& host,
                const OwnPlaces& own) {
  SocketAddress address;
  return target.by_qmp()
             ? NumericAddress(host, 0, &address) && own.IsHere(address)
             : target.console->host == host;
}

// Names the session of a link whose ticket is its server's own.
TicketDigest DigestOf(const ConnectGrant& grant, const std::string& ticket) {
  const auto& group = grant.group.bytes;
  return TicketVault::DigestOf(std::string(group.begin(), group.end()) +
                               ticket);
}

// What the allow-list of these settings leaves a way to.
MayReach MayReachBy(const WorkerSettings& settings) {
  return [connect = settings.connect, own = settings.own_places](
             const SocketAddress& address, uint16_t port, bool by_name) {
    const auto place = OwnSockets::PlaceOf(address);
    return place.has_value() && !own->Has(address) &&
           connect->allow.AllowsAddress(std::span(*place).first<16>(), port,
                                        by_name);
  };
}

}  // namespace

Task<std::optional<CloseReason>> Worker::Engine::ReadClientAddress(
    Handle handle, const ListenerOptions* listener,
    const DoorContext* context) {
  Opening* opening = openings.Get(handle);
  const auto count = [this](ProxyHeaderOutcome outcome) {
    counters->proxy_headers[static_cast<size_t>(outcome)].Add(1);
  };
  if (!listener->proxy_from.empty() &&
      !listener->proxy_from.Holds(HostOf(opening->client_address))) {
    count(ProxyHeaderOutcome::kRefused);
    co_return CloseReason::kProxyHeader;
  }
  const Deadline deadline(&timers, opening->client.socket.get(),
                          context->deadline_ms);
  const std::optional<ProxyHeader> header =
      co_await ReadProxyHeader(&opening->client);
  if (!header.has_value()) {
    count(ProxyHeaderOutcome::kRefused);
    co_return CloseReason::kProxyHeader;
  }
  count(header->outcome);
  if (!header->source.empty()) {
    opening->client_address = header->source;
  }
  if (header->local) {
    // Most look no further. One that goes on is served like any other.
    std::array<uint8_t, 1> first;
    const int n = co_await ReadAtLeast(&opening->client, first, 1);
    if (n < 0) {
      co_return CloseReason::kHealthCheck;
    }
    opening->client.stream = Unread(std::move(opening->client.stream), first);
  }
  co_return std::nullopt;
}

Task<void> Worker::Engine::ServeConnect(Handle handle, DoorContext context) {
  auto passage = std::make_unique<Passage>();
  bool is_spice = false;
  const Refusal refusal =
      co_await LetThrough(handle, &context, passage.get(), &is_spice);
  if (refusal.has_value()) {
    Refuse(handle, *refusal, nullptr, passage->grant.name);
  } else if (is_spice) {
    co_await ServeLinkInside(handle, std::move(context), std::move(passage));
  } else {
    co_await ServeTunnel(handle, std::move(passage));
  }
}

Task<std::optional<CloseReason>> Worker::Engine::LetThrough(
    Handle handle, const DoorContext* context, Passage* passage,
    bool* is_spice) {
  Opening* opening = openings.Get(handle);
  Leg* client = &opening->client;
  const Deadline deadline(&timers, client->socket.get(), context->deadline_ms);
  if (context->tls != nullptr) {
    const Refusal refusal = co_await SecureClient(client, context);
    if (refusal.has_value()) {
      co_return refusal;
    }
  }
  const ConnectArrival arrival =
      co_await ReadConnectRequest(client, &timers, counters);
  if (!arrival.request.has_value()) {
    co_return arrival.refusal;
  }
  const ConnectRequest& request = *arrival.request;
  const Refusal refusal = co_await Judge(opening, &request, passage);
  if (refusal.has_value()) {
    co_return refusal;
  }
  int error = co_await AnswerConnect(client, &timers, counters,
                                     ConnectStatus::kOk, request.minor_version);
  if (error != 0) {
    co_return ClientReasonOf(error);
  }
  // Enough for either, and all that came with it.
  std::array<uint8_t, 512> first;
  error = co_await ReadAtLeast(client, first, 2);
  if (error < 0) {
    co_return ClientReasonOf(error);
  }
  const std::span<const uint8_t> bytes(first.data(),
                                       static_cast<size_t>(error));
  *is_spice = BeginsSpice(bytes);
  if (!*is_spice && !BeginsTls(bytes)) {
    co_return CloseReason::kTunnelProtocol;
  }
  client->stream = Unread(std::move(client->stream), bytes);
  // What it had sent ahead is no reason to let it through too late: its waits
  // have ended for good.
  if (timers.now_ms() >= context->deadline_ms) {
    co_return CloseReason::kPreauthTimeout;
  }
  co_return std::nullopt;
}

Task<std::optional<CloseReason>> Worker::Engine::Judge(
    Opening* opening, const ConnectRequest* request, Passage* passage) {
  passage->settings = settings.connect;
  passage->may_reach = MayReachBy(settings);
  passage->alias = {request->target.host, request->target.port};
  const NamesConsole names = [this](const TicketClaim& ticket,
                                    const std::string& host) {
    const auto target = TargetOf(ticket);
    return target.has_value() &&
           IsServerOf(*target, host, *settings.own_places);
  };
  ConnectDecision decision = DecideConnect(
      *request, opening->client_address, *settings.connect, shared->vault,
      timers.now_ms(), WallClockMs() / 1000, names);
  Refusal refusal;
  if (decision.grant.has_value()) {
    passage->grant = *std::move(decision.grant);
    if (passage->grant.kind != Kind::kConsole) {
      refusal = co_await Reach(opening, passage);
      decision.answer =
          StatusOf(refusal.value_or(CloseReason::kInternal), *settings.connect);
    }
  } else {
    refusal = decision.refusal;
  }
  if (refusal.has_value()) {
    co_await AnswerConnect(&opening->client, &timers, counters, decision.answer,
                           request->minor_version);
  }
  co_return refusal;
}

bool Worker::Engine::MayDial(const ConnectGrant& grant,
                             const SocketAddress& address) const {
  const auto place = OwnSockets::PlaceOf(address);
  if (!place.has_value() || settings.own_places->Has(address)) {
    return false;
  }
  return grant.kind != Kind::kAllowed ||
         settings.connect->allow.AllowsAddress(std::span(*place).first<16>(),
                                               grant.port, grant.by_name);
}

Task<std::optional<CloseReason>> Worker::Engine::Reach(Opening* opening,
                                                       Passage* passage) {
  const ConnectGrant& grant = passage->grant;
  const Dialer::Filter filter = [this, &grant](const SocketAddress& address) {
    return MayDial(grant, address);
  };
  HostPort place;
  place.host = grant.host;
  place.port = grant.port;
  const int64_t deadline_ms =
      timers.now_ms() + shared->limits.server_connect_ms;
  opening->server = &passage->server;
  Refusal refusal;
  {
    ServerLinkContext links = server_links;
    if (grant.kind == Kind::kAllowed && !grant.by_name) {
      links.names = &strangers_names;
    }
    Dialer dialer(links, &passage->server);
    refusal = co_await dialer.Dial(&place, deadline_ms, &filter);
  }
  if (!refusal.has_value()) {
    passage->mark =
        OwnSocketMark(server_links.own_sockets, passage->server.socket->fd());
  }
  if (!refusal.has_value() && !grant.hop_request.empty()) {
    const Deadline deadline(&timers, passage->server.socket.get(),
                            timers.now_ms() + shared->limits.server_link_ms);
    refusal = co_await PassProxy(&passage->server, &grant.hop_request);
  }
  opening->server = nullptr;
  // Strangers learn nothing about names that no list has.
  if (refusal == CloseReason::kServerResolve && grant.kind == Kind::kAllowed &&
      !grant.by_name) {
    refusal = CloseReason::kConnectForbidden;
  }
  co_return refusal;
}

Task<void> Worker::Engine::ServeLinkInside(Handle handle, DoorContext context,
                                           std::unique_ptr<Passage> passage) {
  Opening* opening = openings.Get(handle);
  const bool of_console = passage->grant.kind == Kind::kConsole;
  context.tls = nullptr;  // what there was is on the leg
  context.keep_ticket = !of_console;
  if (!of_console) {
    context.before_ticket = nullptr;  // its server has been dialled
  }
  DoorResult result =
      co_await RunClientLink(&opening->client, std::move(context));
  if (!result.link.has_value()) {
    Refuse(handle, result.refusal, nullptr, passage->grant.name);
    co_return;
  }
  ClientLink& link = *result.link;
  TicketClaim ticket;
  if (of_console) {
    ticket = shared->vault->Claim(link.ticket, timers.now_ms());
    if (!ticket || ticket.console() != passage->grant.claim.console()) {
      co_await SendLinkResult(&opening->client, &timers,
                              proto::LinkError::kPermissionDenied);
      Refuse(handle, CloseReason::kBadTicket, &link, passage->grant.name);
      co_return;
    }
  } else {
    link.ticket = DigestOf(passage->grant, link.kept_ticket);
    ticket = TicketClaim::Unvaulted(link.ticket, passage->grant.name);
  }
  co_await ServeAtHome(handle, std::move(link), std::move(ticket),
                       std::move(passage));
}

Task<void> Worker::Engine::ServeTunnel(Handle handle,
                                       std::unique_ptr<Passage> passage) {
  const size_t home = HomeOf(passage->grant.group, shared->workers.size());
  if (home == static_cast<size_t>(worker->index_)) {
    co_await ServeTunnelHere(handle, std::move(passage));
    co_return;
  }
  Opening* opening = openings.Get(handle);
  counters->links_open.Add(-1);
  shared->workers[home]->Post(MovedTunnel{std::move(opening->client),
                                          std::move(opening->client_address),
                                          std::move(passage)});
  openings.Remove(handle);
}

Task<void> Worker::Engine::ServeTunnelHere(Handle handle,
                                           std::unique_ptr<Passage> passage) {
  const std::string name = passage->grant.name;
  const Refusal refusal =
      co_await tunnel_opener.Open(handle, std::move(passage));
  if (refusal.has_value()) {
    Refuse(handle, *refusal, nullptr, name);
  } else {
    openings.Remove(handle);
  }
}

void Worker::Engine::On(MovedTunnel moved) {
  counters->links_open.Add(1);
  moved.client.socket->Rebind(driver);
  if (moved.passage->server) {
    moved.passage->server.socket->Rebind(driver);
  }
  const Handle handle =
      openings.Add(std::move(moved.client), std::move(moved.client_address));
  CHECK(handle);  // the process's limit is the table's capacity
  if (stop_deadline_ms.has_value()) {
    Refuse(handle, CloseReason::kShutdown, nullptr, moved.passage->grant.name);
    return;
  }
  Spawn(ServeTunnelHere(handle, std::move(moved.passage)));
}

void Worker::Engine::TurnAway(int fd, const ListenerOptions& listener) {
  // Behind a PROXY header or TLS it would cost more than it is worth.
  const bool may_say =
      listener.connect && !listener.tls && !listener.proxy_protocol;
  if (may_say && num_turned_away < kMaxTurnedAway) {
    Spawn(SayBusy(Leg::Plain(driver, fd)));
  } else {
    driver->Close(fd, /*reset=*/true);
  }
}

Task<void> Worker::Engine::SayBusy(Leg client) {
  ++num_turned_away;
  {
    const Deadline deadline(&timers, client.socket.get(),
                            timers.now_ms() + kRefusalLingerMs);
    // Answered before it is read, it would be lost with a RST.
    const ConnectArrival arrival =
        co_await ReadConnectRequest(&client, &timers, counters);
    if (arrival.request.has_value()) {
      co_await AnswerConnect(&client, &timers, counters, ConnectStatus::kBusy,
                             arrival.request->minor_version);
    }
  }
  client.Release(Socket::End::kFin);
  --num_turned_away;
}

}  // namespace spicegate
