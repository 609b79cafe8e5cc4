// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_PROTO_CHANNEL_H_
#define SPICEGATE_PROTO_CHANNEL_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace spicegate::proto {

// The channel_type byte of a link message. Values are the wire's; a byte from
// a peer may hold any other value, so ask IsKnownChannelType() before a switch.
enum class ChannelType : uint8_t {
  kMain = 1,
  kDisplay = 2,
  kInputs = 3,
  kCursor = 4,
  kPlayback = 5,
  kRecord = 6,
  kTunnel = 7,  // Obsolete: no server offers it, no messages are defined.
  kSmartcard = 8,
  kUsbredir = 9,
  kPort = 10,
  kWebdav = 11,
};

// One more than the highest type: the length of a table indexed by type.
inline constexpr size_t kNumChannelTypes = 12;

// True for the types a gateway relays: all of the above except kTunnel.
bool IsKnownChannelType(uint8_t type);
bool IsKnownChannelType(ChannelType type);

// The name used as metric label and in logs: "main", "display", ... and
// "unknown" for any byte that is no type. Static storage.
std::string_view ChannelName(ChannelType type);

// (type, id): what names one channel within a session.
struct ChannelKey {
  ChannelType type = ChannelType::kMain;
  uint8_t id = 0;

  bool operator==(const ChannelKey&) const = default;
};

// Who sends. *Client* is the viewer's side, *server* the hypervisor's. Message
// ids from 101 up mean different things in the two directions.
enum class Direction : uint8_t {
  kClientToServer = 0,
  kServerToClient = 1,
};

}  // namespace spicegate::proto

#endif  // SPICEGATE_PROTO_CHANNEL_H_
