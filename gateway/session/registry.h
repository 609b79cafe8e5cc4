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

namespace spicegate {

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
  int64_t started_ms = 0;
  std::array<int64_t, kNumChannelTypes> bytes_to_server{};
  std::array<int64_t, kNumChannelTypes> bytes_to_client{};
  std::optional<CloseReason> ending;  // main is gone; the rest follows
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

  // Joins the legs and starts to relay. A session that has ended meanwhile
  // closes the channel at once, in its server's safe way. `bytes_sent` counts
  // what the client's opening has sent to the server already.
  void AddChannel(Handle session, proto::ChannelKey key,
                  proto::HeaderKind header_kind, Leg client, Leg server,
                  size_t bytes_sent);

  // Once a turn of the loop: goes on with channels that used up their quantum
  // and frees those that ended. True when it should be called again at once.
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

  // What a main channel's end is to its session.
  CloseReason SessionReason(const Session& session, CloseReason reason) const;
  void EndSession(Handle handle, CloseReason reason);
  void ForgetIfOver(Handle handle);
  void LogEnd(const Session& session) const;

  const RelayContext relay_;
  OpeningTable* const openings_;
  std::atomic<int64_t>* const links_open_;
  Slab<Session> sessions_;
  Slab<Channel> channels_;
  absl::flat_hash_map<TicketDigest, Handle> by_ticket_;
  absl::flat_hash_map<TicketDigest, int> mains_opening_;
  std::vector<Handle> yielded_;
  std::vector<Handle> ended_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_REGISTRY_H_
