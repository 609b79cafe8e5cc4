// SPDX-License-Identifier: Apache-2.0
//
// A client's leg and a server's leg joined: two pumps, what they let through,
// the half-close rules and the last rites of the server's leg. So is a tunnel,
// of which nothing is known but how much flows.
//
//   relaying --> (both directions over, a leg failed, the session says so)
//     |             client leg goes at once, FIN or RST as the server did
//     v
//   lingering    a display whose server has not sent its first message:
//     |          closing that leg now would crash QEMU (docs/architecture.md),
//     so it is read and dropped until the message came. A tunnel, which may be
//     such a display: for kTunnelLingerMs or longer
//     v
//   ended        told to the owner, who destroys the channel later
//
// Belongs to its session's home worker.
#ifndef SPICEGATE_GATEWAY_RELAY_CHANNEL_H_
#define SPICEGATE_GATEWAY_RELAY_CHANNEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "gateway/base/close_reason.h"
#include "gateway/base/counters.h"
#include "gateway/base/handle.h"
#include "gateway/base/limits.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/console/policy.h"
#include "gateway/io/leg.h"
#include "gateway/relay/agent_filter.h"
#include "gateway/relay/buffer_pool.h"
#include "gateway/relay/guard.h"
#include "gateway/relay/main_inspector.h"
#include "gateway/relay/migration.h"
#include "gateway/relay/migration_watch.h"
#include "gateway/relay/pipe_pool.h"
#include "gateway/relay/pump.h"
#include "proto/channel.h"
#include "proto/data_header.h"
#include "proto/main_channel.h"

namespace spicegate {

class Channel;

// Whoever keeps channels: the session registry, or a test. Called on the home
// worker. A channel is destroyed later, never from inside such a call.
class ChannelOwner {
 public:
  // Main only, once: the server's INIT passed by, before the client sees it.
  virtual void OnMainInit(Channel* channel, uint32_t session_id) = 0;
  // The client's leg is gone; the server's may linger.
  virtual void OnChannelClosing(Channel* channel, CloseReason reason) = 0;
  // Nothing is left: destroy it soon.
  virtual void OnChannelEnded(Channel* channel) = 0;
  // Call RunAgain when it is this channel's turn: it has more to move than
  // its share at once, or is of a kind that runs behind others.
  virtual void OnChannelYielded(Channel* channel) = 0;
  // An interactive channel is ready: false when it has to wait for its turn
  // like any other (OnChannelYielded follows).
  virtual bool MayRunAhead(Channel*) { return true; }
  // It did run, and moved so much.
  virtual void OnChannelRanAhead(Channel*, size_t) {}

  // A message that broke `rule`; without a rule, one of the server's. Already
  // counted.
  virtual void OnGuardRefusal(Channel*, std::optional<GuardRule>,
                              const proto::DataHeader&) {}
  // The session's server wants its clients elsewhere. Returns what they are to
  // be told instead; views that live until the next call.
  virtual proto::DstInfo OnMigrateTo(Channel*, MigrationKind,
                                     const proto::DstInfo& to) {
    return to;
  }
  virtual void OnMigrateCancel(Channel*) {}
  // What the client told the source of its links to the destination.
  virtual void OnMigrationReply(Channel*, uint16_t) {}
  // Its main channel takes over at the destination.
  virtual void OnDestinationTaken(Channel*) {}

 protected:
  ~ChannelOwner() = default;
};

// What all channels of a worker share; outlives them.
struct RelayContext {
  TimerWheel* timers = nullptr;
  const Limits* limits = nullptr;
  PumpContext pumps;
};

// Who runs first. An interactive channel runs as soon as it is ready, the
// others in this order behind them.
enum class Urgency : uint8_t { kInteractive, kDisplay, kBulk };
inline constexpr size_t kNumUrgencies = 3;

Urgency UrgencyOf(proto::ChannelType type);

// Closing such a channel before its server has said anything crashes QEMU: a
// display in its worker, a port or webdav because the write of its INIT fails
// inside the connect (measured on 7.2). From the ticket on it is seen through.
bool MustHearServer(proto::ChannelType type);

// What a channel's messages are held against.
struct ChannelRules {
  GuardMode guard = GuardMode::kOff;
  Policy policy;
  // Set for a channel that leads to this migration's destination.
  std::shared_ptr<Migration> destination_of;
  // Nothing goes either way: the channel is only there to be ended safely.
  bool mute = false;
};

class Channel final : private PumpOwner,
                      private Waiter,
                      private GuardHost,
                      private InspectorHost {
 public:
  // Both legs are through their links. A display's INIT has been sent to the
  // server whole, unless that is a migration's destination, and nothing of the
  // server's data has been read. `bytes_sent` counts what went from client to
  // server meanwhile.
  Channel(const RelayContext* context, ChannelOwner* owner,
          proto::ChannelKey key, proto::HeaderKind header_kind, Leg client,
          Leg server, const ChannelRules& rules = {}, size_t bytes_sent = 0);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Starts relaying. `self` and `session` are kept for the owner.
  void Start(Handle self, Handle session);

  // Goes on after OnChannelYielded; returns the bytes it moved.
  size_t RunAgain();

  // Ends the channel for a reason of the gateway's own. Harmless when it is
  // ending already.
  void Close(CloseReason reason);

  // Ends a lingering channel now, unsafely: the process has no more time.
  void GiveUp();

  // The session's server has announced a migration; this channel leads to its
  // source. Null: it is over, and nothing has come of it.
  void FollowMigration(std::shared_ptr<Migration> migration);

  // Of the migration that it follows, if any: one that is under way, or the
  // one that has brought the session where it is.
  bool leads_to_destination() const { return destination_; }
  // Of a destination: the client has said there what it owes, its data or, of
  // a display, INIT.
  bool has_begun() const { return migration_->MayTalk(key_) && !OwesInit(); }
  // It leads to a source that the session has left.
  bool left_behind() const {
    return migration_ != nullptr && !destination_ &&
           migration_->phase() == Migration::Phase::kTaken;
  }
  const Migration* migration() const { return migration_.get(); }

  // The destination has been taken over: its server begins with the channel.
  void BeginAtDestination();
  // Both are main: the agent's conversation goes on here.
  void TakeOverAgentFrom(const Channel& source);

  proto::ChannelKey key() const { return key_; }
  Handle handle() const { return self_; }
  Handle session() const { return session_; }
  CloseReason reason() const { return reason_; }
  int64_t bytes_to_server() const { return to_server_.bytes_moved(); }
  int64_t bytes_to_client() const { return to_client_.bytes_moved(); }

 private:
  enum class State : uint8_t { kRelaying, kLingering, kEnded };

  // The server's first message, where it must be heard. Other channels are
  // kSeen from the start: their legs may be closed at any time.
  enum class FirstMessage : uint8_t {
    kParked,   // a migration's destination that has nothing of it yet: may be
               // closed, as long as its main is closed too, or before
    kAwaited,  // closing the server's leg would crash QEMU
    kSeen,
    kNeverComes,  // the server ended or failed without it
  };

  // What stands between server and client where something has to.
  struct ServerFilters {
    std::unique_ptr<AgentFilter> agent;        // main, when restricted
    std::unique_ptr<MainInspector> inspector;  // main
    std::unique_ptr<ServerFollower> follower;  // inputs, when read-only
    std::unique_ptr<MigrationWatch> watch;     // others, in a migration
  };

  // PumpOwner.
  void OnPumpBytes(Pump* pump, std::span<const uint8_t> bytes) override;
  void OnPumpSourceEnded(Pump* pump) override;
  void OnPumpFinished(Pump* pump) override;
  void OnPumpRefused(Pump* pump) override;
  void OnPumpFailed(Pump* pump, bool source, int error) override;
  void OnPumpReady(Pump* pump) override;
  void OnPumpYielded(Pump* pump) override;

  // Waiter: the server's leg while lingering.
  void OnReady(Ready ready, int error) override;

  // GuardHost.
  void OnGuardRefusal(GuardRule rule, const proto::DataHeader& header) override;
  void OnPolicyDrop(PolicyDrop drop) override;
  void OnAgentDataDropped() override;
  void OnMotionDropped() override;
  void OnDisplayInit() override;
  void OnMigrationReply(uint16_t type) override;
  void OnDestinationTaken() override;

  // InspectorHost.
  void OnMainInit(uint32_t session_id) override;
  proto::DstInfo OnMigrateTo(MigrationKind kind,
                             const proto::DstInfo& to) override;
  void OnMigrateCancel() override;
  void OnServerRefusal(const proto::DataHeader& header) override;

  void SetFilters(const ChannelRules& rules);
  void SetWatch(Migration* migration);
  ServerFilters& server_filters();
  // Something of our own is to go to the client.
  void RunToClientSoon();
  void AwaitFirstMessage(int64_t deadline_ms);
  // A destination's channel that cannot be half-closed yet.
  bool MustEndWhole() const;
  // A destination's display whose server waits for the client's INIT.
  bool OwesInit() const;
  // Before such a display is left.
  void CompleteInit();
  // Feeds the framer; true when a message has ended.
  bool EndsMessage(std::span<const uint8_t> bytes);
  void OnFirstMessage();
  void OnFirstMessageOverdue();
  void Release(Pump* held);
  void ArmTimer(int64_t delay_ms);
  void ArmHalfClose();
  // Looks from time to time whether anything moves through a tunnel.
  void ArmIdle();
  bool Moved();
  int64_t TunnelLingerMs() const;
  void End(CloseReason reason, Socket::End client_end, Socket::End server_end);
  void Yield();
  // Returns how much it was.
  size_t ReadAndDrop();
  void Finish(SafeEnd outcome);
  void OnTimer();

  Leg& client() { return pair_.legs[PumpPair::kClient]; }
  Leg& server() { return pair_.legs[PumpPair::kServer]; }
  bool is_display() const { return key_.type == proto::ChannelType::kDisplay; }
  bool is_tunnel() const { return key_.type == proto::ChannelType::kTunnel; }
  bool source_ended() const {
    return to_server_.source_ended() || to_client_.source_ended();
  }

  const RelayContext* const context_;
  ChannelOwner* const owner_;
  const proto::ChannelKey key_;
  Handle self_;
  Handle session_;
  PumpPair pair_;
  Pump to_server_{&pair_, PumpPair::kClient};
  Pump to_client_{&pair_, PumpPair::kServer};
  // Few channels need these at a time, and an idle one should be small.
  // Half-close silence, the end of lingering, or a tunnel's silence.
  std::unique_ptr<Timer> timer_;
  // Until a display's first message.
  std::unique_ptr<proto::MessageFramer> inspection_;
  std::unique_ptr<Guard> guard_;                   // client to server
  std::unique_ptr<ServerFilters> server_filters_;  // server to client
  std::shared_ptr<Migration> migration_;
  int64_t moved_at_last_check_ = 0;
  uint32_t started_s_ = 0;  // monotonic
  State state_ = State::kRelaying;
  CloseReason reason_ = CloseReason::kInternal;
  Socket::End server_end_ = Socket::End::kFin;
  FirstMessage first_message_ = FirstMessage::kSeen;
  const proto::HeaderKind header_kind_;
  bool destination_ = false;  // of migration_; once taken, where we are
  bool server_ended_first_ = false;
  bool reason_known_ = false;
  bool yielded_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_CHANNEL_H_
