// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/registry.h"

#include <algorithm>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/log.h"

namespace spicegate {
namespace {

// Bounds of the slabs: more than a process can have descriptors for.
constexpr size_t kMaxSessions = size_t{1} << 20;
constexpr size_t kMaxChannels = size_t{1} << 22;

size_t IndexOf(const Channel& channel) {
  return static_cast<size_t>(channel.key().type);
}

}  // namespace

SessionRegistry::SessionRegistry(const RelayContext& relay,
                                 OpeningTable* openings,
                                 std::atomic<int64_t>* links_open,
                                 const MigrationSettings* migrations)
    : relay_(relay),
      openings_(openings),
      links_open_(links_open),
      migration_settings_(migrations),
      sessions_(kMaxSessions),
      channels_(kMaxChannels),
      returning_(relay_.timers, [this](const ReturningClient& client) {
        OnReturned(client, MigrationResult::kFailed);
      }) {}

SessionRegistry::~SessionRegistry() { CHECK(channels_.size() == 0); }

Handle SessionRegistry::BeginSession(TicketClaim ticket, SessionTerms terms) {
  const TicketDigest digest = ticket.digest();
  if (const auto old = by_ticket_.find(digest); old != by_ticket_.end()) {
    const Handle replaced = old->second;
    const bool switched = sessions_.Get(replaced)->switched != nullptr;
    EndSession(replaced,
               switched ? CloseReason::kMigrated : CloseReason::kReplaced);
  }
  if (const auto returned = returning_.Take(digest)) {
    OnReturned(*returned, MigrationResult::kCompleted);
  }
  const Handle handle = MakeSession(std::move(ticket), std::move(terms));
  by_ticket_.emplace(digest, handle);
  return handle;
}

Handle SessionRegistry::MakeSession(TicketClaim ticket, SessionTerms terms) {
  const Handle handle = sessions_.Emplace();
  CHECK(handle);
  Session* session = sessions_.Get(handle);
  ticket.MarkUsed();
  session->ticket = std::move(ticket);
  session->terms = std::move(terms);
  session->started_ms = relay_.timers->now_ms();
  relay_.pumps.counters->sessions_opened.Add(1);
  relay_.pumps.counters->sessions_open.Add(1);
  return handle;
}

Handle SessionRegistry::JoinTunnels(TicketClaim ticket, SessionTerms terms) {
  const TicketDigest digest = ticket.digest();
  const auto found = tunnels_.find(digest);
  if (found != tunnels_.end()) {
    return found->second;
  }
  const Handle handle = MakeSession(std::move(ticket), std::move(terms));
  tunnels_.emplace(digest, handle);
  return handle;
}

void SessionRegistry::KeepMark(Handle channel, OwnSocketMark mark) {
  if (mark && channels_.Get(channel) != nullptr) {
    marks_.insert_or_assign(channel.slot, std::move(mark));
  }
}

bool SessionRegistry::HasRoom(const Session& session) const {
  const int64_t num_channels =
      static_cast<int64_t>(session.channels.size() + session.openings.size()) -
      session.num_lingering;
  const int num_servers = session.migration != nullptr ? 2 : 1;
  return num_channels < num_servers * relay_.limits->max_channels_per_session;
}

bool SessionRegistry::AddOpeningMain(const TicketDigest& ticket) {
  int& num = mains_opening_[ticket];
  if (num == kMaxMainsOpening) {
    return false;
  }
  ++num;
  return true;
}

void SessionRegistry::RemoveOpeningMain(const TicketDigest& ticket) {
  const auto found = mains_opening_.find(ticket);
  CHECK(found != mains_opening_.end() && found->second > 0);
  if (--found->second == 0) {
    mains_opening_.erase(found);
  }
}

Handle SessionRegistry::FindSession(const TicketDigest& ticket,
                                    uint32_t connection_id) {
  const auto found = by_ticket_.find(ticket);
  if (found == by_ticket_.end()) {
    return Handle{};
  }
  const Session* session = sessions_.Get(found->second);
  CHECK(session != nullptr && !session->ending.has_value());
  return session->connection_id == connection_id ? found->second : Handle{};
}

Handle SessionRegistry::AddChannel(Handle session_handle, proto::ChannelKey key,
                                   proto::HeaderKind header_kind, Leg client,
                                   Leg server,
                                   std::shared_ptr<Migration> destination_of,
                                   size_t bytes_sent) {
  client.BeginRelaying(relay_.pumps.counters);
  server.BeginRelaying(relay_.pumps.counters);
  Session* session = sessions_.Get(session_handle);
  ChannelRules rules;
  if (session != nullptr) {
    rules.guard = session->terms.tunnel ? GuardMode::kOff
                                        : session->terms.target.console->guard;
    rules.policy = session->terms.policy;
  }
  rules.destination_of = destination_of;
  rules.mute = session == nullptr || session->ending.has_value() ||
               (destination_of != nullptr &&
                !IsMigrating(session_handle, destination_of.get()));
  const Handle handle = channels_.Emplace(
      &relay_, static_cast<ChannelOwner*>(this), key, header_kind,
      std::move(client), std::move(server), rules, bytes_sent);
  CHECK(handle);
  Channel* channel = channels_.Get(handle);
  relay_.pumps.counters->channels_opened[IndexOf(*channel)].Add(1);
  relay_.pumps.counters->channels_open[IndexOf(*channel)].Add(1);
  if (session != nullptr) {
    List(session, channel, handle);
  }
  channel->Start(handle, session_handle);
  session = sessions_.Get(session_handle);  // Start may have ended it
  if (session == nullptr || session->ending.has_value()) {
    channel->Close(CloseReason::kSessionOver);
  } else if (destination_of != nullptr && !IsPending(*session, *channel)) {
    if (destination_of->phase() == Migration::Phase::kTaken) {
      channel->BeginAtDestination();  // so that it is left safely
    }
    channel->Close(CloseReason::kMigrationOver);
  }
  return handle;
}

void SessionRegistry::List(Session* session, Channel* channel, Handle handle) {
  session->channels.push_back(handle);
  const bool is_main = channel->key().type == proto::ChannelType::kMain;
  if (channel->leads_to_destination()) {
    if (is_main && IsPending(*session, *channel)) {
      session->migration->main = handle;
    }
    return;
  }
  if (is_main) {
    session->main = handle;
  } else if (session->migration != nullptr) {
    channel->FollowMigration(session->migration->state);
  }
}

bool SessionRegistry::RunTurn() {
  size_t moved = 0;
  while (moved < kTurnBytes) {
    const std::optional<RunQueue::Entry> entry = run_queue_.Next();
    if (!entry.has_value()) {
      run_queue_.BeginRound();
      break;
    }
    moved += RunOne(*entry);
  }
  const std::vector<Handle> ended = std::exchange(ended_, {});
  for (const Handle handle : ended) {
    channels_.Erase(handle);
    marks_.erase(handle.slot);
  }
  retired_.clear();
  return !run_queue_.empty() || !ended_.empty();
}

size_t SessionRegistry::RunOne(RunQueue::Entry entry) {
  Channel* channel = channels_.Get(entry.channel);
  if (channel == nullptr) {
    return 0;
  }
  const Handle session_handle = channel->session();
  Session* session = sessions_.Get(session_handle);
  const bool ahead = entry.urgency == Urgency::kInteractive;
  if (session != nullptr &&
      run_queue_.Defer(entry, ahead ? session->share_ahead : session->share)) {
    return 0;
  }
  running_ = entry.channel;
  const size_t moved = channel->RunAgain();
  running_ = Handle{};
  session = sessions_.Get(session_handle);  // it may have ended with that
  if (session != nullptr) {
    run_queue_.Charge(&session->share, moved);
    if (ahead) {
      run_queue_.Charge(&session->share_ahead, moved);
    }
  }
  return moved;
}

int64_t SessionRegistry::CloseConsole(const std::string& console,
                                      CloseReason reason) {
  int64_t num_closed = 0;
  for (const Handle handle : sessions_.Handles()) {
    const Session* session = sessions_.Get(handle);
    if (session != nullptr && !session->ending.has_value() &&
        session->terms.target.console->name == console) {
      EndSession(handle, reason);
      ++num_closed;
    }
  }
  return num_closed;
}

void SessionRegistry::CloseAll(CloseReason reason) {
  for (const Handle handle : sessions_.Handles()) {
    EndSession(handle, reason);
  }
}

void SessionRegistry::GiveUpLingering() {
  for (const Handle handle : channels_.Handles()) {
    channels_.Get(handle)->GiveUp();
  }
}

void SessionRegistry::OnMainInit(Channel* channel, uint32_t session_id) {
  // Again at the destination of a migration that was not seamless, and whenever
  // a hostile server likes.
  Session* session = sessions_.Get(channel->session());
  if (session == nullptr || session->main != channel->handle() ||
      session->connection_id == session_id) {
    return;
  }
  const auto old = std::exchange(session->connection_id, session_id);
  if (watcher_ == nullptr || session->ending.has_value()) {
    return;
  }
  if (old.has_value()) {
    watcher_->OnSessionEnding(channel->session(), *old);
  }
  watcher_->OnSessionNamed(channel->session(), session_id);
}

void SessionRegistry::ForgetLink() {
  relay_.pumps.counters->links_open.Add(-1);
  links_open_->fetch_sub(1, std::memory_order_relaxed);
}

void SessionRegistry::OnChannelClosing(Channel* channel, CloseReason reason) {
  // A tunnel counts until it has lingered: each does, and for long.
  if (channel->key().type != proto::ChannelType::kTunnel) {
    ForgetLink();
  }
  Session* session = sessions_.Get(channel->session());
  if (session != nullptr) {
    ++session->num_lingering;
  }
  if (session != nullptr && !session->ending.has_value()) {
    OnClosingInMigration(session, channel, reason);
  }
  reason = MigrationReason(*channel, reason);
  if (session != nullptr && session->main == channel->handle()) {
    reason = SessionReason(*session, reason);
    EndSession(channel->session(), reason);
  }
  relay_.pumps.counters->channels_closed[static_cast<size_t>(reason)].Add(1);
}

CloseReason SessionRegistry::SessionReason(const Session& session,
                                           CloseReason reason) const {
  // A server drops the old session as soon as it has accepted a new main, which
  // may show before the new one's link is through.
  const bool by_server = reason == CloseReason::kServerClosed ||
                         reason == CloseReason::kServerReset;
  if (session.switched != nullptr &&
      (by_server || reason == CloseReason::kClientClosed ||
       reason == CloseReason::kClientReset)) {
    return CloseReason::kMigrated;
  }
  return by_server && mains_opening_.contains(session.ticket.digest())
             ? CloseReason::kReplaced
             : reason;
}

void SessionRegistry::EndSession(Handle handle, CloseReason reason) {
  Session* session = sessions_.Get(handle);
  if (session == nullptr || session->ending.has_value()) {
    return;
  }
  session->ending = reason;
  (session->terms.tunnel ? tunnels_ : by_ticket_)
      .erase(session->ticket.digest());
  if (session->migration != nullptr) {
    EndMigration(session, MigrationResult::kFailed, reason);
  }
  AwaitReturn(session);
  session->ticket.Release();
  relay_.pumps.counters->sessions_open.Add(-1);
  if (watcher_ != nullptr && session->connection_id.has_value()) {
    watcher_->OnSessionEnding(handle, *session->connection_id);
  }
  for (const Handle opening : session->openings) {
    openings_->Interrupt(opening);
  }
  // A copy: channels leave the list while they close.
  const std::vector<Handle> channels = session->channels;
  for (const Handle channel_handle : channels) {
    Channel* channel = channels_.Get(channel_handle);
    if (channel != nullptr) {
      const bool is_main =
          channel_handle == session->main || session->terms.tunnel;
      channel->Close(is_main ? reason : CloseReason::kSessionOver);
    }
  }
  ForgetIfOver(handle);
}

void SessionRegistry::OnChannelEnded(Channel* channel) {
  relay_.pumps.counters->channels_open[IndexOf(*channel)].Add(-1);
  if (channel->key().type == proto::ChannelType::kTunnel) {
    ForgetLink();
  }
  ended_.push_back(channel->handle());
  Session* session = sessions_.Get(channel->session());
  if (session == nullptr) {
    return;
  }
  if (session->bytes == nullptr) {
    session->bytes = std::make_unique<SessionBytes>();
  }
  session->bytes->to_server[IndexOf(*channel)] += channel->bytes_to_server();
  session->bytes->to_client[IndexOf(*channel)] += channel->bytes_to_client();
  std::erase(session->channels, channel->handle());
  --session->num_lingering;
  if (session->terms.tunnel && session->channels.empty()) {
    EndSession(channel->session(), channel->reason());
  }
  ForgetIfOver(channel->session());
}

void SessionRegistry::OnChannelYielded(Channel* channel) {
  const RunQueue::Entry entry{channel->handle(),
                              UrgencyOf(channel->key().type)};
  if (channel->handle() == running_) {
    run_queue_.AddAgain(entry);
  } else {
    run_queue_.Add(entry);
  }
}

bool SessionRegistry::MayRunAhead(Channel* channel) {
  const Session* session = sessions_.Get(channel->session());
  // Its display's flood must not hold up its keystrokes, so that what runs
  // ahead has a share of its own.
  return session == nullptr || !run_queue_.IsSpent(session->share_ahead);
}

void SessionRegistry::OnChannelRanAhead(Channel* channel, size_t bytes) {
  if (Session* session = sessions_.Get(channel->session())) {
    run_queue_.Charge(&session->share_ahead, bytes);
    run_queue_.Charge(&session->share, bytes);
  }
}

void SessionRegistry::ForgetIfOver(Handle handle) {
  Session* session = sessions_.Get(handle);
  if (session != nullptr && session->ending.has_value() &&
      session->channels.empty()) {
    LogEnd(*session);
    sessions_.Erase(handle);
  }
}

void SessionRegistry::LogEnd(const Session& session) const {
  const SessionBytes none;
  const SessionBytes& moved = session.bytes != nullptr ? *session.bytes : none;
  std::string bytes = "{";
  for (size_t type = 0; type < kNumChannelTypes; ++type) {
    if (moved.to_server[type] + moved.to_client[type] == 0) {
      continue;
    }
    if (bytes.size() > 1) {
      bytes += ',';
    }
    AppendJsonString(proto::ChannelName(static_cast<proto::ChannelType>(type)),
                     &bytes);
    bytes += ":{\"client_to_server\":";
    bytes += std::to_string(moved.to_server[type]);
    bytes += ",\"server_to_client\":";
    bytes += std::to_string(moved.to_client[type]);
    bytes += '}';
  }
  bytes += '}';
  LogLine line(LogLevel::kInfo, "session_end");
  line.Str("console", session.terms.target.console->name)
      .Str("client", session.terms.client);
  if (session.terms.tunnel) {
    line.Str("kind", "tunnel");
  } else if (session.terms.passage != nullptr) {
    line.Str("via", "connect");
  }
  line.Int("duration_ms", relay_.timers->now_ms() - session.started_ms)
      .Str("reason", CloseReasonName(*session.ending))
      .Raw("bytes", bytes);
}

}  // namespace spicegate
