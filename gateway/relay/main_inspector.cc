// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/main_inspector.h"

#include <algorithm>
#include <array>
#include <vector>

#include "gateway/base/limits.h"
#include "proto/agent.h"
#include "proto/common_channel.h"
#include "proto/messages.h"
#include "proto/wire.h"

namespace spicegate {
namespace {

constexpr proto::ChannelKey kMainKey = {proto::ChannelType::kMain, 0};

// What a body may measure, and how many bytes of it have to be seen before it
// may go on.
struct Shape {
  uint32_t min = 0;
  uint32_t max = 0;
  uint32_t look = 0;
};

// Fields that later versions may add behind those of today; viewers skip them.
constexpr uint32_t kRoom = 64;
// A text, and every message that is not known.
constexpr uint32_t kMaxOther = 64 * 1024;
constexpr uint32_t kMaxPing = 1024 * 1024;
constexpr uint32_t kMaxWaitList = 1 + 255 * 10;
constexpr uint32_t kMaxChannelsList = 4 + 2 * kMaxListedChannels;
constexpr uint32_t kMaxDstInfo = proto::kMaxDstInfoLen;
constexpr uint32_t kMaxData = kMaxMigrationDataBytes;

constexpr Shape Fixed(uint32_t len, uint32_t look = 0) {
  return {len, len + kRoom, look};
}
constexpr Shape Whole(uint32_t min, uint32_t max) { return {min, max, max}; }

Shape CommonShape(uint16_t type) {
  switch (type) {
    case proto::kMsgMigrate:
      return Fixed(4, 4);
    case proto::kMsgMigrateData:
      return {0, kMaxData, 0};
    case proto::kMsgSetAck:
      return Fixed(proto::kSetAckLen);
    case proto::kMsgPing:
      return {proto::kPingLen, kMaxPing, 0};
    case proto::kMsgWaitForChannels:
      return {1, kMaxWaitList + kRoom, 1};
    case proto::kMsgDisconnecting:
      return Fixed(proto::kDisconnectingLen);
    case proto::kMsgNotify:
      return {proto::kNotifyFixedLen, kMaxOther, proto::kNotifyFixedLen};
    default:
      return {0, kMaxOther, 0};
  }
}

Shape MainShape(uint16_t type) {
  switch (type) {
    case proto::kMsgMainInit:
      return Fixed(proto::kMainInitLen, 4);
    case proto::kMsgMainChannelsList:
      return Whole(4, kMaxChannelsList);
    case proto::kMsgMainMigrateBegin:
    case proto::kMsgMainMigrateSwitchHost:
      return Whole(20, kMaxDstInfo);
    case proto::kMsgMainMigrateBeginSeamless:
      return Whole(24, kMaxDstInfo);
    case proto::kMsgMainAgentData:
      return {0, proto::kMaxAgentPieceLen, 0};
    case proto::kMsgMainMouseMode:
    case proto::kMsgMainMultiMediaTime:
    case proto::kMsgMainAgentDisconnected:
    case proto::kMsgMainAgentToken:
    case proto::kMsgMainAgentConnectedTokens:
      return Fixed(4);
    case proto::kMsgMainMigrateCancel:
    case proto::kMsgMainAgentConnected:
    case proto::kMsgMainMigrateEnd:
    case proto::kMsgMainMigrateDstSeamlessAck:
    case proto::kMsgMainMigrateDstSeamlessNack:
      return Fixed(0);
    case proto::kMsgMainName:
      return {4, kMaxOther, 4};
    case proto::kMsgMainUuid:
      return Fixed(proto::kUuidLen);
    default:
      return {0, kMaxOther, 0};
  }
}

Shape ShapeOf(uint16_t type) {
  return type <= 100 ? CommonShape(type) : MainShape(type);
}

// What a body claims of the bytes behind its front, for the types that are not
// parsed anyway.
bool ClaimsFit(uint16_t type, uint32_t size, std::span<const uint8_t> front) {
  switch (type) {
    case proto::kMsgWaitForChannels:
      return 1 + 10u * front[0] <= size;
    case proto::kMsgNotify:
      return proto::RangeFits(proto::kNotifyFixedLen,
                              proto::LoadU32(front.data() + 20), size);
    case proto::kMsgMainName:
      return proto::RangeFits(4, proto::LoadU32(front.data()), size);
    default:
      return true;
  }
}

// Lists of messages inside a message are a display's; here they would hide what
// has to be seen.
bool HidesMessages(const proto::DataHeader& header) {
  return header.sub_list != 0 || header.type == proto::kMsgList;
}

MigrationKind KindOf(uint16_t type) {
  switch (type) {
    case proto::kMsgMainMigrateBegin:
      return MigrationKind::kSemiSeamless;
    case proto::kMsgMainMigrateBeginSeamless:
      return MigrationKind::kSeamless;
    default:
      return MigrationKind::kSwitchHost;
  }
}

}  // namespace

size_t MainInspector::Wanted(uint16_t type, uint32_t size) const {
  const bool whole = (type == proto::kMsgMigrateData && IsSource()) ||
                     (type == proto::kMsgMainAgentData && agent_ != nullptr);
  return whole ? size : std::min(size, ShapeOf(type).look);
}

MessageFilter::Judgement MainInspector::Judge(const proto::DataHeader& header,
                                              std::span<const uint8_t> front) {
  const Shape shape = ShapeOf(header.type);
  if (header.size < shape.min || header.size > shape.max ||
      HidesMessages(header)) {
    return Refuse(header);
  }
  const size_t wanted = Wanted(header.type, header.size);
  if (front.size() < wanted) {
    return {Verdict::kNeed, wanted};
  }
  switch (header.type) {
    case proto::kMsgMainMigrateBegin:
    case proto::kMsgMainMigrateSwitchHost:
    case proto::kMsgMainMigrateBeginSeamless:
      return OnMigrateTo(header, front);
    case proto::kMsgMigrateData:
      return OnMigrateData(header, front);
    case proto::kMsgMainChannelsList:
      return OnChannelsList(header, front);
    case proto::kMsgMainAgentData:
      return OnAgentData(header, front);
    default:
      break;
  }
  if (!ClaimsFit(header.type, header.size, front)) {
    return Refuse(header);
  }
  Note(header, front);
  return {Verdict::kPass};
}

MessageFilter::Judgement MainInspector::Refuse(
    const proto::DataHeader& header) {
  host_->OnServerRefusal(header);
  return {Verdict::kRefuse};
}

void MainInspector::Note(const proto::DataHeader& header,
                         std::span<const uint8_t> front) {
  switch (header.type) {
    case proto::kMsgMainInit:
      host_->OnMainInit(proto::LoadU32(front.data()));
      break;
    case proto::kMsgMainMigrateCancel:
      if (!destination_) {
        host_->OnMigrateCancel();
      }
      break;
    case proto::kMsgMainAgentConnected:
    case proto::kMsgMainAgentDisconnected:
    case proto::kMsgMainAgentConnectedTokens:
      if (agent_ != nullptr) {
        agent_->AgentChanged();
      }
      break;
    default:
      NoteMigration(header.type, front);
      break;
  }
}

void MainInspector::NoteMigration(uint16_t type,
                                  std::span<const uint8_t> front) {
  const bool ack = type == proto::kMsgMainMigrateDstSeamlessAck;
  if (ack || type == proto::kMsgMainMigrateDstSeamlessNack) {
    if (migration_ != nullptr && destination_) {
      migration_->OnSeamlessAnswer(ack);
    }
  } else if (type == proto::kMsgMigrate && IsSource()) {
    migration_->OnSourceMigrate(kMainKey, proto::LoadU32(front.data()));
  } else if (type == proto::kMsgMainMigrateEnd && IsSource()) {
    migration_->OnSourceEnd();
  }
}

// Written anew even where nothing has changed, so that what viewers read is
// what was checked.
MessageFilter::Judgement MainInspector::OnMigrateTo(
    const proto::DataHeader& header, std::span<const uint8_t> body) {
  const proto::DstInfoKind kind = *proto::DstInfoKindOf(header.type);
  const auto to = proto::ParseDstInfo(kind, body);
  if (!to) {
    return Refuse(header);
  }
  proto::DstInfo told = host_->OnMigrateTo(KindOf(header.type), *to);
  told.src_mig_version = to->src_mig_version;
  std::array<uint8_t, proto::kMaxDstInfoLen> encoded;
  const size_t len = proto::EncodeDstInfo(kind, told, encoded);
  // A place that cannot be told: without the message the client stays, and the
  // server gives the migration up.
  return len == 0 ? Judgement{Verdict::kDrop}
                  : ReplaceBody(header, std::span(encoded).first(len));
}

MessageFilter::Judgement MainInspector::OnMigrateData(
    const proto::DataHeader& header, std::span<const uint8_t> body) {
  if (!IsSource()) {
    return {Verdict::kPass};
  }
  if (!migration_->OnSourceDataBegins(kMainKey, header.size)) {
    return Refuse(header);
  }
  migration_->OnSourceData(kMainKey, body);
  return {Verdict::kPass};
}

MessageFilter::Judgement MainInspector::OnChannelsList(
    const proto::DataHeader& header, std::span<const uint8_t> body) {
  const auto list = proto::ChannelsListView::Parse(body);
  if (!list) {
    return Refuse(header);
  }
  std::vector<proto::ChannelKey> kept;
  kept.reserve(list->size());
  for (size_t i = 0; i < list->size(); ++i) {
    if (policy_.refuses_channel(static_cast<uint8_t>((*list)[i].type))) {
      host_->OnPolicyDrop(PolicyDrop::kChannel);
    } else {
      kept.push_back((*list)[i]);
    }
  }
  if (kept.size() == list->size()) {
    return {Verdict::kPass};
  }
  std::array<uint8_t, kMaxChannelsList> encoded;
  const size_t len = proto::EncodeChannelsList(kept, encoded);
  return ReplaceBody(header, std::span(encoded).first(len));
}

MessageFilter::Judgement MainInspector::OnAgentData(
    const proto::DataHeader& header, std::span<const uint8_t> body) {
  if (agent_ == nullptr) {
    return {Verdict::kPass};
  }
  const AgentFilter::Verdict verdict = agent_->FromServer(body);
  if (const auto drop = agent_->dropped()) {
    host_->OnPolicyDrop(*drop);
  }
  switch (verdict) {
    case AgentFilter::Verdict::kPass:
      return {Verdict::kPass};
    case AgentFilter::Verdict::kDrop:
      return {Verdict::kDrop};
    case AgentFilter::Verdict::kReplace:
      break;
  }
  return ReplaceBody(header, agent_->replacement());
}

MessageFilter::Judgement MainInspector::ReplaceBody(
    const proto::DataHeader& header, std::span<const uint8_t> body) {
  proto::DataHeader changed = header;
  changed.size = static_cast<uint32_t>(body.size());
  Replace(changed, body);
  return {Verdict::kReplace};
}

void MainInspector::PayBack(uint32_t num) {
  const std::span<uint8_t> waiting = WaitingBody(proto::kMsgMainAgentToken);
  if (waiting.size() == 4) {
    proto::StoreU32(waiting.data(), proto::LoadU32(waiting.data()) + num);
    return;
  }
  std::array<uint8_t, 4> body;
  proto::StoreU32(body.data(), num);
  Insert(proto::kMsgMainAgentToken, body);
}

}  // namespace spicegate
