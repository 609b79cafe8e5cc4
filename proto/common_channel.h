// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_PROTO_COMMON_CHANNEL_H_
#define SPICEGATE_PROTO_COMMON_CHANNEL_H_

// Bodies of the messages that every channel has. Parsers return no value for a
// body that is too short, ignore bytes behind what they know (spice-gtk does
// the same), and return views into the body.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "proto/wire.h"

namespace spicegate::proto {

// Flags of MIGRATE (server -> client 1): what the client owes the server.
inline constexpr uint32_t kMigrateNeedFlush = 1;
inline constexpr uint32_t kMigrateNeedDataTransfer = 2;

// The flags of a MIGRATE body.
std::optional<uint32_t> ParseMigrate(Bytes body);

// SET_ACK: the client answers ACK_SYNC(generation), then one ACK per `window`
// messages. Only display and cursor enforce it.
struct SetAck {
  uint32_t generation = 0;
  uint32_t window = 0;

  bool operator==(const SetAck&) const = default;
};

inline constexpr size_t kSetAckLen = 8;
std::optional<SetAck> ParseSetAck(Bytes body);
std::array<uint8_t, kSetAckLen> EncodeSetAck(const SetAck& set_ack);

// PING, and PONG, which echoes the first 12 bytes of a PING and drops its
// padding. Units of the time are the server's own: us at first, ns later.
struct Ping {
  uint32_t id = 0;
  uint64_t timestamp = 0;

  bool operator==(const Ping&) const = default;
};

inline constexpr size_t kPingLen = 12;
// Padding of the net test on main, all zero.
inline constexpr size_t kNetTestPaddingLen = 256000;
std::optional<Ping> ParsePing(Bytes body);
std::array<uint8_t, kPingLen> EncodePing(const Ping& ping);

// DISCONNECTING, either direction. Viewers only log it.
struct Disconnecting {
  uint64_t time = 0;
  uint32_t reason = 0;  // A LinkError.

  bool operator==(const Disconnecting&) const = default;
};

inline constexpr size_t kDisconnectingLen = 12;
std::optional<Disconnecting> ParseDisconnecting(Bytes body);
std::array<uint8_t, kDisconnectingLen> EncodeDisconnecting(
    const Disconnecting& disconnecting);

// NOTIFY: a text for the viewer's log.
struct Notify {
  uint64_t time = 0;
  uint32_t severity = 0;    // 0 info, 1 warning, 2 error.
  uint32_t visibility = 0;  // 0 low, 1 medium, 2 high.
  uint32_t what = 0;        // A code; its meaning depends on the severity.
  std::string_view message = {};
};

inline constexpr size_t kNotifyFixedLen = 24;
// The text must lie inside the body; the NUL behind it is not asked for.
std::optional<Notify> ParseNotify(Bytes body);
// Writes the body with the uncounted NUL, as spice-server does. Returns the
// length, 0 when `out` is too small.
size_t EncodeNotify(const Notify& notify, MutableBytes out);

}  // namespace spicegate::proto

#endif  // SPICEGATE_PROTO_COMMON_CHANNEL_H_
