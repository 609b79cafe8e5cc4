// SPDX-License-Identifier: Apache-2.0
#include "bench/load/command.h"

#include "proto/messages.h"

namespace spicegate {
namespace {

constexpr uint32_t kMark = 0xB5;
constexpr uint64_t kLenMask = (1 << 24) - 1;

}  // namespace

std::array<uint8_t, proto::kPingLen> EncodeCommand(const Command& command) {
  const uint32_t id =
      kMark << 24 | static_cast<uint32_t>(command.op) << 16 | command.tag;
  return proto::EncodePing({.id = id, .timestamp = command.argument});
}

std::optional<Command> ParseCommand(proto::Bytes body) {
  const auto ping = proto::ParsePing(body);
  if (!ping.has_value() || body.size() != proto::kPingLen ||
      ping->id >> 24 != kMark) {
    return std::nullopt;
  }
  const auto op = static_cast<Op>(ping->id >> 16 & 0xff);
  if (op < Op::kProbe || op > Op::kFinish) {
    return std::nullopt;
  }
  return Command{.op = op,
                 .tag = static_cast<uint16_t>(ping->id),
                 .argument = ping->timestamp};
}

Command PlanCommand(Op op, const FloodPlan& plan) {
  return {.op = op,
          .tag = plan.seed,
          .argument = uint64_t{plan.rate_hz} << 48 |
                      uint64_t{plan.max_len} << 24 | plan.min_len};
}

std::optional<FloodPlan> PlanOf(const Command& command, uint16_t type) {
  const FloodPlan plan = {
      .type = type,
      .seed = command.tag,
      .min_len = static_cast<uint32_t>(command.argument & kLenMask),
      .max_len = static_cast<uint32_t>(command.argument >> 24 & kLenMask),
      .rate_hz = static_cast<uint16_t>(command.argument >> 48)};
  if (plan.min_len < kMinFloodMessageLen || plan.min_len > plan.max_len ||
      plan.max_len > kMaxFloodMessageLen) {
    return std::nullopt;
  }
  return plan;
}

uint16_t ServerFloodType(proto::ChannelType type) {
  switch (type) {
    case proto::ChannelType::kPlayback:
      return proto::kMsgPlaybackData;
    case proto::ChannelType::kUsbredir:
    case proto::ChannelType::kPort:
    case proto::ChannelType::kWebdav:
      return proto::kMsgSpicevmcData;
    default:
      return proto::kMsgDisplayDrawCopy;
  }
}

uint16_t ClientFloodType() { return proto::kMsgcSpicevmcData; }

}  // namespace spicegate
