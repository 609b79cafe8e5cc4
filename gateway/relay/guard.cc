// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/guard.h"

#include <algorithm>
#include <utility>

#include "gateway/base/check.h"
#include "proto/agent.h"
#include "proto/display_channel.h"
#include "proto/messages.h"

namespace spicegate {

using proto::ChannelType;

Guard::Guard(const GuardContext& context)
    : MessageFilter(context.header_kind),
      host_(context.host),
      agent_(context.agent),
      key_(context.key),
      mode_(context.mode),
      read_only_(context.policy.read_only &&
                 context.key.type == ChannelType::kInputs) {
  DCHECK(agent_ == nullptr || key_.type == ChannelType::kMain);
  if (key_.type == ChannelType::kUsbredir && mode_ != GuardMode::kOff) {
    usb_ = std::make_unique<UsbredirGuard>(context.header_kind);
  }
  set_migration(context.migration, context.destination);
}

bool Guard::IsNeeded(ChannelType type, GuardMode mode, const Policy& policy) {
  return type == ChannelType::kMain || mode != GuardMode::kOff ||
         (type == ChannelType::kInputs && policy.read_only);
}

void Guard::set_migration(Migration* migration, bool destination) {
  if (migration == nullptr && seamless_) {
    // MIGRATE_DATA would have taken the place of INIT, which aborts QEMU here.
    awaits_init_ = false;
  }
  migration_ = migration;
  destination_ = migration != nullptr && destination;
  if (destination_) {
    data_passed_ = false;
    seamless_ = migration->kind() == MigrationKind::kSeamless;
    awaits_init_ = key_.type == ChannelType::kDisplay;
  }
  if (usb_ != nullptr && migration != nullptr) {
    std::shared_ptr<UsbredirHandover> handover = migration->UsbHandover(key_);
    destination_ ? usb_->ContinueFrom(std::move(handover))
                 : usb_->HandOverTo(handover.get());
  }
}

MessageFilter::Judgement Guard::Judge(const proto::DataHeader& header,
                                      std::span<const uint8_t> front) {
  if (hold_after_init_ ||
      (IsUsbData(header.type) && usb_->waits_for_server())) {
    return {.verdict = Verdict::kHold};
  }
  const MessageRule* rule = FindMessageRule(key_.type, header.type);
  const size_t needed = FrontNeeded(header, rule);
  if (front.size() < needed) {
    return {.verdict = Verdict::kNeed, .need = needed};
  }
  // From here on once for each message: the migration notes what it allows.
  const std::optional<GuardRule> broken = BrokenRule(header, front, rule);
  if (broken.has_value()) {
    host_->OnGuardRefusal(*broken, header);
    if (mode_ == GuardMode::kEnforce) {
      return {.verdict = Verdict::kRefuse};
    }
  }
  if (IsAheadOfInit(header.type)) {
    return {.verdict = Verdict::kDrop};
  }
  Follow(header.type);
  return {.verdict = ApplyPolicy(header, front),
          .watch = IsUsbData(header.type)};
}

bool Guard::IsUsbData(uint16_t type) const {
  return usb_ != nullptr && type == proto::kMsgcSpicevmcData;
}

bool Guard::OnBody(std::span<const uint8_t> piece) {
  if (usb_->FromClient(piece)) {
    return true;
  }
  host_->OnGuardRefusal(GuardRule::kUsbPacket, usb_->message());
  return mode_ != GuardMode::kEnforce;
}

// How much of the body has to be seen. Bounded whatever the header claims: by
// the table, by a piece of the agent's, by what the source has sent.
size_t Guard::FrontNeeded(const proto::DataHeader& header,
                          const MessageRule* rule) const {
  if (header.type == proto::kMsgcMigrateData) {
    const bool expected =
        destination_ && migration_->ExpectedDataLen(key_) == header.size;
    return expected ? header.size : 0;
  }
  if (agent_ != nullptr && header.type == proto::kMsgcMainAgentData) {
    return header.size <= proto::kMaxAgentPieceLen ? header.size : 0;
  }
  if (key_.type == ChannelType::kDisplay && awaits_init_ &&
      header.type == proto::kMsgcDisplayInit) {
    // Passed whole or not at all: its channel has to know.
    return std::min<size_t>(header.size, proto::kDisplayInitLen);
  }
  if (mode_ == GuardMode::kOff || rule == nullptr ||
      header.size < rule->min_len || header.size > rule->max_len) {
    return 0;
  }
  return rule->claim_len;
}

// The rule that the message breaks, if any. With the guard off none, but the
// migration takes note all the same.
std::optional<GuardRule> Guard::BrokenRule(const proto::DataHeader& header,
                                           std::span<const uint8_t> front,
                                           const MessageRule* rule) {
  if (mode_ == GuardMode::kOff) {
    BrokenState(header, front);
    return std::nullopt;
  }
  if (rule == nullptr) {
    return GuardRule::kMessageType;
  }
  if (header.sub_list != 0) {
    return GuardRule::kSubList;
  }
  if (header.size < rule->min_len || header.size > rule->max_len) {
    return rule->length_rule;
  }
  if (rule->claim != nullptr && !rule->claim(front, header.size)) {
    return GuardRule::kClaimedSize;
  }
  return BrokenState(header, front);
}

// The rule of the moment that the message breaks, if any.
std::optional<GuardRule> Guard::BrokenState(const proto::DataHeader& header,
                                            std::span<const uint8_t> front) {
  const auto unless = [](bool allowed, GuardRule rule) {
    return allowed ? std::nullopt : std::optional(rule);
  };
  switch (header.type) {
    case proto::kMsgcMigrateFlushMark:
      return unless(migration_ != nullptr && !destination_ &&
                        migration_->AllowFlushMark(key_),
                    GuardRule::kFlushMark);
    case proto::kMsgcMigrateData:
      return unless(destination_ &&
                        migration_->ExpectedDataLen(key_) == header.size &&
                        migration_->AllowData(key_, front),
                    GuardRule::kMigrateData);
  }
  if (key_.type == ChannelType::kMain &&
      header.type == proto::kMsgcMainMigrateDstDoSeamless) {
    return unless(destination_ && migration_->AllowDoSeamless(),
                  GuardRule::kDoSeamless);
  }
  if (key_.type == ChannelType::kMain &&
      header.type == proto::kMsgcMainMigrateEnd) {
    return unless(destination_ && migration_->AllowMigrateEnd(),
                  GuardRule::kMigrateEnd);
  }
  if (IsWaiting()) {
    return GuardRule::kBeforeHandover;
  }
  if (IsUsbData(header.type)) {
    return unless(usb_->BeginMessage(header), GuardRule::kUsbPacket);
  }
  const bool is_init = key_.type == ChannelType::kDisplay &&
                       header.type == proto::kMsgcDisplayInit;
  return unless(!is_init || awaits_init_, GuardRule::kDisplayInit);
}

// The destination has not been given this channel yet.
bool Guard::IsWaiting() const {
  return destination_ && !data_passed_ && !migration_->MayTalk(key_);
}

// A destination waits for this display's INIT, and there is nothing to be said
// before it. Its channel counts on that when it has to send one itself.
bool Guard::IsAheadOfInit(uint16_t type) const {
  return key_.type == ChannelType::kDisplay && destination_ && awaits_init_ &&
         !migration_->is_seamless() && type != proto::kMsgcDisplayInit;
}

// Takes note of a message that goes on.
void Guard::Follow(uint16_t type) {
  if (type == proto::kMsgcMigrateData) {
    data_passed_ = true;
    awaits_init_ = false;
  }
  if (type == proto::kMsgcDisplayInit && awaits_init_) {
    awaits_init_ = false;
    hold_after_init_ = true;
    host_->OnDisplayInit();
  }
  if (key_.type == ChannelType::kMain && migration_ != nullptr) {
    destination_ ? FollowDestination(type) : FollowSource(type);
  }
}

void Guard::FollowSource(uint16_t type) {
  switch (type) {
    case proto::kMsgcMainMigrateConnected:
    case proto::kMsgcMainMigrateConnectedSeamless:
      migration_->OnClientLinked();
      [[fallthrough]];
    case proto::kMsgcMainMigrateConnectError:
      host_->OnMigrationReply(type);
  }
}

void Guard::FollowDestination(uint16_t type) {
  if (type == proto::kMsgcMigrateData || type == proto::kMsgcMainMigrateEnd) {
    host_->OnDestinationTaken();
  }
}

MessageFilter::Verdict Guard::ApplyPolicy(const proto::DataHeader& header,
                                          std::span<const uint8_t> front) {
  constexpr uint16_t kFirstOwnType = 101;
  if (read_only_ && header.type >= kFirstOwnType) {
    DropInput(header.type);
    return Verdict::kDrop;
  }
  if (agent_ == nullptr) {
    return Verdict::kPass;
  }
  switch (header.type) {
    case proto::kMsgcMigrateFlushMark:
      agent_->ClientLetGo();
      return Verdict::kPass;
    case proto::kMsgcMainAgentStart:
      agent_->ClientStarted();
      return Verdict::kPass;
    case proto::kMsgcMainAgentData:
      // A piece that is too long for the filter must not get round it.
      return header.size <= proto::kMaxAgentPieceLen ? JudgeAgentData(front)
                                                     : Verdict::kDrop;
  }
  return Verdict::kPass;
}

MessageFilter::Verdict Guard::JudgeAgentData(std::span<const uint8_t> piece) {
  const AgentFilter::Verdict verdict = agent_->FromClient(piece);
  // What a client says is passed or dropped as it is.
  DCHECK(verdict != AgentFilter::Verdict::kReplace);
  if (agent_->dropped().has_value()) {
    host_->OnPolicyDrop(*agent_->dropped());
  }
  if (verdict != AgentFilter::Verdict::kDrop) {
    return Verdict::kPass;
  }
  if (agent_->owes_token()) {
    host_->OnAgentDataDropped();
  }
  return Verdict::kDrop;
}

void Guard::DropInput(uint16_t type) {
  constexpr uint8_t kMotionsPerAck = 4;
  host_->OnPolicyDrop(PolicyDrop::kReadOnly);
  if (type != proto::kMsgcInputsMouseMotion &&
      type != proto::kMsgcInputsMousePosition) {
    return;
  }
  if (++motions_dropped_ == kMotionsPerAck) {
    motions_dropped_ = 0;
    host_->OnMotionDropped();
  }
}

}  // namespace spicegate
