// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/opener.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <span>
#include <utility>

#include "gateway/base/limits.h"
#include "gateway/io/deadline.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::LinkError;

// A client's INIT as it goes on to the server: header and body.
using InitMessage =
    std::array<uint8_t, proto::kMaxDataHeaderLen + proto::kDisplayInitLen>;

CloseReason ClientReason(int error) {
  switch (error) {
    case -ECANCELED:
      return CloseReason::kShutdown;
    case -ENODATA:
    case -ETIMEDOUT:
      return CloseReason::kClientGone;
    default:
      return CloseReason::kClientReset;
  }
}

// Lists an opening with its session as long as it is under way.
class ListedOpening {
 public:
  ListedOpening(SessionRegistry* registry, Handle session, Handle opening)
      : registry_(registry), session_(session), opening_(opening) {
    if (Session* s = registry_->Get(session_)) {
      s->openings.push_back(opening_);
    }
  }
  ~ListedOpening() {
    if (Session* s = registry_->Get(session_)) {
      std::erase(s->openings, opening_);
      if (s->openings.empty()) {
        s->openings = {};  // most of its life a session has none
      }
    }
  }
  ListedOpening(const ListedOpening&) = delete;
  ListedOpening& operator=(const ListedOpening&) = delete;

 private:
  SessionRegistry* const registry_;
  const Handle session_;
  const Handle opening_;
};

// Lists an opening with the migration to whose destination it leads.
class DestinationOpening {
 public:
  // `migration` may be null: nothing is listed then.
  DestinationOpening(SessionRegistry* registry, Handle session,
                     std::shared_ptr<Migration> migration, Handle opening)
      : registry_(registry),
        session_(session),
        migration_(std::move(migration)),
        opening_(opening) {
    if (migration_ != nullptr) {
      registry_->AddDestinationOpening(session_, migration_.get(), opening_);
    }
  }
  ~DestinationOpening() {
    if (migration_ != nullptr) {
      registry_->RemoveDestinationOpening(session_, migration_.get(), opening_);
    }
  }
  DestinationOpening(const DestinationOpening&) = delete;
  DestinationOpening& operator=(const DestinationOpening&) = delete;

 private:
  SessionRegistry* const registry_;
  const Handle session_;
  const std::shared_ptr<Migration> migration_;
  const Handle opening_;
};

// Fails a migration at a time, unless it goes first: for a link that takes
// longer because its server's leg has to be seen through.
class MigrationDeadline {
 public:
  // `migration` may be null: nothing happens then.
  MigrationDeadline(SessionRegistry* registry, Handle session,
                    std::shared_ptr<Migration> migration, TimerWheel* timers,
                    int64_t deadline_ms)
      : registry_(registry),
        session_(session),
        migration_(std::move(migration)) {
    if (migration_ != nullptr) {
      timer_.Arm(timers, deadline_ms);
    }
  }

 private:
  static void OnTimer(void* self) {
    const auto* deadline = static_cast<MigrationDeadline*>(self);
    deadline->registry_->FailMigration(deadline->session_,
                                       deadline->migration_.get(),
                                       CloseReason::kServerTimeout);
  }

  SessionRegistry* const registry_;
  const Handle session_;
  const std::shared_ptr<Migration> migration_;
  Timer timer_{&MigrationDeadline::OnTimer, this};
};

// Counts the main link of a new session as long as it is under way.
class OpeningMain {
 public:
  // `ticket` is null for other links: nothing is counted.
  OpeningMain(SessionRegistry* registry, const TicketClaim* ticket)
      : registry_(registry), wanted_(ticket != nullptr) {
    if (wanted_) {
      digest_ = ticket->digest();
      counted_ = registry_->AddOpeningMain(digest_);
    }
  }
  ~OpeningMain() {
    if (counted_) {
      registry_->RemoveOpeningMain(digest_);
    }
  }
  OpeningMain(const OpeningMain&) = delete;
  OpeningMain& operator=(const OpeningMain&) = delete;

  bool refused() const { return wanted_ && !counted_; }

 private:
  SessionRegistry* const registry_;
  const bool wanted_;
  bool counted_ = false;
  TicketDigest digest_;
};

// Let through to a place that is no console's.
bool IsUnlisted(const Passage* passage) {
  return passage != nullptr &&
         passage->grant.kind != ConnectGrant::Kind::kConsole;
}

// Such a place, with the ticket that the client has for it.
ConsoleTarget Unlisted(const ConnectGrant& grant, const std::string& ticket,
                       GuardMode guard) {
  auto console = std::make_shared<Console>();
  console->name = grant.name;
  console->host = grant.host;
  console->port = grant.port;
  console->ticket = ticket;
  console->guard = guard;
  ConsoleTarget target;
  target.console = std::move(console);
  return target;
}

std::shared_ptr<const PassageTerms> TermsOf(const Passage* passage) {
  if (passage == nullptr) {
    return nullptr;
  }
  auto terms = std::make_shared<PassageTerms>();
  terms->alias = passage->alias;
  if (IsUnlisted(passage)) {
    terms->only_to = passage->settings;
    terms->may_reach = passage->may_reach;
  }
  return terms;
}

Task<int> ReadInitMessage(Leg* client, proto::HeaderKind kind,
                          std::span<uint8_t> message) {
  const size_t header_len = proto::DataHeaderLen(kind);
  const int error = co_await ReadExactly(client, message.first(header_len));
  if (error != 0) {
    co_return error;
  }
  const auto header = proto::ParseDataHeader(kind, message.first(header_len));
  if (!header.has_value() || header->type != proto::kMsgcDisplayInit ||
      header->size != proto::kDisplayInitLen) {
    co_return -EPROTO;
  }
  co_return co_await ReadExactly(client, message.subspan(header_len));
}

}  // namespace

Task<std::optional<CloseReason>> ChannelOpener::Open(
    Handle handle, ClientLink link, TicketClaim ticket,
    std::unique_ptr<Passage> passage) {
  Opening* opening = openings_->Get(handle);
  Place place;
  place.passage = std::move(passage);
  Refusal refusal = co_await FindPlace(opening, &link, &ticket, &place);
  if (refusal.has_value()) {
    co_return refusal;
  }
  const ListedOpening listed(registry_, place.session, handle);
  const DestinationOpening leaving(registry_, place.session,
                                   place.route.destination_of, handle);
  const OpeningMain main(registry_, place.session ? nullptr : &ticket);
  if (main.refused()) {
    co_return CloseReason::kTooManyChannels;
  }
  place.ticket = std::move(ticket);
  const std::shared_ptr<EarlyDial> early =
      early_dials_->Take(std::exchange(opening->early_dial, {}), place.session,
                         place.route.destination_of.get());
  std::optional<ServerLink> own;
  ServerLink* server =
      early != nullptr
          ? early->link()
          : &own.emplace(server_, place.route.target,
                         GiveUpTime(place.route, server_.timers->now_ms(),
                                    *server_.limits));
  if (early == nullptr && IsConnected(place)) {
    server->Adopt(std::move(place.passage->server));
  }
  opening->server = server->leg();
  if (early != nullptr) {
    refusal = co_await early->Opened();
  } else {
    refusal = co_await server->Open(RequestFor(link));
  }
  if (!refusal.has_value() && place.session && !IsAlive(place.session)) {
    refusal = CloseReason::kSessionOver;  // while a name was looked up
  } else if (!refusal.has_value() && place.route.destination_of != nullptr &&
             !registry_->IsMigrating(place.session,
                                     place.route.destination_of.get())) {
    refusal = CloseReason::kMigrationOver;
  }
  if (!refusal.has_value()) {
    // A destination has its displays before their INIT: it begins with none of
    // them before its main says so.
    if (link.channel.type == ChannelType::kDisplay &&
        place.route.destination_of == nullptr) {
      refusal = co_await OpenDisplay(opening, &link, &place, server);
    } else {
      refusal = co_await OpenPlain(opening, &link, &place, server);
    }
  }
  opening->server = nullptr;
  if (refusal.has_value() && place.session && !IsAlive(place.session)) {
    refusal = CloseReason::kSessionOver;
  } else if (refusal == CloseReason::kShutdown &&
             place.route.destination_of != nullptr &&
             !registry_->IsMigrating(place.session,
                                     place.route.destination_of.get())) {
    refusal = CloseReason::kMigrationOver;
  }
  if (refusal.has_value()) {
    FailMigration(place, *refusal);
  }
  co_return refusal;
}

bool ChannelOpener::IsConnected(const Place& place) {
  return place.passage != nullptr && place.passage->server &&
         place.route.destination_of == nullptr && !place.route.target.moved;
}

bool ChannelOpener::MayTell(const Place& place, LinkError result) {
  switch (result) {
    case LinkError::kBadConnectionId:
    case LinkError::kChannelNotAvailable:
      return place.session && place.route.destination_of == nullptr;
    case LinkError::kPermissionDenied:
      return !place.session && IsUnlisted(place.passage.get());
    default:
      return false;
  }
}

void ChannelOpener::FailMigration(const Place& place, CloseReason refusal) {
  if (place.route.destination_of != nullptr) {
    registry_->FailMigration(place.session, place.route.destination_of.get(),
                             refusal);
  }
}

bool ChannelOpener::IsAlive(Handle handle) {
  const Session* session = registry_->Get(handle);
  return session != nullptr && !session->ending.has_value();
}

Task<ChannelOpener::Refusal> ChannelOpener::FindPlace(Opening* opening,
                                                      const ClientLink* link,
                                                      const TicketClaim* ticket,
                                                      Place* place) {
  if (link->channel.type == ChannelType::kMain && link->connection_id == 0) {
    co_return FindServer(*link, *ticket, place);
  }
  co_return co_await FindSession(opening, link, place);
}

ChannelOpener::Refusal ChannelOpener::FindServer(const ClientLink& link,
                                                 const TicketClaim& ticket,
                                                 Place* place) {
  std::optional<ConsoleTarget> target = registry_->SwitchedTo(ticket.digest());
  if (target.has_value() && target->console == nullptr) {
    return CloseReason::kDestinationRefused;
  }
  if (!target.has_value()) {
    target = IsUnlisted(place->passage.get())
                 ? Unlisted(place->passage->grant, link.kept_ticket, guard_)
                 : find_target_(ticket);
  }
  if (!target.has_value()) {
    return CloseReason::kConsoleUnknown;
  }
  place->policy = target->console->policy;
  if (const std::string& name = ticket.policy_name(); !name.empty()) {
    const auto policy = policies_->find(name);
    if (policy == policies_->end()) {
      return CloseReason::kPolicyRefused;
    }
    place->policy = Combine(place->policy, policy->second);
  }
  place->route.target = *std::move(target);
  return std::nullopt;
}

Task<ChannelOpener::Refusal> ChannelOpener::FindSession(Opening* opening,
                                                        const ClientLink* link,
                                                        Place* place) {
  const ChannelType type = link->channel.type;
  place->session = registry_->FindSession(link->ticket, link->connection_id);
  Session* session = registry_->Get(place->session);
  if (session != nullptr) {
    place->route = registry_->RouteOf(place->session, type);
  } else {
    place->route.refusal = CloseReason::kBadConnectionId;
  }
  if (place->route.refusal == CloseReason::kBadConnectionId) {
    if (type == ChannelType::kMain) {
      server_.counters
          ->guard_refusals[static_cast<size_t>(type)]
                          [static_cast<size_t>(GuardRule::kConnectionId)]
          .Add(1);
    }
    place->session = Handle{};
    co_await SendLinkResult(&opening->client, server_.timers,
                            LinkError::kBadConnectionId);
    co_return CloseReason::kBadConnectionId;
  }
  Refusal refusal = place->route.refusal;
  // Viewers link all they know with a destination, and give up when one fails:
  // there a channel that is forbidden is made, and mute.
  if (place->route.destination_of == nullptr &&
      session->terms.policy.refuses_channel(static_cast<uint8_t>(type))) {
    server_.counters->policy_drops[static_cast<size_t>(PolicyDrop::kChannel)]
        .Add(1);
    refusal = CloseReason::kPolicyRefused;
  } else if (!registry_->HasRoom(*session)) {
    refusal = CloseReason::kTooManyChannels;
  }
  if (refusal == CloseReason::kPolicyRefused ||
      refusal == CloseReason::kTooManyChannels) {
    co_await SendLinkResult(&opening->client, server_.timers,
                            LinkError::kChannelNotAvailable);
  }
  if (refusal.has_value()) {
    FailMigration(*place, *refusal);
  }
  co_return refusal;
}

Task<ChannelOpener::Refusal> ChannelOpener::OpenPlain(Opening* opening,
                                                      const ClientLink* link,
                                                      Place* place,
                                                      ServerLink* server) {
  // A display here waits at a migration's destination: it has nothing to say
  // yet, and may go together with its main.
  const bool must_hear = link->channel.type != ChannelType::kDisplay &&
                         MustHearServer(link->channel.type);
  opening->committed = must_hear;
  const int64_t timeout_ms =
      must_hear ? kDisplayCommittedMs
                : std::min(server_.limits->server_link_ms,
                           server->give_up_ms() - server_.timers->now_ms());
  const MigrationDeadline fails(
      registry_, place->session,
      must_hear ? place->route.destination_of : nullptr, server_.timers,
      server->give_up_ms());
  Refusal refusal = co_await server->Authenticate(timeout_ms, {});
  if (refusal.has_value()) {
    const LinkError result = server->result();
    if (MayTell(*place, result)) {
      co_await SendLinkResult(&opening->client, server_.timers, result);
    }
    co_return refusal;
  }
  const int error =
      co_await SendLinkResult(&opening->client, server_.timers, LinkError::kOk);
  if (error != 0 && !must_hear) {
    co_return ClientReason(error);
  }
  // Where the client is gone a channel is what ends the server's leg safely.
  Join(opening, link, place, server, /*bytes_sent=*/0);
  co_return std::nullopt;
}

Task<ChannelOpener::Refusal> ChannelOpener::OpenDisplay(Opening* opening,
                                                        const ClientLink* link,
                                                        Place* place,
                                                        ServerLink* server) {
  // The server lives and has the channel; its ticket stays here until the
  // client's INIT has come whole, since from the ticket on the display must be
  // seen through.
  int error =
      co_await SendLinkResult(&opening->client, server_.timers, LinkError::kOk);
  if (error != 0) {
    co_return ClientReason(error);
  }
  InitMessage message;
  const std::span<uint8_t> init(
      message.data(),
      proto::DataHeaderLen(link->header_kind) + proto::kDisplayInitLen);
  {
    const Deadline deadline(
        server_.timers, opening->client.socket.get(),
        server_.timers->now_ms() + server_.limits->display_init_ms);
    error = co_await ReadInitMessage(&opening->client, link->header_kind, init);
  }
  if (error != 0) {
    co_return error == -EPROTO ? CloseReason::kClientProtocol
                               : ClientReason(error);
  }
  if (!IsAlive(place->session)) {
    co_return CloseReason::kSessionOver;
  }
  if (!registry_->AllowsInit(place->session, init, link->header_kind)) {
    co_return CloseReason::kClientGuard;
  }
  opening->committed = true;
  const Refusal refusal =
      co_await server->Authenticate(kDisplayCommittedMs, init);
  if (refusal.has_value()) {
    CountIfGivenUp(*refusal);
    co_return refusal;
  }
  Join(opening, link, place, server, init.size());
  co_return std::nullopt;
}

void ChannelOpener::CountIfGivenUp(CloseReason refusal) {
  // Anything else is the server's own doing.
  if (refusal == CloseReason::kServerTimeout ||
      refusal == CloseReason::kShutdown) {
    server_.counters->display_safe_end[static_cast<size_t>(SafeEnd::kTimedOut)]
        .Add(1);
  }
}

void ChannelOpener::Join(Opening* opening, const ClientLink* link, Place* place,
                         ServerLink* server, size_t bytes_sent) {
  Handle session = place->session;
  if (!session) {
    SessionTerms terms;
    terms.target = server->target();
    terms.policy = place->policy;
    terms.client = opening->client_address;
    terms.client_tls = link->tls;
    terms.passage = TermsOf(place->passage.get());
    session =
        registry_->BeginSession(std::move(place->ticket), std::move(terms));
  }
  opening->server = nullptr;
  const Handle channel = registry_->AddChannel(
      session, link->channel, link->header_kind, std::move(opening->client),
      server->TakeLeg(), place->route.destination_of, bytes_sent);
  registry_->KeepMark(channel, server->TakeMark());
}

}  // namespace spicegate
