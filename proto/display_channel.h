// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_PROTO_DISPLAY_CHANNEL_H_
#define SPICEGATE_PROTO_DISPLAY_CHANNEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "proto/wire.h"

namespace spicegate::proto {

// INIT (client -> server 101), the first message of every display channel. QEMU
// crashes when a display link closes before it, so a gateway sends one itself
// for a client that went away too early. The defaults are the least a server
// accepts: no cache, no dictionary.
struct DisplayInit {
  uint8_t pixmap_cache_id = 0;
  int64_t pixmap_cache_px = 0;
  uint8_t glz_dictionary_id = 0;
  int32_t glz_window_px = 0;

  bool operator==(const DisplayInit&) const = default;
};

inline constexpr size_t kDisplayInitLen = 14;

// No value for a body shorter than kDisplayInitLen.
std::optional<DisplayInit> ParseDisplayInit(Bytes body);
// The body; the data header is the caller's.
std::array<uint8_t, kDisplayInitLen> EncodeDisplayInit(const DisplayInit& init);

}  // namespace spicegate::proto

#endif  // SPICEGATE_PROTO_DISPLAY_CHANNEL_H_
