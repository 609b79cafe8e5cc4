// SPDX-License-Identifier: Apache-2.0
#include "proto/agent.h"

#include <algorithm>
#include <cstring>

namespace spicegate::proto {
namespace {

constexpr std::string_view kTypeNames[] = {"unknown",
                                           "mouse_state",
                                           "monitors_config",
                                           "reply",
                                           "clipboard",
                                           "display_config",
                                           "announce_capabilities",
                                           "clipboard_grab",
                                           "clipboard_request",
                                           "clipboard_release",
                                           "file_xfer_start",
                                           "file_xfer_status",
                                           "file_xfer_data",
                                           "client_disconnected",
                                           "max_clipboard",
                                           "audio_volume_sync",
                                           "graphics_device_info"};

}  // namespace

std::string_view AgentTypeName(uint32_t type) {
  return kTypeNames[type < std::size(kTypeNames) ? type : 0];
}

std::optional<AgentHeader> ParseAgentHeader(Bytes in) {
  Reader reader(in);
  AgentHeader header;
  header.protocol = reader.U32();
  header.type = reader.U32();
  header.opaque = reader.U64();
  header.size = reader.U32();
  return reader.ok() ? std::optional(header) : std::nullopt;
}

std::array<uint8_t, kAgentHeaderLen> EncodeAgentHeader(
    const AgentHeader& header) {
  std::array<uint8_t, kAgentHeaderLen> out;
  StoreU32(out.data(), header.protocol);
  StoreU32(out.data() + 4, header.type);
  StoreU64(out.data() + 8, header.opaque);
  StoreU32(out.data() + 16, header.size);
  return out;
}

std::optional<AgentCapabilities> ParseAgentCapabilities(Bytes data) {
  Reader reader(data);
  const uint32_t request = reader.U32();
  if (!reader.ok()) {
    return std::nullopt;
  }
  return AgentCapabilities{request != 0,
                           CapsView(reader.Take(reader.remaining()))};
}

bool AgentParser::StartPiece(uint32_t len) {
  bool allowed = !violated_ && piece_remaining_ == 0;
  if (rules_ == Rules::kFromClient) {
    allowed = allowed && len <= kMaxAgentPieceLen &&
              (in_message_ ? len <= body_remaining_ : len >= kAgentHeaderLen);
  }
  violated_ = !allowed;
  piece_remaining_ = len;
  return allowed;
}

AgentParser::Step AgentParser::Feed(Bytes in) {
  if (violated_ || in.size() > piece_remaining_) {
    return Violation();
  }
  return in_message_ ? FeedBody(in) : FeedHeader(in);
}

AgentParser::Step AgentParser::FeedHeader(Bytes in) {
  const size_t len = std::min(in.size(), kAgentHeaderLen - have_);
  if (len > 0) {
    std::memcpy(buffer_.data() + have_, in.data(), len);
    have_ += len;
    piece_remaining_ -= static_cast<uint32_t>(len);
  }
  if (have_ < kAgentHeaderLen) {
    return {Event::kNeedMore, len, {}};
  }
  header_ = *ParseAgentHeader(buffer_);
  if (!HeaderAllowed()) {
    return Violation();
  }
  have_ = 0;
  body_remaining_ = header_.size;
  in_message_ = true;
  return {Event::kHeader, len, {}};
}

bool AgentParser::HeaderAllowed() const {
  const bool ends_in_message =
      rules_ == Rules::kFromServer || piece_remaining_ <= header_.size;
  return header_.protocol == kAgentProtocol && ends_in_message;
}

AgentParser::Step AgentParser::FeedBody(Bytes in) {
  if (body_remaining_ == 0) {
    in_message_ = false;
    return {Event::kEnd, 0, {}};
  }
  const size_t len = std::min<size_t>(in.size(), body_remaining_);
  if (len == 0) {
    return {};
  }
  body_remaining_ -= static_cast<uint32_t>(len);
  piece_remaining_ -= static_cast<uint32_t>(len);
  return {Event::kBody, len, in.first(len)};
}

AgentParser::Step AgentParser::Violation() {
  violated_ = true;
  return {Event::kViolation, 0, {}};
}

void AgentParser::Reset() { *this = AgentParser(rules_); }

}  // namespace spicegate::proto
