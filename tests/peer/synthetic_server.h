// SPDX-License-Identifier: Apache-2.0
//
// SPICE servers without a VM: many consoles in one process, told apart by their
// tickets. Links are judged as spice-server judges them, data is TrafficPlan's
// pattern, and what would have hurt a real QEMU is counted.
#ifndef SPICEGATE_TESTS_PEER_SYNTHETIC_SERVER_H_
#define SPICEGATE_TESTS_PEER_SYNTHETIC_SERVER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "proto/channel.h"
#include "proto/link.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/peer_stream.h"
#include "tests/peer/peer_tls.h"
#include "tests/peer/ticket_cipher.h"
#include "tests/peer/traffic.h"

namespace spicegate {

// What a server does wrong. `value` where the kind says so.
struct ServerFault {
  enum class Kind : uint8_t {
    kNone,
    kCloseOnAccept,     // FIN before a byte.
    kResetOnAccept,     // RST before a byte.
    kNeverReply,        // Takes the link message and keeps silent.
    kNotSpice,          // Answers in HTTP.
    kReplyMajor,        // `value` as major version.
    kReplySize,         // `value` as header size; the body is the right one.
    kReplyError,        // An error reply with code `value`.
    kZeroKey,           // What a server with SASL sends.
    kGarbageKey,        // 162 bytes that are no key.
    kCapsOutside,       // Capabilities behind the end of the body.
    kNoResult,          // Takes the ticket and keeps silent.
    kResult,            // Result `value`.
    kHoldResult,        // The result waits for ReleaseResults().
    kCutAt,             // FIN behind the first `value` bytes of the link stage.
    kDrip,              // Link stage byte by byte, `value` ms apart.
    kCloseAfterResult,  // Result 0, then FIN.
  };
  Kind kind = Kind::kNone;
  uint64_t value = 0;
  // Main is served well; the others, from their link message on, are not.
  bool secondaries_only = false;
};

struct SyntheticConsole {
  std::string password;  // At most 59 characters; empty: any ticket passes.
  uint64_t seed = 0;     // Of its patterns.
};

// A channel through its link, for a test that plays the server from there on.
struct OpenedChannel {
  std::unique_ptr<PeerStream> stream;
  proto::ChannelKey key;
  uint32_t session_id = 0;
};

struct SyntheticServerOptions {
  std::vector<SyntheticConsole> consoles;
  // Offered beside main.
  std::vector<proto::ChannelKey> channels;
  // Pattern per channel; absent: none.
  std::function<TrafficPlan(proto::ChannelKey)> plan;
  ServerFault fault = {};
  // Plain links are answered with NEED_SECURED.
  bool need_secured = false;
  // Between a display's INIT and the first message to it: the time in which a
  // real server's display is vulnerable.
  int64_t display_window_ms = 5;
  // Takes every channel that was opened; the server then neither greets nor
  // sends patterns. Called on the loop's thread.
  std::function<void(OpenedChannel)> take_opened = {};
  // Sent in one piece with the result of each link that is opened.
  std::function<std::vector<uint8_t>(proto::ChannelKey)> behind_result = {};
};

// Data bytes behind the link result, headers included.
struct ChannelBytes {
  uint64_t to_client = 0;
  uint64_t to_server = 0;
};

struct ServerTotals {
  uint64_t num_links = 0;  // Connections accepted.
  uint64_t num_replies = 0;
  uint64_t num_tickets_refused = 0;
  uint64_t num_bad_connection_ids = 0;
  uint64_t num_results_held = 0;
  uint64_t num_channels_opened = 0;
  uint64_t num_channels_open = 0;
  uint64_t num_mains_opened = 0;
  // Display links that ended before their INIT, or before the server's first
  // message to them: each one is a dead QEMU.
  uint64_t num_would_have_crashed = 0;
  // Bytes that came while a display was vulnerable: a bad message among them
  // is a dead QEMU too.
  uint64_t num_display_intrusions = 0;
  // Longest time a display kept waiting for its INIT after main had gone: how
  // long QEMU's main loop would have stood still.
  int64_t max_stall_ms = 0;
  // Channels that ended with every pattern byte received and sent.
  uint64_t num_channels_complete = 0;
  uint64_t num_pattern_errors = 0;
  std::string first_error;
  std::array<ChannelBytes, proto::kNumChannelTypes> bytes{};

  ChannelBytes& Of(proto::ChannelType type) {
    return bytes[static_cast<size_t>(type)];
  }
};

class SyntheticServer;

// The channels of one viewer. Loop's thread only.
struct SyntheticSession {
  size_t console = 0;
  uint32_t id = 0;
  PeerStream* main = nullptr;
  // What ends with main: all others, except a display without its INIT.
  std::vector<PeerStream*> secondaries;
  bool main_gone = false;
  PeerClock::time_point main_gone_at;
};

// Lives on one PeerLoop; construct and destroy it on that loop's thread or
// while nobody runs the loop. The loop must be drained before it is destroyed.
class SyntheticServer {
 public:
  SyntheticServer(PeerLoop* loop, SyntheticServerOptions options);
  ~SyntheticServer();

  // Listens from now on; any number of times, before the loop's thread runs or
  // on it. `context` makes it a TLS listener and must outlive the server.
  PeerAddress Listen(const PeerAddress& address,
                     const PeerTlsContext* context = nullptr);
  void StopListening();

  // Any thread.
  ServerTotals Totals() const;
  // With kHoldResult: gives all results held now and later. Loop's thread.
  void ReleaseResults();
  // Ends every session as a server that goes away. Loop's thread.
  void CloseAll();
  // While set nothing is read from secondaries. Loop's thread.
  void set_reading_paused(bool paused) { reading_paused_ = paused; }
  bool reading_paused() const { return reading_paused_; }

  // For the parts of the server.
  template <typename Change>
  void Count(Change change) {
    const std::lock_guard<std::mutex> lock(mutex_);
    change(totals_);
  }
  const SyntheticServerOptions& options() const { return options_; }
  PeerLoop* loop() const { return loop_; }

 private:
  struct Link;

  PeerTask<void> AcceptAll(PeerListener* listener,
                           const PeerTlsContext* context);
  PeerTask<void> ServeLink(std::unique_ptr<PeerStream> stream,
                           const PeerTlsContext* context);
  PeerTask<bool> RunLinkStage(Link* link);
  PeerTask<bool> ReadLink(Link* link);
  PeerTask<bool> SendReply(Link* link);
  PeerTask<bool> ReadTicket(Link* link);
  PeerTask<bool> SendResult(Link* link);
  PeerTask<bool> Refuse(Link* link, proto::LinkError error);
  PeerTask<bool> Send(Link* link, std::span<const uint8_t> bytes);
  PeerTask<void> HoldResult();
  proto::LinkError Admit(Link* link);
  std::shared_ptr<SyntheticSession> OpenSession(size_t console);
  std::vector<uint8_t> BuildReply(const Link& link) const;
  bool Offers(const Link& link) const;
  // What goes wrong on this link.
  ServerFault FaultOf(const Link& link) const;

  PeerLoop* loop_;
  SyntheticServerOptions options_;
  PeerTicketKey key_;
  std::unordered_map<std::string, size_t> console_of_password_;
  std::vector<std::unique_ptr<PeerListener>> listeners_;
  std::unordered_map<uint32_t, std::shared_ptr<SyntheticSession>> sessions_;
  uint32_t next_session_id_;
  bool results_released_ = false;
  bool reading_paused_ = false;

  mutable std::mutex mutex_;
  ServerTotals totals_;  // Guarded by mutex_.
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_SYNTHETIC_SERVER_H_
