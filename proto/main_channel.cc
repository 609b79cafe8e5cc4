// SPDX-License-Identifier: Apache-2.0
#include "proto/main_channel.h"

#include <algorithm>

#include "proto/messages.h"

namespace spicegate::proto {
namespace {

// QEMU passes -1 for a port it was not given; 16 bits of it arrive.
constexpr uint16_t kPortNotGiven = 0xFFFF;

uint16_t PortOrUnset(uint16_t port) { return port == kPortNotGiven ? 0 : port; }

// Where a string lies in a DstInfo body; len 0 when there is none.
struct Extent {
  uint32_t len = 0;
  uint32_t offset = 0;
};

Extent ReadExtent(Reader& reader) {
  Extent extent;
  extent.len = reader.U32();
  extent.offset = reader.U32();
  return extent.offset == 0 ? Extent{} : extent;
}

bool Overlap(const Extent& a, const Extent& b) {
  const uint64_t a_end = uint64_t{a.offset} + a.len;
  const uint64_t b_end = uint64_t{b.offset} + b.len;
  return a.len != 0 && b.len != 0 && a.offset < b_end && b.offset < a_end;
}

bool IsStringOk(std::string_view text, size_t max_len) {
  return text.size() <= max_len && text.find('\0') == std::string_view::npos;
}

// The string at `extent` without its NUL. An absent one is the empty string.
std::optional<std::string_view> StringAt(Bytes body, size_t fixed_len,
                                         const Extent& extent, size_t max_len) {
  if (extent.len == 0) {
    return std::string_view();
  }
  if (extent.offset < fixed_len ||
      !RangeFits(extent.offset, extent.len, body.size())) {
    return std::nullopt;
  }
  const std::string_view with_nul =
      AsText(body.subspan(extent.offset, extent.len));
  const std::string_view text = with_nul.substr(0, with_nul.size() - 1);
  if (with_nul.back() != '\0' || !IsStringOk(text, max_len)) {
    return std::nullopt;
  }
  return text;
}

void PutString(Writer& writer, std::string_view text) {
  writer.Put(AsBytes(text));
  writer.U8(0);
}

void PutExtent(Writer& writer, const Extent& extent) {
  writer.U32(extent.len);
  writer.U32(extent.offset);
}

}  // namespace

std::optional<MainInit> ParseMainInit(Bytes body) {
  Reader reader(body);
  MainInit init;
  init.session_id = reader.U32();
  init.display_channels_hint = reader.U32();
  init.supported_mouse_modes = reader.U32();
  init.current_mouse_mode = reader.U32();
  init.agent_connected = reader.U32();
  init.agent_tokens = reader.U32();
  init.multi_media_time = reader.U32();
  init.ram_hint = reader.U32();
  return reader.ok() ? std::optional(init) : std::nullopt;
}

std::array<uint8_t, kMainInitLen> EncodeMainInit(const MainInit& init) {
  std::array<uint8_t, kMainInitLen> out{};
  Writer writer(out);
  for (const uint32_t field :
       {init.session_id, init.display_channels_hint, init.supported_mouse_modes,
        init.current_mouse_mode, init.agent_connected, init.agent_tokens,
        init.multi_media_time, init.ram_hint}) {
    writer.U32(field);
  }
  return out;
}

std::optional<ChannelsListView> ChannelsListView::Parse(Bytes body) {
  Reader reader(body);
  const uint64_t entries_len = 2 * uint64_t{reader.U32()};
  if (!reader.ok() || entries_len > reader.remaining()) {
    return std::nullopt;
  }
  return ChannelsListView(reader.Take(static_cast<size_t>(entries_len)));
}

bool ChannelsListView::Contains(ChannelKey key) const {
  for (size_t i = 0; i < size(); ++i) {
    if ((*this)[i] == key) {
      return true;
    }
  }
  return false;
}

size_t EncodeChannelsList(std::span<const ChannelKey> channels,
                          MutableBytes out) {
  Writer writer(out);
  writer.U32(static_cast<uint32_t>(channels.size()));
  for (const ChannelKey& key : channels) {
    writer.U8(static_cast<uint8_t>(key.type));
    writer.U8(key.id);
  }
  return writer.ok() ? writer.length() : 0;
}

std::optional<DstInfoKind> DstInfoKindOf(uint16_t type) {
  switch (type) {
    case kMsgMainMigrateBegin:
    case kMsgMainMigrateSwitchHost:
      return DstInfoKind::kPlain;
    case kMsgMainMigrateBeginSeamless:
      return DstInfoKind::kSeamless;
    default:
      return std::nullopt;
  }
}

std::optional<DstInfo> ParseDstInfo(DstInfoKind kind, Bytes body) {
  Reader reader(body);
  DstInfo info;
  info.port = PortOrUnset(reader.U16());
  info.sport = PortOrUnset(reader.U16());
  const Extent host_at = ReadExtent(reader);
  const Extent subject_at = ReadExtent(reader);
  if (kind == DstInfoKind::kSeamless) {
    info.src_mig_version = reader.U32();
  }
  if (!reader.ok() || Overlap(host_at, subject_at)) {
    return std::nullopt;
  }
  const size_t fixed_len = DstInfoFixedLen(kind);
  const auto host = StringAt(body, fixed_len, host_at, kMaxDstHostLen);
  const auto subject = StringAt(body, fixed_len, subject_at, kMaxDstSubjectLen);
  if (!host || host->empty() || !subject) {
    return std::nullopt;
  }
  info.host = *host;
  info.cert_subject = *subject;
  return info;
}

size_t EncodeDstInfo(DstInfoKind kind, const DstInfo& info, MutableBytes out) {
  if (info.host.empty() || !IsStringOk(info.host, kMaxDstHostLen) ||
      !IsStringOk(info.cert_subject, kMaxDstSubjectLen)) {
    return 0;
  }
  const Extent host_at = {static_cast<uint32_t>(info.host.size() + 1),
                          static_cast<uint32_t>(DstInfoFixedLen(kind))};
  Extent subject_at;
  if (!info.cert_subject.empty()) {
    subject_at = {static_cast<uint32_t>(info.cert_subject.size() + 1),
                  host_at.offset + host_at.len};
  }
  Writer writer(out);
  writer.U16(info.port);
  writer.U16(info.sport);
  PutExtent(writer, host_at);
  PutExtent(writer, subject_at);
  if (kind == DstInfoKind::kSeamless) {
    writer.U32(info.src_mig_version);
  }
  PutString(writer, info.host);
  if (subject_at.len != 0) {
    PutString(writer, info.cert_subject);
  }
  return writer.ok() ? writer.length() : 0;
}

std::optional<std::string_view> ParseMainName(Bytes body) {
  Reader reader(body);
  const std::string_view name = AsText(reader.Take(reader.U32()));
  if (!reader.ok()) {
    return std::nullopt;
  }
  return name.substr(0, name.find('\0'));
}

size_t EncodeMainName(std::string_view name, MutableBytes out) {
  Writer writer(out);
  writer.U32(static_cast<uint32_t>(name.size() + 1));
  PutString(writer, name);
  return writer.ok() ? writer.length() : 0;
}

std::optional<std::array<uint8_t, kUuidLen>> ParseMainUuid(Bytes body) {
  if (body.size() < kUuidLen) {
    return std::nullopt;
  }
  std::array<uint8_t, kUuidLen> uuid;
  std::copy_n(body.begin(), kUuidLen, uuid.begin());
  return uuid;
}

}  // namespace spicegate::proto
