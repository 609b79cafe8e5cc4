// SPDX-License-Identifier: Apache-2.0
#include "proto/display_channel.h"

namespace spicegate::proto {

std::optional<DisplayInit> ParseDisplayInit(Bytes body) {
  Reader reader(body);
  DisplayInit init;
  init.pixmap_cache_id = reader.U8();
  init.pixmap_cache_px = static_cast<int64_t>(reader.U64());
  init.glz_dictionary_id = reader.U8();
  init.glz_window_px = static_cast<int32_t>(reader.U32());
  return reader.ok() ? std::optional(init) : std::nullopt;
}

std::array<uint8_t, kDisplayInitLen> EncodeDisplayInit(
    const DisplayInit& init) {
  std::array<uint8_t, kDisplayInitLen> out{};
  Writer writer(out);
  writer.U8(init.pixmap_cache_id);
  writer.U64(static_cast<uint64_t>(init.pixmap_cache_px));
  writer.U8(init.glz_dictionary_id);
  writer.U32(static_cast<uint32_t>(init.glz_window_px));
  return out;
}

}  // namespace spicegate::proto
