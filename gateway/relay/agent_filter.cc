// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/agent_filter.h"

#include <algorithm>

namespace spicegate {
namespace {

using proto::AgentParser;

constexpr uint8_t Bit(proto::AgentCap cap) {
  return static_cast<uint8_t>(1u << cap % 8);
}

// In ANNOUNCE_CAPABILITIES: a request word, then words of capabilities.
constexpr size_t kClipboardCapsAt = 4;
constexpr uint8_t kClipboardCaps = Bit(proto::kAgentCapClipboard) |
                                   Bit(proto::kAgentCapClipboardByDemand) |
                                   Bit(proto::kAgentCapClipboardSelection);
constexpr size_t kFileCapsAt = 5;
constexpr uint8_t kFileXferDisabled = Bit(proto::kAgentCapFileXferDisabled);

uint8_t* ByteAt(size_t position, size_t offset, std::span<uint8_t> body) {
  const bool here = position >= offset && position - offset < body.size();
  return here ? &body[position - offset] : nullptr;
}

}  // namespace

std::optional<PolicyDrop> AgentFilter::Forbids(uint32_t type,
                                               bool from_client) const {
  const bool there =
      from_client ? policy_.clipboard_to_guest : policy_.clipboard_from_guest;
  const bool back =
      from_client ? policy_.clipboard_from_guest : policy_.clipboard_to_guest;
  bool allowed = true;
  PolicyDrop drop = PolicyDrop::kClipboard;
  switch (type) {
    case proto::kAgentClipboard:
    case proto::kAgentClipboardGrab:
    case proto::kAgentClipboardRelease:
      allowed = there;
      break;
    case proto::kAgentClipboardRequest:
      allowed = back;
      break;
    case proto::kAgentFileXferStart:
    case proto::kAgentFileXferStatus:
    case proto::kAgentFileXferData:
      allowed = policy_.file_transfer;
      drop = PolicyDrop::kFileTransfer;
      break;
    case proto::kAgentMonitorsConfig:
      allowed = !from_client || !policy_.read_only;
      drop = PolicyDrop::kReadOnly;
      break;
    default:
      break;
  }
  return allowed ? std::nullopt : std::optional(drop);
}

AgentFilter::Verdict AgentFilter::FromClient(std::span<const uint8_t> piece) {
  dropped_.reset();
  const Verdict verdict = JudgeClient(piece);
  owes_token_ = verdict == Verdict::kDrop && client_.started;
  return verdict;
}

AgentFilter::Verdict AgentFilter::JudgeClient(std::span<const uint8_t> piece) {
  if (client_.broken || let_go_) {
    return Verdict::kDrop;
  }
  if (client_.remaining == 0 || (client_.restarted && StartsMessage(piece))) {
    return BeginClientMessage(piece);
  }
  if (client_.dropping) {
    client_.remaining -= static_cast<uint32_t>(
        std::min<size_t>(client_.remaining, piece.size()));
    return Verdict::kDrop;
  }
  if (piece.size() >
      std::min<size_t>(client_.remaining, proto::kMaxAgentPieceLen)) {
    return BreakClient();
  }
  client_.remaining -= static_cast<uint32_t>(piece.size());
  return Verdict::kPass;
}

// The server is between two messages: it has seen nothing of one that was
// dropped.
AgentFilter::Verdict AgentFilter::BeginClientMessage(
    std::span<const uint8_t> piece) {
  client_.remaining = 0;
  client_.dropping = client_.restarted = false;
  const auto header = proto::ParseAgentHeader(piece);
  if (!header) {
    return BreakClient();
  }
  const size_t body_len = piece.size() - proto::kAgentHeaderLen;
  const auto left = static_cast<uint32_t>(
      header->size - std::min<size_t>(body_len, header->size));
  dropped_ = Forbids(header->type, true);
  if (dropped_) {
    client_.remaining = left;
    client_.dropping = true;
    return Verdict::kDrop;
  }
  // Behind a message of size 0 spice-server does not look: the guest would get
  // whatever stands there.
  if (header->size == 0 && body_len != 0) {
    return Verdict::kDrop;
  }
  if (header->protocol != proto::kAgentProtocol || body_len > header->size ||
      piece.size() > proto::kMaxAgentPieceLen) {
    return BreakClient();
  }
  client_.remaining = left;
  return Verdict::kPass;
}

AgentFilter::Verdict AgentFilter::BreakClient() {
  client_.broken = true;
  return Verdict::kPass;
}

// Whether a piece that may be the rest of a dropped message can be a message of
// its own. Some viewers forget what they have queued when the agent changes,
// some do not; whatever is taken for a message here is one to the server too.
bool AgentFilter::StartsMessage(std::span<const uint8_t> piece) const {
  const auto header = proto::ParseAgentHeader(piece);
  return header && header->protocol == proto::kAgentProtocol &&
         piece.size() - proto::kAgentHeaderLen <= header->size;
}

AgentFilter::Verdict AgentFilter::FromServer(std::span<const uint8_t> piece) {
  dropped_.reset();
  owes_token_ = false;
  replacement_.clear();
  if (!from_server_.StartPiece(static_cast<uint32_t>(piece.size())) ||
      !FeedServer(piece)) {
    return Verdict::kDrop;
  }
  if (std::ranges::equal(piece, replacement_)) {
    return Verdict::kPass;
  }
  return replacement_.empty() ? Verdict::kDrop : Verdict::kReplace;
}

// Leaves in replacement_ what goes on. False: the piece is malformed.
bool AgentFilter::FeedServer(std::span<const uint8_t> piece) {
  for (;;) {
    const AgentParser::Step step = from_server_.Feed(piece);
    piece = piece.subspan(step.consumed);
    switch (step.event) {
      case AgentParser::Event::kHeader:
        BeginServerMessage();
        break;
      case AgentParser::Event::kBody:
        AppendServerBody(step.body);
        break;
      case AgentParser::Event::kEnd:
        break;
      case AgentParser::Event::kNeedMore:
        return true;
      case AgentParser::Event::kViolation:
        return false;
    }
  }
}

void AgentFilter::BeginServerMessage() {
  const proto::AgentHeader& header = from_server_.header();
  const std::optional<PolicyDrop> drop = Forbids(header.type, false);
  dropping_server_message_ = drop.has_value();
  if (drop) {
    dropped_ = drop;
    return;
  }
  const auto encoded = proto::EncodeAgentHeader(header);
  replacement_.insert(replacement_.end(), encoded.begin(), encoded.end());
}

void AgentFilter::AppendServerBody(std::span<const uint8_t> body) {
  if (dropping_server_message_) {
    return;
  }
  replacement_.insert(replacement_.end(), body.begin(), body.end());
  const proto::AgentHeader& header = from_server_.header();
  if (header.type == proto::kAgentAnnounceCapabilities) {
    ChangeCapabilities(
        header.size - from_server_.body_remaining() - body.size(),
        std::span(replacement_).last(body.size()));
  }
}

void AgentFilter::ChangeCapabilities(size_t body_offset,
                                     std::span<uint8_t> body) const {
  uint8_t* const clipboard = ByteAt(kClipboardCapsAt, body_offset, body);
  if (clipboard != nullptr && !policy_.clipboard_to_guest &&
      !policy_.clipboard_from_guest) {
    *clipboard &= static_cast<uint8_t>(~kClipboardCaps);
  }
  uint8_t* const files = ByteAt(kFileCapsAt, body_offset, body);
  if (files != nullptr && !policy_.file_transfer) {
    *files |= kFileXferDisabled;
  }
}

void AgentFilter::AgentChanged() {
  from_server_.Reset();
  dropping_server_message_ = false;
  client_.started = false;
}

void AgentFilter::ClientStarted() {
  client_.started = true;
  client_.restarted = client_.dropping && client_.remaining != 0;
}

void AgentFilter::ContinueFrom(const AgentFilter& source) {
  client_ = source.client_;
  from_server_ = source.from_server_;
  dropping_server_message_ = source.dropping_server_message_;
}

}  // namespace spicegate
