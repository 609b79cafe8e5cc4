// SPDX-License-Identifier: Apache-2.0
//
// What one worker counts. The worker alone writes, the control thread reads
// whenever it is asked for metrics; so an addition is a plain load and store,
// and a reader may see one counter a moment before another.
#ifndef SPICEGATE_GATEWAY_BASE_COUNTERS_H_
#define SPICEGATE_GATEWAY_BASE_COUNTERS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "gateway/base/close_reason.h"

namespace spicegate {

// One writer, many readers, no read-modify-write.
class Counter {
 public:
  void Add(int64_t amount) {
    value_.store(value_.load(std::memory_order_relaxed) + amount,
                 std::memory_order_relaxed);
  }
  void Set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// Indexed by the SPICE channel type; 0 and the unused numbers stay empty.
inline constexpr size_t kNumChannelTypes = 12;

// How the last rites of a display's server leg went (docs/architecture.md).
enum class SafeEnd : uint8_t {
  kNotNeeded,    // the first message had passed before the end
  kWaited,       // the leg lingered until the first message came
  kServerEnded,  // the server ended or failed by itself before its message
  kTimedOut,     // the message did not come by the deadline
};
inline constexpr size_t kNumSafeEnds = 4;

// What became of dialling a server before its client's ticket was here
// (session/early_dial.h).
enum class EarlyDialOutcome : uint8_t {
  kUsed,     // by a channel whose ticket was accepted
  kDropped,  // the ticket was bad, too late or another session's; or it failed
  kRefused,  // not begun: another address, too many, session over
};
inline constexpr size_t kNumEarlyDialOutcomes = 3;

enum class TlsLeg : uint8_t { kClient, kServer };
inline constexpr size_t kNumTlsLegs = 2;

// Suites the gateway knows by name, each with TLS 1.2 and 1.3 apart.
enum class TlsSuite : uint8_t {
  kAes128Gcm,
  kAes256Gcm,
  kChaCha20Poly1305,
  kOther,
};
inline constexpr size_t kNumTlsSuites = 4;
inline constexpr size_t kNumTlsVersions = 2;  // 0: TLS 1.2, 1: TLS 1.3

// Which directions of a connection have their records made by the kernel:
// OffloadDirections (gateway/tls/tls_types.h) is the index.
inline constexpr size_t kNumTlsOffloads = 4;

enum class TlsHandshakeOutcome : uint8_t { kFull, kResumed, kFailed };
inline constexpr size_t kNumTlsHandshakeOutcomes = 3;

// A counter for each leg, version, suite and offload.
using TlsConnectionCounters = std::array<
    std::array<std::array<std::array<Counter, kNumTlsOffloads>, kNumTlsSuites>,
               kNumTlsVersions>,
    kNumTlsLegs>;

// What the guard refuses a client's message for (relay/guard.h).
enum class GuardRule : uint8_t {
  kMessageType,     // a type that no viewer sends on this channel
  kMessageSize,     // a body shorter or longer than its type has
  kClaimedSize,     // a size inside the body that QEMU would allocate
  kSubList,         // a list of further messages inside the body
  kFlushMark,       // FLUSH_MARK that the server has not asked for
  kMigrateData,     // MIGRATE_DATA that the migration's source did not send
  kDoSeamless,      // DST_DO_SEAMLESS at no destination, or twice
  kMigrateEnd,      // MIGRATE_END at no destination, too early, or twice
  kDisplayInit,     // a second INIT
  kBeforeHandover,  // anything else at a destination that waits
  kConnectionId,    // a main link of a migration that nobody announced
  kUsbPacket,       // a usbredir packet that QEMU's parser does not take
};
inline constexpr size_t kNumGuardRules = 12;

// What a policy has dropped.
enum class PolicyDrop : uint8_t {
  kReadOnly,      // a message of inputs
  kClipboard,     // an agent message
  kFileTransfer,  // likewise
  kChannel,       // a link, or a channel taken out of the server's list
};
inline constexpr size_t kNumPolicyDrops = 4;

enum class MigrationKind : uint8_t { kSeamless, kSemiSeamless, kSwitchHost };
inline constexpr size_t kNumMigrationKinds = 3;

enum class MigrationResult : uint8_t { kCompleted, kFailed, kCancelled };
inline constexpr size_t kNumMigrationResults = 3;

// Upper bounds of a histogram's buckets; one more counts what is longer.
inline constexpr std::array<int64_t, 9> kMigrationBucketsMs = {
    100, 300, 1'000, 3'000, 10'000, 30'000, 100'000, 300'000, 1'000'000};

// How a CONNECT request is answered.
enum class ConnectStatus : uint8_t {
  kOk,              // 200
  kBadRequest,      // 400
  kForbidden,       // 403: viewers say "not allowed"
  kLogin,           // 407: viewers ask for user and password
  kTooLarge,        // 431
  kLoop,            // 500: another proxy has been here already
  kNotImplemented,  // 501: another method than CONNECT
  kUnreachable,     // 502: the server refuses, or has no address
  kBusy,            // 503: no room for one more
  kTimeout,         // 504: the server does not answer
  kVersion,         // 505: neither HTTP/1.0 nor 1.1
};
inline constexpr size_t kNumConnectStatuses = 11;

// What came in front of a connection where a PROXY header must.
enum class ProxyHeaderOutcome : uint8_t {
  kVersion1,
  kVersion2,
  kLocal,    // a health check, or UNKNOWN: no address in it
  kRefused,  // missing, malformed, too late, or from a stranger
};
inline constexpr size_t kNumProxyHeaderOutcomes = 4;

struct WorkerCounters {
  Counter links_accepted;
  Counter links_open;  // client sockets in any state
  std::array<Counter, kNumCloseReasons> links_refused;
  std::array<Counter, kNumConnectStatuses> connect_answers;
  std::array<Counter, kNumProxyHeaderOutcomes> proxy_headers;

  Counter sessions_opened;
  Counter sessions_open;
  std::array<Counter, kNumEarlyDialOutcomes> early_dials;

  std::array<Counter, kNumChannelTypes> channels_opened;
  std::array<Counter, kNumChannelTypes> channels_open;
  std::array<Counter, kNumCloseReasons> channels_closed;
  std::array<Counter, kNumChannelTypes> bytes_client_to_server;
  std::array<Counter, kNumChannelTypes> bytes_server_to_client;
  std::array<Counter, kNumSafeEnds> display_safe_end;

  std::array<std::array<Counter, kNumGuardRules>, kNumChannelTypes>
      guard_refusals;
  std::array<Counter, kNumPolicyDrops> policy_drops;
  std::array<std::array<Counter, kNumMigrationResults>, kNumMigrationKinds>
      migrations;
  Counter migrations_pending;
  // Of completed ones, from their beginning to the destination's taking over.
  std::array<Counter, kMigrationBucketsMs.size() + 1> migration_durations;
  Counter migration_duration_ms;

  std::array<std::array<Counter, kNumTlsHandshakeOutcomes>, kNumTlsLegs>
      tls_handshakes;
  // Connections that came as far as being relayed, and those that are.
  TlsConnectionCounters tls_connections;
  TlsConnectionCounters tls_connections_open;
  // Ends of a relayed connection without close_notify.
  std::array<Counter, kNumTlsLegs> tls_truncated;

  Counter relay_buffer_bytes;  // of buffers that hold bytes just now
  Counter bytes_copied;        // relayed through a buffer of ours
  Counter bytes_spliced;       // relayed without being copied
  Counter pipes_in_use;        // with bytes inside just now
  Counter pipe_shortages;      // times a pump copied for want of a pipe

  Counter interactive_moves;  // times an interactive channel moved bytes
  Counter spins_hit;          // spins before a sleep that found work
  Counter spins_missed;       // ... and that did not
  Counter spin_us;            // time in both

  Counter last_turn_ms;         // monotonic: when the loop turned over last
  Counter ops_in_flight;        // driver operations
  Counter accept_pauses;        // times a listener had no descriptors
  Counter completions_dropped;  // stale generations: must stay 0
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_COUNTERS_H_
