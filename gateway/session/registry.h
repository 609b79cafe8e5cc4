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
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "gateway/auth/vault.h"
#include "gateway/base/close_reason.h"
#include "gateway/base/counters.h"
#include "gateway/base/handle.h"
#include "gateway/base/slab.h"
#include "gateway/relay/channel.h"
#include "gateway/server_link/server_link.h"
#include "gateway/session/opening.h"
#include "gateway/session/run_queue.h"

namespace spicegate {

// What a session's channels have moved, by type.
struct SessionBytes {
  std::array<int64_t, kNumChannelTypes> to_server{};
  std::array<int64_t, kNumChannelTypes> to_client{};
};

// One person at one desktop.
struct Session {
  TicketClaim ticket;
  ConsoleTarget target;  // where its other channels go, whatever the
                         // directory says by then
  std::string client;    // address of the main channel's client
  std::optional<uint32_t> connection_id;  // from the server's INIT
  Handle main;
  std::vector<Handle> channels;  // main among them
  std::vector<Handle> openings;  // links of it under way
  int num_early_dials = 0;       // under way or in vain (early_dial.h)
  int64_t started_ms = 0;
  // Of channels that have ended; made by the first one.
  std::unique_ptr<SessionBytes> bytes;
  std::optional<CloseReason> ending;  // main is gone; the rest follows
  RoundShare share;                   // of all its channels
  RoundShare share_ahead;             // of those that run ahead of the others
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

class SessionRegistry final : private ChannelOwner {
 public:
  // `links_open` is the process's count of client connections. All outlive it.
  SessionRegistry(const RelayContext& relay, OpeningTable* openings,
                  std::atomic<int64_t>* links_open);
  ~SessionRegistry();
  SessionRegistry(const SessionRegistry&) = delete;
  SessionRegistry& operator=(const SessionRegistry&) = delete;

  // A new session, once the server has accepted its main link. A session that
  // lives with the same ticket is closed: QEMU drops it anyway.
  Handle BeginSession(TicketClaim ticket, ConsoleTarget target,
                      const std::string& client);

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
  // closes the channel at once, in its server's safe way. `bytes_sent` counts
  // what the client's opening has sent to the server already.
  void AddChannel(Handle session, proto::ChannelKey key,
                  proto::HeaderKind header_kind, Leg client, Leg server,
                  size_t bytes_sent);

  // Once a turn of the loop: runs channels that have bytes to move, fairly and
  // about kTurnBytes of them, and frees those that ended. True when it should
  // be called again after no more than a look for new work.
  bool RunTurn();

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
  SessionWatcher* watcher_ = nullptr;
  Slab<Session> sessions_;
  Slab<Channel> channels_;
  absl::flat_hash_map<TicketDigest, Handle> by_ticket_;
  absl::flat_hash_map<TicketDigest, int> mains_opening_;
  RunQueue run_queue_;
  Handle running_;  // the channel whose turn it is
  std::vector<Handle> ended_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_REGISTRY_H_
