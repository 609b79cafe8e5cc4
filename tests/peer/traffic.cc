// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/traffic.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::Direction;

// The finalizer of SplitMix64: every input bit reaches every output bit.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

uint64_t PatternWord(uint64_t seed, uint64_t index) {
  return Mix(seed + (index + 1) * 0x9e3779b97f4a7c15ull);
}

TrafficShape ClientShape(ChannelType type) {
  switch (type) {
    case ChannelType::kDisplay:
      return {proto::kMsgcDisplayStreamReport, 32};
    case ChannelType::kInputs:
      return {proto::kMsgcInputsMouseMotion, 10};
    case ChannelType::kRecord:
      return {proto::kMsgcRecordData, 160};
    case ChannelType::kUsbredir:
    case ChannelType::kPort:
    case ChannelType::kWebdav:
      return {proto::kMsgcSpicevmcData, 4096};
    default:
      // Channels whose clients have nothing of their own to say.
      return {proto::kMsgcPong, 12};
  }
}

TrafficShape ServerShape(ChannelType type) {
  switch (type) {
    case ChannelType::kDisplay:
      return {proto::kMsgDisplayDrawCopy, 20'000};
    case ChannelType::kInputs:
      return {proto::kMsgInputsKeyModifiers, 2};
    case ChannelType::kCursor:
      return {proto::kMsgCursorMove, 4};
    case ChannelType::kPlayback:
      return {proto::kMsgPlaybackData, 139};
    case ChannelType::kRecord:
      return {proto::kMsgRecordVolume, 5};
    case ChannelType::kUsbredir:
    case ChannelType::kPort:
    case ChannelType::kWebdav:
      return {proto::kMsgSpicevmcData, 16'384};
    default:
      return {proto::kMsgPing, 1500};
  }
}

}  // namespace

void FillPattern(uint64_t seed, uint64_t offset, std::span<uint8_t> out) {
  while (!out.empty()) {
    std::array<uint8_t, 8> word;
    proto::StoreU64(word.data(), PatternWord(seed, offset / 8));
    const size_t skip = offset % 8;
    const size_t len = std::min<size_t>(8 - skip, out.size());
    std::memcpy(out.data(), word.data() + skip, len);
    out = out.subspan(len);
    offset += len;
  }
}

size_t MatchPattern(uint64_t seed, uint64_t offset,
                    std::span<const uint8_t> in) {
  std::array<uint8_t, 4096> expected;
  size_t matched = 0;
  while (matched < in.size()) {
    const size_t len = std::min(expected.size(), in.size() - matched);
    FillPattern(seed, offset + matched, std::span(expected).first(len));
    const auto piece = in.subspan(matched, len);
    const auto differs =
        std::mismatch(piece.begin(), piece.end(), expected.begin());
    matched += static_cast<size_t>(differs.first - piece.begin());
    if (differs.first != piece.end()) {
      break;
    }
  }
  return matched;
}

uint64_t TrafficSeed(uint64_t console_seed, proto::ChannelKey channel,
                     Direction direction) {
  return Mix(console_seed * 0x10000 +
             static_cast<uint64_t>(channel.type) * 0x200 + channel.id * 2u +
             static_cast<uint64_t>(direction));
}

TrafficShape ShapeOf(ChannelType type, Direction direction) {
  return direction == Direction::kClientToServer ? ClientShape(type)
                                                 : ServerShape(type);
}

TrafficWriter::TrafficWriter(uint64_t seed, TrafficShape shape,
                             uint64_t total_bytes)
    : seed_(seed),
      shape_(shape),
      total_((total_bytes + shape.body_len - 1) / shape.body_len *
             shape.body_len) {}

void TrafficWriter::AppendMessage() {
  const size_t at = buffer_.size();
  buffer_.resize(at + proto::kMiniHeaderLen + shape_.body_len);
  const std::span<uint8_t> message = std::span(buffer_).subspan(at);
  proto::EncodeDataHeader(proto::HeaderKind::kMini,
                          {.type = shape_.type, .size = shape_.body_len},
                          message);
  const std::span<uint8_t> body = message.subspan(proto::kMiniHeaderLen);
  FillPattern(seed_, sent_, body);
  sent_ += shape_.body_len;
}

std::span<const uint8_t> TrafficWriter::Next(size_t target_len) {
  buffer_.clear();
  while (sent_ < total_ && buffer_.size() < target_len) {
    AppendMessage();
  }
  return buffer_;
}

TrafficReader::TrafficReader(uint64_t seed, TrafficShape shape,
                             uint64_t total_bytes, Handler other)
    : seed_(seed),
      shape_(shape),
      total_((total_bytes + shape.body_len - 1) / shape.body_len *
             shape.body_len),
      other_(std::move(other)) {}

void TrafficReader::Header() {
  is_pattern_ = framer_.header().type == shape_.type && received_ < total_;
  other_body_.clear();
  if (is_pattern_ && framer_.header().size != shape_.body_len) {
    error_ = "a message of " + std::to_string(framer_.header().size) +
             " bytes instead of " + std::to_string(shape_.body_len);
  }
}

void TrafficReader::Body(std::span<const uint8_t> piece) {
  if (!is_pattern_) {
    other_body_.insert(other_body_.end(), piece.begin(), piece.end());
    return;
  }
  const size_t matched = MatchPattern(seed_, received_, piece);
  received_ += matched;
  if (matched != piece.size()) {
    error_ = "wrong byte at offset " + std::to_string(received_);
  }
}

void TrafficReader::End() {
  if (!is_pattern_) {
    other_(framer_.header().type, other_body_);
  }
}

bool TrafficReader::Feed(std::span<const uint8_t> in) {
  using Event = proto::MessageFramer::Event;
  while (error_.empty()) {
    const proto::MessageFramer::Step step = framer_.Feed(in);
    in = in.subspan(step.consumed);
    if (step.event == Event::kNeedMore) {
      return true;
    }
    if (step.event == Event::kHeader) {
      Header();
    } else if (step.event == Event::kBody) {
      Body(step.body);
    } else {
      End();
    }
  }
  return false;
}

}  // namespace spicegate
