// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/guard_rules.h"

#include <limits>
#include <optional>

#include "gateway/base/limits.h"
#include "proto/agent.h"
#include "proto/common_channel.h"
#include "proto/display_channel.h"
#include "proto/messages.h"
#include "proto/usbredir.h"
#include "proto/wire.h"

namespace spicegate {
namespace {

using Front = std::span<const uint8_t>;

constexpr MessageRule Exact(uint16_t type, uint32_t len) {
  return {.type = type, .min_len = len, .max_len = len};
}

constexpr MessageRule Between(uint16_t type, size_t min_len, size_t max_len) {
  return {.type = type,
          .min_len = static_cast<uint32_t>(min_len),
          .max_len = static_cast<uint32_t>(max_len)};
}

constexpr MessageRule Stateful(MessageRule rule, GuardRule state_rule) {
  rule.length_rule = state_rule;
  return rule;
}

constexpr MessageRule Claiming(MessageRule rule, size_t len,
                               MessageRule::Claim claim) {
  rule.claim_len = static_cast<uint8_t>(len);
  rule.claim = claim;
  return rule;
}

bool IsGoodInit(Front front, uint32_t size) {
  return size == proto::kDisplayInitLen && IsGoodDisplayInit(front);
}

// u8 count, then as many codecs.
bool IsGoodCodecList(Front front, uint32_t size) {
  return front[0] == size - 1;
}

// VSCMsgHeader: u32 type, u32 reader, u32 length of what follows. spice-server
// hands the device as many bytes as this length says.
constexpr size_t kCardHeaderLen = 12;

bool IsGoodCardMessage(Front front, uint32_t size) {
  return proto::LoadU32(front.data() + 8) <= size - kCardHeaderLen;
}

// MIGRATE_DATA is as long as what the source sent, which the guard knows.
constexpr MessageRule kCommon[] = {
    Exact(proto::kMsgcAckSync, 4),
    Exact(proto::kMsgcAck, 0),
    Exact(proto::kMsgcPong, proto::kPingLen),
    Stateful(Exact(proto::kMsgcMigrateFlushMark, 0), GuardRule::kFlushMark),
    Stateful(Between(proto::kMsgcMigrateData, 0,
                     std::numeric_limits<uint32_t>::max()),
             GuardRule::kMigrateData),
    Exact(proto::kMsgcDisconnecting, proto::kDisconnectingLen),
};

// AGENT_TOKEN is not among them: before AGENT_START it aborts QEMU, and viewers
// never send it because they never limit what the agent sends.
constexpr MessageRule kMain[] = {
    Between(proto::kMsgcMainAgentData, 1, proto::kMaxAgentPieceLen),
    Exact(proto::kMsgcMainMigrateConnected, 0),
    Exact(proto::kMsgcMainMigrateConnectError, 0),
    Exact(proto::kMsgcMainAttachChannels, 0),
    Exact(proto::kMsgcMainMouseModeRequest, 2),
    Exact(proto::kMsgcMainAgentStart, 4),
    Stateful(Exact(proto::kMsgcMainMigrateEnd, 0), GuardRule::kMigrateEnd),
    Stateful(Exact(proto::kMsgcMainMigrateDstDoSeamless, 4),
             GuardRule::kDoSeamless),
    Exact(proto::kMsgcMainMigrateConnectedSeamless, 0),
};

constexpr MessageRule kDisplay[] = {
    Claiming(Stateful(Exact(proto::kMsgcDisplayInit, proto::kDisplayInitLen),
                      GuardRule::kDisplayInit),
             proto::kDisplayInitLen, IsGoodInit),
    Exact(proto::kMsgcDisplayStreamReport, 32),
    Exact(proto::kMsgcDisplayPreferredCompression, 1),
    Exact(proto::kMsgcDisplayGlDrawDone, 0),
    Claiming(Between(proto::kMsgcDisplayPreferredVideoCodecType, 2, 256), 1,
             IsGoodCodecList),
};

constexpr MessageRule kInputs[] = {
    Exact(proto::kMsgcInputsMouseMotion, 10),
    Exact(proto::kMsgcInputsMousePosition, 11),
    Exact(proto::kMsgcInputsMousePress, 3),
    Exact(proto::kMsgcInputsMouseRelease, 3),
    Exact(proto::kMsgcInputsKeyDown, 4),
    Exact(proto::kMsgcInputsKeyUp, 4),
    Exact(proto::kMsgcInputsKeyModifiers, 2),
    Between(proto::kMsgcInputsKeyScancode, 1, kMaxScancodesBytes),
};

constexpr MessageRule kRecord[] = {
    Between(proto::kMsgcRecordData, 5, kMaxRecordDataBytes),
    Between(proto::kMsgcRecordMode, 6, kMaxRecordModeBytes),
    Exact(proto::kMsgcRecordStartMark, 4),
};

constexpr MessageRule kSmartcard[] = {
    Claiming(Between(proto::kMsgcSmartcardData, kCardHeaderLen,
                     kCardHeaderLen + kMaxCardDataBytes),
             kCardHeaderLen, IsGoodCardMessage),
};

// No viewer sends an empty DATA, for which spice-server has no buffer.
// COMPRESSED_DATA is not among them: the gateway does not offer to take it
// (proto::OfferedCapsFor), because servers queue what it unpacks to without any
// bound, and because nobody could look into it.
constexpr MessageRule kUsbredir[] = {
    Between(proto::kMsgcSpicevmcData, 1,
            kMaxUsbPacketBytes + proto::kUsbredirLongHeaderLen),
};

constexpr MessageRule kPort[] = {
    Between(proto::kMsgcSpicevmcData, 1, kMaxDeviceDataBytes),
    Exact(proto::kMsgcPortEvent, 1),
};

std::span<const MessageRule> RulesOf(proto::ChannelType channel) {
  switch (channel) {
    case proto::ChannelType::kMain:
      return kMain;
    case proto::ChannelType::kDisplay:
      return kDisplay;
    case proto::ChannelType::kInputs:
      return kInputs;
    case proto::ChannelType::kRecord:
      return kRecord;
    case proto::ChannelType::kSmartcard:
      return kSmartcard;
    case proto::ChannelType::kUsbredir:
      return kUsbredir;
    case proto::ChannelType::kPort:
    case proto::ChannelType::kWebdav:
      return kPort;
    case proto::ChannelType::kCursor:
    case proto::ChannelType::kPlayback:
    case proto::ChannelType::kTunnel:
      break;
  }
  return {};
}

}  // namespace

const MessageRule* FindMessageRule(proto::ChannelType channel, uint16_t type) {
  constexpr uint16_t kFirstOwnType = 101;
  const std::span<const MessageRule> rules =
      type < kFirstOwnType ? kCommon : RulesOf(channel);
  for (const MessageRule& rule : rules) {
    if (rule.type == type) {
      return &rule;
    }
  }
  return nullptr;
}

bool IsGoodDisplayInit(std::span<const uint8_t> body) {
  const std::optional<proto::DisplayInit> init = proto::ParseDisplayInit(body);
  return init.has_value() && body.size() == proto::kDisplayInitLen &&
         init->glz_window_px >= 0 && init->glz_window_px <= kMaxGlzWindowPx;
}

}  // namespace spicegate
