// SPDX-License-Identifier: Apache-2.0
//
// The sessions whose home is this worker, and their channels. A session begins
// with its main channel and ends with it: everything of it is closed then.
#ifndef SPICEGATE_GATEWAY_SESSION_REGISTRY_H_
#define SPICEGATE_GATEWAY_SESSION_REGISTRY_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "gateway/auth/vault.h"
#include "gateway/base/close_reason.h"
#include "gateway/base/counters.h"
#include "gateway/base/handle.h"
#include "gateway/base/slab.h"
#include "gateway/console/destinations.h"
#include "gateway/console/policy.h"
#include "gateway/relay/channel.h"
#include "gateway/relay/main_inspector.h"
#include "gateway/relay/migration.h"
#include "gateway/server_link/server_link.h"
#include "gateway/session/opening.h"
#include "gateway/session/passage.h"
#include "gateway/session/returning_clients.h"
#include "gateway/session/run_queue.h"

namespace spicegate {

// What a session's channels have moved, by type.
struct SessionBytes {
  std::array<int64_t, kNumChannelTypes> to_server{};
  std::array<int64_t, kNumChannelTypes> to_client{};
};

// A session's migration while its client keeps the connections to the source.
struct PendingMigration {
  std::shared_ptr<Migration> state;
  Departure departure;
  bool main_came = false;        // the client's main link to the destination
  Handle main;                   // ... once it is relayed
  std::vector<Handle> openings;  // links to the destination under way
};

// What a session begins with.
struct SessionTerms {
  ConsoleTarget target;
  Policy policy;
  std::string client;  // address of the main channel's client
  bool client_tls = false;
  bool tunnel = false;  // its channels are tunnels, equal to each other
  std::shared_ptr<const PassageTerms> passage;  // where it came by CONNECT
};

// One person at one desktop. Tunnels have no main channel: their session ends
// with the last of them.
struct Session {
  TicketClaim ticket;
  // Where its other channels go, whatever the directory says by then.
  SessionTerms terms;
  std::optional<uint32_t> connection_id;  // from the server's INIT
  Handle main;
  std::vector<Handle> channels;  // main among them
  std::vector<Handle> openings;  // links of it under way
  int num_early_dials = 0;       // under way or in vain (early_dial.h)
  int64_t started_ms = 0;
  // Of channels that have ended; made by the first one.
  std::unique_ptr<SessionBytes> bytes;
  std::optional<CloseReason> ending;  // main is gone; the rest follows
  std::unique_ptr<PendingMigration> migration;
  std::unique_ptr<Departure> switched;  // told to come back, and where it leads
  int num_announced = 0;  // migrations that the client has not answered
  int num_lingering = 0;  // of `channels`: without their client
  bool guard_logged = false;
  RoundShare share;        // of all its channels
  RoundShare share_ahead;  // of those that run ahead of the others
};

// Told which sessions can be named by their connection_id, from inside the
// registry's calls. Changes no session from there.
class SessionWatcher {
 public:
  virtual void OnSessionNamed(Handle session, uint32_t connection_id) = 0;
  // Once for each one that was named.
  virtual void OnSessionEnding(Handle session, uint32_t connection_id) = 0;

 protected:
  ~SessionWatcher() = default;
};

// What migrations are held against. Immutable.
struct MigrationSettings {
  Destinations destinations;
  PublicPlace place;
};

// Where a link of a session goes.
struct Route {
  ConsoleTarget target;
  std::shared_ptr<Migration> destination_of;  // null: to the session's server
  std::optional<CloseReason> refusal;
};

class SessionRegistry final : private ChannelOwner {
 public:
  // `links_open` is the process's count of client connections. All outlive it.
  SessionRegistry(const RelayContext& relay, OpeningTable* openings,
                  std::atomic<int64_t>* links_open,
                  const MigrationSettings* migrations);
  ~SessionRegistry();
  SessionRegistry(const SessionRegistry&) = delete;
  SessionRegistry& operator=(const SessionRegistry&) = delete;

  // A new session, once the server has accepted its main link. A session that
  // lives with the same ticket is closed: QEMU drops it anyway.
  Handle BeginSession(TicketClaim ticket, SessionTerms terms);

  // The session of the tunnels with this ticket; a new one with these terms
  // when there is none.
  Handle JoinTunnels(TicketClaim ticket, SessionTerms terms);

  // Keeps what says that a channel's connection to its server is ours, for as
  // long as the channel is there. Right after its AddChannel.
  void KeepMark(Handle channel, OwnSocketMark mark);

  // Where a new session with this ticket goes, if the server of the one before
  // it has sent its client there.
  std::optional<ConsoleTarget> SwitchedTo(const TicketDigest& ticket);

  // Where a further link of a living session goes: to its server, or to the
  // destination of its migration while the client links there. A main link
  // counts as the only one of that migration from here on.
  Route RouteOf(Handle session, proto::ChannelType type);

  // What the guard says to a fresh display's INIT, which comes before there is
  // a channel with a guard of its own. Counts and logs what is wrong.
  bool AllowsInit(Handle session, std::span<const uint8_t> message,
                  proto::HeaderKind kind);

  // For one more channel; twice as many while it migrates.
  bool HasRoom(const Session& session) const;

  // A link to that migration's destination is under way.
  void AddDestinationOpening(Handle session, const Migration* migration,
                             Handle opening);
  // It is through, or has failed: then the migration has, too.
  void RemoveDestinationOpening(Handle session, const Migration* migration,
                                Handle opening);
  bool IsMigrating(Handle session, const Migration* migration);
  void FailMigration(Handle session, const Migration* migration,
                     CloseReason reason);

  // Counts the main links of a ticket that are under way. False when there are
  // kMaxMainsOpening already.
  bool AddOpeningMain(const TicketDigest& ticket);
  void RemoveOpeningMain(const TicketDigest& ticket);

  // The living session with this ticket whose server named `connection_id`.
  // Null: none. Nothing else ties a channel to a session.
  Handle FindSession(const TicketDigest& ticket, uint32_t connection_id);

  Session* Get(Handle session) { return sessions_.Get(session); }

  // Null for none.
  void set_watcher(SessionWatcher* watcher) { watcher_ = watcher; }

  // Joins the legs and starts to relay. A session that has ended meanwhile
  // closes the channel at once, in its server's safe way. So does a migration
  // whose destination the channel leads to, and that is over. `bytes_sent`
  // counts what the client's opening has sent to the server already. The
  // channel may have ended when it returns; it is there until the next turn.
  Handle AddChannel(Handle session, proto::ChannelKey key,
                    proto::HeaderKind header_kind, Leg client, Leg server,
                    std::shared_ptr<Migration> destination_of,
                    size_t bytes_sent);

  // Once a turn of the loop: runs channels that have bytes to move, fairly and
  // about kTurnBytes of them, and frees those that ended. True when it should
  // be called again after no more than a look for new work.
  bool RunTurn();

  // Ends the sessions of one console; returns how many.
  int64_t CloseConsole(const std::string& console, CloseReason reason);

  // Ends every session. Displays may linger; done() tells when all are gone.
  void CloseAll(CloseReason reason);
  // Closes what lingers, unsafely: the process has no more time.
  void GiveUpLingering();
  bool done() const { return channels_.size() == 0; }

 private:
  // ChannelOwner.
  void OnMainInit(Channel* channel, uint32_t session_id) override;
  void OnChannelClosing(Channel* channel, CloseReason reason) override;
  void OnChannelEnded(Channel* channel) override;
  void OnChannelYielded(Channel* channel) override;
  bool MayRunAhead(Channel* channel) override;
  void OnChannelRanAhead(Channel* channel, size_t bytes) override;
  void OnGuardRefusal(Channel* channel, std::optional<GuardRule> rule,
                      const proto::DataHeader& header) override;
  void LogRefusal(Session* session, proto::ChannelType type,
                  std::string_view rule, const proto::DataHeader& header);
  proto::DstInfo OnMigrateTo(Channel* channel, MigrationKind kind,
                             const proto::DstInfo& to) override;
  void OnMigrateCancel(Channel* channel) override;
  void OnMigrationReply(Channel* channel, uint16_t type) override;
  void OnDestinationTaken(Channel* channel) override;

  // Of migrations: registry_migration.cc.
  Departure DepartureTo(const Session& session, const proto::DstInfo& to) const;
  proto::DstInfo PlaceFor(const Session* session,
                          const proto::DstInfo& to) const;
  void BeginMigration(Session* session, MigrationKind kind,
                      Departure departure);
  // The session goes on at the destination.
  void CompleteMigration(Session* session);
  void EndMigration(Session* session, MigrationResult result,
                    std::optional<CloseReason> reason);
  void RecordMigration(const std::string& console, const std::string& client,
                       MigrationKind kind, MigrationResult result,
                       std::optional<CloseReason> reason,
                       const Departure& departure);
  // Keeps the ticket of a session whose client was sent elsewhere.
  void AwaitReturn(Session* session);
  // It came back, or did not.
  void OnReturned(const ReturningClient& client, MigrationResult result);
  // The channel leads to the destination of the migration that is pending.
  static bool IsPending(const Session& session, const Channel& channel);
  void OnClosingInMigration(Session* session, Channel* channel,
                            CloseReason reason);
  // The reason of a channel that ends, as its session sees it.
  CloseReason MigrationReason(const Channel& channel, CloseReason reason);

  // A session in the tables, with its ticket in use.
  Handle MakeSession(TicketClaim ticket, SessionTerms terms);
  // Where a session that came by CONNECT may migrate. Sets what holds for each
  // address that the place may resolve to.
  static bool MayMigrate(const Session& session, const proto::DstInfo& to,
                         std::shared_ptr<const AddressFilter>* may_dial);
  // One client connection less, for the limit.
  void ForgetLink();
  // Enters a new channel into its session.
  void List(Session* session, Channel* channel, Handle handle);
  // What a main channel's end is to its session.
  CloseReason SessionReason(const Session& session, CloseReason reason) const;
  void EndSession(Handle handle, CloseReason reason);
  void ForgetIfOver(Handle handle);
  // Gives one channel its turn; returns the bytes it moved.
  size_t RunOne(RunQueue::Entry entry);
  void LogEnd(const Session& session) const;

  const RelayContext relay_;
  OpeningTable* const openings_;
  std::atomic<int64_t>* const links_open_;
  const MigrationSettings* const migration_settings_;
  SessionWatcher* watcher_ = nullptr;
  Slab<Session> sessions_;
  Slab<Channel> channels_;
  absl::flat_hash_map<TicketDigest, Handle> by_ticket_;
  absl::flat_hash_map<TicketDigest, Handle> tunnels_;  // sessions of tunnels
  absl::flat_hash_map<TicketDigest, int> mains_opening_;
  ReturningClients returning_;
  // Whose words the client was told last (OnMigrateTo).
  std::shared_ptr<const PassageTerms> told_;
  // Of channels whose server may be watched for connections of others.
  absl::flat_hash_map<uint32_t, OwnSocketMark> marks_;  // by slot
  // Over, but perhaps still in the hands of a channel's filter.
  std::vector<std::shared_ptr<Migration>> retired_;
  RunQueue run_queue_;
  Handle running_;  // the channel whose turn it is
  std::vector<Handle> ended_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_REGISTRY_H_
