// SPDX-License-Identifier: Apache-2.0
//
// Migrations of the sessions in a registry: who goes where, and what is left
// behind. What may be said when is Migration's (relay/migration.h).
#include <algorithm>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/counter_names.h"
#include "gateway/base/limits.h"
#include "gateway/base/log.h"
#include "gateway/server_link/destination.h"
#include "gateway/session/registry.h"
#include "proto/messages.h"

namespace spicegate {
Departure SessionRegistry::DepartureTo(const Session& session,
                                       const proto::DstInfo& to) const {
  Departure departure;
  departure.started_ms = relay_.timers->now_ms();
  departure.from = PlaceOf(session.terms.target);
  departure.to = std::string(to.host) + ":" +
                 std::to_string(to.sport != 0 ? to.sport : to.port);
  std::shared_ptr<const AddressFilter> may_dial;
  if (migration_settings_->destinations.Allows(to.host) &&
      MayMigrate(session, to, &may_dial)) {
    auto target = DestinationOf(session.terms.target, to);
    if (target.has_value()) {
      departure.target = *std::move(target);
      departure.target.may_dial = std::move(may_dial);
      departure.to = PlaceOf(departure.target);
    }
  }
  return departure;
}

bool SessionRegistry::MayMigrate(
    const Session& session, const proto::DstInfo& to,
    std::shared_ptr<const AddressFilter>* may_dial) {
  const PassageTerms* passage = session.terms.passage.get();
  if (passage == nullptr || passage->only_to == nullptr) {
    return true;
  }
  const uint16_t port = to.port;
  const auto verdict = passage->only_to->allow.Judge(to.host, port);
  const bool by_name = verdict == AllowList::Verdict::kAllowed;
  SocketAddress address;
  if (verdict == AllowList::Verdict::kRefused ||
      (NumericAddress(std::string(to.host), port, &address) &&
       !passage->may_reach(address, port, by_name))) {
    return false;
  }
  *may_dial = std::make_shared<const AddressFilter>(
      [may_reach = passage->may_reach, port,
       by_name](const SocketAddress& resolved) {
        return may_reach(resolved, port, by_name);
      });
  return true;
}

proto::DstInfo SessionRegistry::PlaceFor(const Session* session,
                                         const proto::DstInfo& to) const {
  if (session != nullptr && session->terms.passage != nullptr) {
    const ConnectAlias& alias = session->terms.passage->alias;
    proto::DstInfo told;
    told.host = alias.host;
    told.port = alias.port;
    told.src_mig_version = to.src_mig_version;
    return told;
  }
  const PublicPlace& place = migration_settings_->place;
  const bool tls = session != nullptr && session->terms.client_tls;
  proto::DstInfo told;
  told.host = place.host;
  told.port = tls ? 0 : place.port;
  told.sport = tls ? place.tls_port : 0;
  told.cert_subject = tls ? place.cert_subject : std::string_view();
  told.src_mig_version = to.src_mig_version;
  return told;
}

proto::DstInfo SessionRegistry::OnMigrateTo(Channel* channel,
                                            MigrationKind kind,
                                            const proto::DstInfo& to) {
  Session* session = sessions_.Get(channel->session());
  // Now, as the session may be gone in the end.
  told_ = session != nullptr ? session->terms.passage : nullptr;
  const proto::DstInfo told = PlaceFor(session, to);
  if (session != nullptr && !session->ending.has_value() &&
      session->main == channel->handle()) {
    if (session->migration != nullptr) {
      // A second announcement takes the place of the first; SWITCH_HOST means
      // that it has come to nothing.
      EndMigration(session,
                   kind == MigrationKind::kSwitchHost
                       ? MigrationResult::kFailed
                       : MigrationResult::kCancelled,
                   std::nullopt);
    }
    if (++session->num_announced > kMaxAnnouncements) {
      // From inside its main's filter, which minds that.
      EndSession(channel->session(), CloseReason::kServerGuard);
    } else {
      BeginMigration(session, kind, DepartureTo(*session, to));
    }
  }
  return told;
}

void SessionRegistry::BeginMigration(Session* session, MigrationKind kind,
                                     Departure departure) {
  if (kind == MigrationKind::kSwitchHost) {
    session->switched = std::make_unique<Departure>(std::move(departure));
    return;
  }
  session->switched.reset();
  relay_.pumps.counters->migrations_pending.Add(1);
  session->migration = std::make_unique<PendingMigration>();
  session->migration->state = std::make_shared<Migration>(kind);
  session->migration->departure = std::move(departure);
  for (const Handle handle : session->channels) {
    Channel* channel = channels_.Get(handle);
    // Those that an earlier migration has left behind are out of it, and so are
    // those that it has brought here and that have not begun yet.
    if (channel->migration() == nullptr ||
        (channel->leads_to_destination() && channel->has_begun())) {
      channel->FollowMigration(session->migration->state);
    }
  }
}

Route SessionRegistry::RouteOf(Handle handle, proto::ChannelType type) {
  Session* session = sessions_.Get(handle);
  CHECK(session != nullptr);
  Route route;
  PendingMigration* migration = session->migration.get();
  const bool is_main = type == proto::ChannelType::kMain;
  const bool linking =
      migration != nullptr &&
      migration->state->phase() == Migration::Phase::kLinking &&
      (is_main ? !migration->main_came
               : channels_.Get(migration->main) != nullptr);
  if (!linking) {
    // A main link with an id says "I am migrating".
    route.target = session->terms.target;
    if (is_main) {
      route.refusal = CloseReason::kBadConnectionId;
    }
    return route;
  }
  migration->main_came = true;
  route.destination_of = migration->state;
  route.target = migration->departure.target;
  if (route.target.console == nullptr) {
    route.refusal = CloseReason::kDestinationRefused;
  }
  return route;
}

bool SessionRegistry::IsPending(const Session& session,
                                const Channel& channel) {
  return session.migration != nullptr && channel.leads_to_destination() &&
         channel.migration() == session.migration->state.get();
}

void SessionRegistry::AddDestinationOpening(Handle handle,
                                            const Migration* migration,
                                            Handle opening) {
  if (IsMigrating(handle, migration)) {
    sessions_.Get(handle)->migration->openings.push_back(opening);
  }
}

void SessionRegistry::RemoveDestinationOpening(Handle handle,
                                               const Migration* migration,
                                               Handle opening) {
  if (IsMigrating(handle, migration)) {
    std::erase(sessions_.Get(handle)->migration->openings, opening);
  }
}

bool SessionRegistry::IsMigrating(Handle handle, const Migration* migration) {
  const Session* session = sessions_.Get(handle);
  return session != nullptr && session->migration != nullptr &&
         session->migration->state.get() == migration;
}

void SessionRegistry::FailMigration(Handle handle, const Migration* migration,
                                    CloseReason reason) {
  if (IsMigrating(handle, migration)) {
    EndMigration(sessions_.Get(handle), MigrationResult::kFailed, reason);
  }
}

void SessionRegistry::OnMigrateCancel(Channel* channel) {
  Session* session = sessions_.Get(channel->session());
  if (session != nullptr && session->main == channel->handle() &&
      session->migration != nullptr) {
    EndMigration(session, MigrationResult::kCancelled, std::nullopt);
  }
}

void SessionRegistry::OnMigrationReply(Channel* channel, uint16_t type) {
  Session* session = sessions_.Get(channel->session());
  if (session == nullptr || session->main != channel->handle() ||
      session->migration == nullptr) {
    return;
  }
  session->num_announced = 0;
  // It says so once all its links are through. One that came behind would find
  // a destination that has begun, and could leave a display there without INIT.
  if (type == proto::kMsgcMainMigrateConnectError ||
      !session->migration->openings.empty()) {
    EndMigration(session, MigrationResult::kFailed, CloseReason::kClientClosed);
  }
}

void SessionRegistry::OnDestinationTaken(Channel* channel) {
  Session* session = sessions_.Get(channel->session());
  if (session == nullptr || session->ending.has_value()) {
    return;
  }
  if (IsPending(*session, *channel)) {
    CompleteMigration(session);
  }
  // From now on the destination has the channels that waited there.
  const std::vector<Handle> channels = session->channels;
  for (const Handle handle : channels) {
    Channel* other = channels_.Get(handle);
    if (other->leads_to_destination() &&
        other->migration() == channel->migration()) {
      other->BeginAtDestination();
    }
  }
}

void SessionRegistry::OnClosingInMigration(Session* session, Channel* channel,
                                           CloseReason reason) {
  // A channel that leaves the destination before MIGRATE_END comes would crash
  // it (docs/architecture.md): its main goes at once, too.
  if (IsPending(*session, *channel)) {
    EndMigration(session, MigrationResult::kFailed, reason);
    return;
  }
  if (session->migration == nullptr) {
    // Completed, but without the client's word yet. Channels of one that came
    // to nothing end here, too.
    const Migration* last = channel->migration();
    const Channel* main = channels_.Get(session->main);
    if (last != nullptr && channel->leads_to_destination() && main != channel &&
        main != nullptr && main->migration() == last &&
        main->leads_to_destination() && !last->is_seamless() &&
        last->phase() != Migration::Phase::kTaken) {
      EndSession(channel->session(), reason);
    }
    return;
  }
  // The source's sockets are closed as soon as it has handed over, which may
  // be seen before the client's first word to the destination is.
  if (session->main == channel->handle() &&
      session->migration->state->phase() == Migration::Phase::kHandedOver &&
      channels_.Get(session->migration->main) != nullptr) {
    CompleteMigration(session);
  }
}

void SessionRegistry::CompleteMigration(Session* session) {
  const std::unique_ptr<PendingMigration> migration =
      std::move(session->migration);
  WorkerCounters* const counters = relay_.pumps.counters;
  Channel* source = channels_.Get(session->main);
  Channel* destination = channels_.Get(migration->main);
  CHECK(source != nullptr && destination != nullptr);
  if (migration->state->is_seamless()) {
    destination->TakeOverAgentFrom(*source);
  }
  session->main = migration->main;
  session->terms.target = migration->departure.target;
  counters->migrations_pending.Add(-1);
  RecordMigration(session->terms.target.console->name, session->terms.client,
                  migration->state->kind(), MigrationResult::kCompleted,
                  std::nullopt, migration->departure);
}

void SessionRegistry::EndMigration(Session* session, MigrationResult result,
                                   std::optional<CloseReason> reason) {
  const std::unique_ptr<PendingMigration> migration =
      std::move(session->migration);
  relay_.pumps.counters->migrations_pending.Add(-1);
  RecordMigration(session->terms.target.console->name, session->terms.client,
                  migration->state->kind(), result, reason,
                  migration->departure);
  retired_.push_back(migration->state);
  for (const Handle opening : migration->openings) {
    openings_->Interrupt(opening);
  }
  // Main first: without it the destination forgets the others, whatever they
  // were about to do.
  if (Channel* main = channels_.Get(migration->main)) {
    main->Close(CloseReason::kMigrationOver);
  }
  const std::vector<Handle> channels = session->channels;
  for (const Handle handle : channels) {
    Channel* channel = channels_.Get(handle);
    if (channel == nullptr || channel->migration() != migration->state.get()) {
      continue;
    }
    if (channel->leads_to_destination()) {
      channel->Close(CloseReason::kMigrationOver);
    } else {
      channel->FollowMigration(nullptr);
    }
  }
}

void SessionRegistry::RecordMigration(const std::string& console,
                                      const std::string& client,
                                      MigrationKind kind,
                                      MigrationResult result,
                                      std::optional<CloseReason> reason,
                                      const Departure& departure) {
  WorkerCounters* const counters = relay_.pumps.counters;
  const int64_t duration_ms = relay_.timers->now_ms() - departure.started_ms;
  counters->migrations[static_cast<size_t>(kind)][static_cast<size_t>(result)]
      .Add(1);
  if (result == MigrationResult::kCompleted) {
    const auto bucket = std::lower_bound(
        kMigrationBucketsMs.begin(), kMigrationBucketsMs.end(), duration_ms);
    counters
        ->migration_durations[static_cast<size_t>(bucket -
                                                  kMigrationBucketsMs.begin())]
        .Add(1);
    counters->migration_duration_ms.Add(duration_ms);
  }
  LogLine line(LogLevel::kInfo, "migration");
  line.Str("console", console)
      .Str("client", client)
      .Str("kind", MigrationKindName(kind))
      .Str("result", MigrationResultName(result));
  if (reason.has_value()) {
    line.Str("reason", CloseReasonName(*reason));
  }
  line.Str("from", departure.from)
      .Str("to", departure.to)
      .Int("duration_ms", duration_ms);
}

std::optional<ConsoleTarget> SessionRegistry::SwitchedTo(
    const TicketDigest& ticket) {
  if (const Departure* departure = returning_.Find(ticket)) {
    return departure->target;
  }
  // The client may be back before its old connections are gone.
  const auto live = by_ticket_.find(ticket);
  if (live == by_ticket_.end()) {
    return std::nullopt;
  }
  const Session* session = sessions_.Get(live->second);
  if (session->switched == nullptr) {
    return std::nullopt;
  }
  return session->switched->target;
}

void SessionRegistry::AwaitReturn(Session* session) {
  if (session->switched == nullptr) {
    return;
  }
  relay_.pumps.counters->migrations_pending.Add(1);
  ReturningClient client;
  client.ticket = std::move(session->ticket);
  client.console = session->terms.target.console->name;
  client.client = session->terms.client;
  client.departure = *session->switched;
  returning_.Await(std::move(client));
}

void SessionRegistry::OnReturned(const ReturningClient& client,
                                 MigrationResult result) {
  relay_.pumps.counters->migrations_pending.Add(-1);
  RecordMigration(client.console, client.client, MigrationKind::kSwitchHost,
                  result, std::nullopt, client.departure);
}

CloseReason SessionRegistry::MigrationReason(const Channel& channel,
                                             CloseReason reason) {
  const Session* session = sessions_.Get(channel.session());
  const Migration* migration = channel.migration();
  if (session == nullptr || session->main == channel.handle() ||
      migration == nullptr || channel.leads_to_destination()) {
    return reason;
  }
  const bool handed_over =
      migration->phase() >= Migration::Phase::kHandedOver ||
      migration->MayTalk(channel.key());
  switch (reason) {
    // The source lets go, or the client does, once the session is elsewhere.
    case CloseReason::kClientClosed:
    case CloseReason::kServerClosed:
    case CloseReason::kClientReset:
    case CloseReason::kServerReset:
      return handed_over ? CloseReason::kMigrated : reason;
    default:
      return reason;
  }
}

}  // namespace spicegate
