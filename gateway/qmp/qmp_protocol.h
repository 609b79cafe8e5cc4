// SPDX-License-Identifier: Apache-2.0
//
// QMP, as much of it as SPICE needs: lines of JSON that QEMU's machine monitor
// speaks (docs/interop/qmp-spec.rst and qapi/ui.json in QEMU). Pure: text in,
// text out; no I/O, no clock.
//
// Nothing that QEMU says is trusted: whoever breaks out of a guest has its
// QEMU. Every size here is bounded, and a line that breaks a bound is an error.
// What QEMU adds from version to version, members and events that we do not
// know, is passed over.
#ifndef SPICEGATE_GATEWAY_QMP_QMP_PROTOCOL_H_
#define SPICEGATE_GATEWAY_QMP_QMP_PROTOCOL_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/base/json.h"

namespace spicegate {

// Longest line without its end. A channel of query-spice takes 200 bytes.
inline constexpr size_t kMaxQmpLineBytes = 1024 * 1024;

// JSON values in a line. What a value takes here is fifty times what it takes
// in the line, so the line's own bound is not enough.
inline constexpr size_t kMaxQmpValues = 32 * 1024;

// Channels in a reply to query-spice: of the longest line, what is plausible.
inline constexpr size_t kMaxQmpChannels = 2048;

// Host names, addresses and socket paths. sun_path has 108 bytes.
inline constexpr size_t kMaxQmpHostLen = 255;

// What is kept of an error's class and description.
inline constexpr size_t kMaxQmpErrorLen = 256;

// One command, still without its id.
struct QmpCommand {
  std::string name;       // "query-spice"; for logs too
  std::string arguments;  // a JSON object, or empty. May hold a secret
};

// What a new password does to the channels that are open.
enum class QmpConnected : uint8_t {
  kKeep,
  kDisconnect,  // ends all of them at once
};

QmpCommand QmpCapabilitiesCommand();
QmpCommand QuerySpiceCommand();

// `password` is UTF-8. QEMU takes 60 bytes without a word, and then lets nobody
// in; see kMaxServerTicketLen.
QmpCommand SetPasswordCommand(std::string_view password,
                              QmpConnected connected);

// `time` is "now", "never" or "+SECONDS". QEMU keeps an expiry that has passed
// over a new password, so send this behind every SetPasswordCommand.
QmpCommand ExpirePasswordCommand(std::string_view time);

// The command's line with its end, ready to be sent.
std::string EncodeQmpCommand(const QmpCommand& command, int64_t id);

// One end of a connection, as QEMU's sockets name it.
struct QmpAddress {
  enum class Family : uint8_t { kIpv4, kIpv6, kUnix, kOther };

  Family family = Family::kOther;
  std::string host;  // an address; "localhost" or a path with kUnix
  std::string port;  // decimal, as text; empty with kUnix

  friend bool operator==(const QmpAddress&, const QmpAddress&) = default;
};

// A channel of SPICE's that is open in QEMU: its link and ticket were right.
struct QmpChannel {
  QmpAddress peer;  // the client's end: for us, the gateway's own socket
  int channel_type = 0;
  int channel_id = 0;
  uint32_t connection_id = 0;  // as the client said it in its link
  bool tls = false;
};

// What query-spice returns.
struct QmpSpice {
  bool enabled = false;   // false: QEMU has no SPICE server, the rest is empty
  bool migrated = false;  // its guest has gone to another QEMU
  // Where it listens, as QEMU was told: an address, a name, or "*", "0.0.0.0",
  // "::" for everywhere. Empty with unix_path. With none of the ports and no
  // unix_path it listens nowhere that we could reach.
  std::string host;
  uint16_t port = 0;      // plain; 0: none
  uint16_t tls_port = 0;  // 0: none
  std::string unix_path;
  std::string auth;  // "spice", or "none" when it asks for no password
  std::vector<QmpChannel> channels;
};

struct QmpError {
  std::string error_class;  // "GenericError", "CommandNotFound", ...
  std::string desc;         // a sentence
};

struct QmpEvent {
  enum class Kind : uint8_t {
    kConnected,         // accepted: nothing is known of its ticket
    kInitialized,       // linked, and the ticket was right
    kDisconnected,      // without kInitialized before: the ticket was wrong
    kMigrateCompleted,  // SPICE's part of a migration is over
    kOther,             // not one of SPICE's; nothing else is filled in
  };

  Kind kind = Kind::kOther;
  QmpAddress server;                  // of the first three
  QmpAddress client;                  // of the first three
  std::optional<QmpChannel> channel;  // of kInitialized; its peer is `client`
};

// One line from QEMU.
struct QmpMessage {
  enum class Type : uint8_t { kGreeting, kReturn, kError, kEvent };

  Type type = Type::kGreeting;
  std::optional<int64_t> id;  // of kReturn and kError; the command's
  JsonValue result;           // of kReturn
  QmpError error;             // of kError
  QmpEvent event;             // of kEvent
};

// `line` comes without its end. InvalidArgument when it is no QMP, or beyond a
// bound of this file.
absl::StatusOr<QmpMessage> ParseQmpLine(const std::string& line);

// Takes the result of query-spice apart. InvalidArgument when a member that we
// need is absent, of another type or out of range.
absl::StatusOr<QmpSpice> ParseQuerySpice(const JsonValue& result);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_QMP_QMP_PROTOCOL_H_
