// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_PROTO_MAIN_CHANNEL_H_
#define SPICEGATE_PROTO_MAIN_CHANNEL_H_

// Bodies on main that a gateway reads or rewrites. All of them come from the
// server, whose guest may own it: parsers treat every offset and size as a lie
// until it has been checked. A parser without a value means "malformed"; bytes
// behind what is known are ignored; views point into the body.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "proto/channel.h"
#include "proto/common_channel.h"
#include "proto/wire.h"

namespace spicegate::proto {

// ---- INIT (103) ----

struct MainInit {
  uint32_t session_id = 0;  // The connection_id of all further links.
  uint32_t display_channels_hint = 0;
  uint32_t supported_mouse_modes = 0;
  uint32_t current_mouse_mode = 0;
  uint32_t agent_connected = 0;
  uint32_t agent_tokens = 0;
  uint32_t multi_media_time = 0;  // ms.
  uint32_t ram_hint = 0;          // Bytes.

  bool operator==(const MainInit&) const = default;
};

inline constexpr size_t kMainInitLen = 32;
std::optional<MainInit> ParseMainInit(Bytes body);
std::array<uint8_t, kMainInitLen> EncodeMainInit(const MainInit& init);

// ---- CHANNELS_LIST (104) ----

// The channels a server offers. May come again for hot-plugged channels.
class ChannelsListView {
 public:
  // No value when the list claims more entries than the body has.
  static std::optional<ChannelsListView> Parse(Bytes body);

  size_t size() const { return entries_.size() / 2; }
  // Entry `index` < size(). The type is raw and may be unknown.
  ChannelKey operator[](size_t index) const {
    return {static_cast<ChannelType>(entries_[2 * index]),
            entries_[2 * index + 1]};
  }
  bool Contains(ChannelKey key) const;

 private:
  explicit ChannelsListView(Bytes entries) : entries_(entries) {}

  Bytes entries_;  // Two bytes each: type, id.
};

// Returns the length written, 0 when `out` is too small.
size_t EncodeChannelsList(std::span<const ChannelKey> channels,
                          MutableBytes out);

// ---- MIGRATE_BEGIN (101), MIGRATE_SWITCH_HOST (111), BEGIN_SEAMLESS (116)
// ----

enum class DstInfoKind : uint8_t {
  kPlain,     // 101 and 111.
  kSeamless,  // 116: one more field.
};

// The kind that message `type` of main carries from the server, if any.
std::optional<DstInfoKind> DstInfoKindOf(uint16_t type);

constexpr size_t DstInfoFixedLen(DstInfoKind kind) {
  return kind == DstInfoKind::kSeamless ? 24 : 20;
}

// Where a session migrates to.
struct DstInfo {
  uint16_t port = 0;   // Plain port; 0 for none.
  uint16_t sport = 0;  // TLS port; 0 for none.
  std::string_view host = {};
  std::string_view cert_subject = {};  // Empty: verify by host name.
  uint32_t src_mig_version = 0;        // kSeamless only.

  bool operator==(const DstInfo&) const = default;
};

// Strings without their NUL. Far above real ones (a host name ends at 253), far
// below what would hurt.
inline constexpr size_t kMaxDstHostLen = 255;
inline constexpr size_t kMaxDstSubjectLen = 2048;
inline constexpr size_t kMaxDstInfoLen =
    24 + kMaxDstHostLen + 1 + kMaxDstSubjectLen + 1;

// Parses the body of one of the three. Refused: a string that starts in the
// fixed part or ends outside the body, that lacks its final NUL or holds
// another one, that is longer than allowed here; strings that overlap; a
// missing or empty host. A port of 0xFFFF, which is how QEMU writes a port it
// was not given, is read as 0.
std::optional<DstInfo> ParseDstInfo(DstInfoKind kind, Bytes body);

// Writes the body: fixed part, host, subject, each string with its NUL, in
// spice-server's order. An empty subject has size and offset 0. Returns the
// length; 0 when `out` is too small or ParseDstInfo() would refuse a string.
size_t EncodeDstInfo(DstInfoKind kind, const DstInfo& info, MutableBytes out);

// ---- NAME (113), UUID (114) ----

// The VM's name, without its NUL. Cut at the first NUL; not checked for being
// printable or UTF-8.
std::optional<std::string_view> ParseMainName(Bytes body);
// Returns the length written, 0 when `out` is too small.
size_t EncodeMainName(std::string_view name, MutableBytes out);

inline constexpr size_t kUuidLen = 16;
std::optional<std::array<uint8_t, kUuidLen>> ParseMainUuid(Bytes body);

}  // namespace spicegate::proto

#endif  // SPICEGATE_PROTO_MAIN_CHANNEL_H_
