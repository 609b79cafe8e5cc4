// SPDX-License-Identifier: Apache-2.0
//
// A client's leg and a server's leg joined: two pumps, the half-close rules
// and the last rites of the server's leg.
//
//   relaying --> (both directions over, a leg failed, the session says so)
//     |             client leg goes at once, FIN or RST as the server did
//     v
//   lingering    a display whose server has not sent its first message:
//     |          closing that leg now would crash QEMU (docs/architecture.md),
//     so it is read and dropped until the message came
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
#include <span>

#include "gateway/base/close_reason.h"
#include "gateway/base/counters.h"
#include "gateway/base/handle.h"
#include "gateway/base/limits.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/io/leg.h"
#include "gateway/relay/buffer_pool.h"
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

class Channel final : private PumpOwner, private Waiter {
 public:
  // Both legs are through their links. A display's INIT has been sent to the
  // server whole, and nothing of the server's data has been read.
  // `bytes_sent` counts what went from client to server meanwhile.
  Channel(const RelayContext* context, ChannelOwner* owner,
          proto::ChannelKey key, proto::HeaderKind header_kind, Leg client,
          Leg server, size_t bytes_sent = 0);
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

  proto::ChannelKey key() const { return key_; }
  Handle handle() const { return self_; }
  Handle session() const { return session_; }
  CloseReason reason() const { return reason_; }
  int64_t bytes_to_server() const { return to_server_.bytes_moved(); }
  int64_t bytes_to_client() const { return to_client_.bytes_moved(); }

 private:
  enum class State : uint8_t { kRelaying, kLingering, kEnded };

  // The server's first display message. Other channels are kSeen from the
  // start: their legs may be closed at any time.
  enum class FirstMessage : uint8_t {
    kAwaited,  // closing the server's leg would crash QEMU
    kSeen,
    kNeverComes,  // the server ended or failed without it
  };

  // What looks at the server's first messages, until the one it waits for.
  struct Inspection {
    explicit Inspection(proto::HeaderKind kind) : framer(kind) {}

    // Keeps a piece of main's INIT. A longer body than INIT's is cut: the
    // parser reads the front.
    void Append(std::span<const uint8_t> piece);
    std::span<const uint8_t> bytes() const { return {body.data(), len}; }

    proto::MessageFramer framer;
    std::array<uint8_t, proto::kMainInitLen> body;
    size_t len = 0;
  };

  // PumpOwner.
  void OnPumpBytes(Pump* pump, std::span<const uint8_t> bytes) override;
  void OnPumpSourceEnded(Pump* pump) override;
  void OnPumpFinished(Pump* pump) override;
  void OnPumpFailed(Pump* pump, bool source, int error) override;
  void OnPumpReady(Pump* pump) override;
  void OnPumpYielded(Pump* pump) override;

  // Waiter: the server's leg while lingering.
  void OnReady(Ready ready, int error) override;

  void EndInspection();
  void InspectMain(std::span<const uint8_t> bytes);
  void InspectDisplay(std::span<const uint8_t> bytes);
  // Feeds the framer; true when a message has ended.
  bool EndsMessage(std::span<const uint8_t> bytes);
  void OnFirstDisplayMessage();
  void OnFirstMessageOverdue();
  void Release(Pump* held);
  void ArmTimer(int64_t delay_ms);
  void ArmHalfClose();
  void End(CloseReason reason, Socket::End client_end, Socket::End server_end);
  void Yield();
  // Returns how much it was.
  size_t ReadAndDrop();
  void Finish(SafeEnd outcome);
  void OnTimer();

  Leg& client() { return pair_.legs[PumpPair::kClient]; }
  Leg& server() { return pair_.legs[PumpPair::kServer]; }
  bool is_display() const { return key_.type == proto::ChannelType::kDisplay; }

  const RelayContext* const context_;
  ChannelOwner* const owner_;
  const proto::ChannelKey key_;
  Handle self_;
  Handle session_;
  PumpPair pair_;
  Pump to_server_{&pair_, PumpPair::kClient};
  Pump to_client_{&pair_, PumpPair::kServer};
  // Few channels need these at a time, and an idle one should be small.
  std::unique_ptr<Timer> timer_;  // half-close silence, or the end of lingering
  std::unique_ptr<Inspection> inspection_;  // server to client
  int64_t moved_at_last_check_ = 0;
  State state_ = State::kRelaying;
  CloseReason reason_ = CloseReason::kInternal;
  Socket::End server_end_ = Socket::End::kFin;
  FirstMessage first_message_ = FirstMessage::kSeen;
  const proto::HeaderKind header_kind_;
  bool server_ended_first_ = false;
  bool reason_known_ = false;
  bool yielded_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_CHANNEL_H_
