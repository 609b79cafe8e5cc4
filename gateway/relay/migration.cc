// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/migration.h"

#include <algorithm>

#include "gateway/base/limits.h"
#include "proto/common_channel.h"

namespace spicegate {
namespace {

constexpr proto::ChannelKey kMainKey = {proto::ChannelType::kMain, 0};

std::pair<uint8_t, uint8_t> MapKey(proto::ChannelKey key) {
  return {static_cast<uint8_t>(key.type), key.id};
}

// Whose MIGRATE asks for data, in every spice-server (each channel's migration
// flags). A guest can deceive the search for the message, not this.
bool HasData(proto::ChannelType type) {
  return type != proto::ChannelType::kCursor &&
         type != proto::ChannelType::kPlayback &&
         type != proto::ChannelType::kRecord;
}

}  // namespace

const Migration::Handover* Migration::Find(proto::ChannelKey key) const {
  const auto it = handovers_.find(MapKey(key));
  return it == handovers_.end() ? nullptr : &it->second;
}

Migration::Handover* Migration::Find(proto::ChannelKey key) {
  const auto it = handovers_.find(MapKey(key));
  return it == handovers_.end() ? nullptr : &it->second;
}

void Migration::OnSourceMigrate(proto::ChannelKey key, uint32_t flags) {
  Handover& handover = handovers_[MapKey(key)];
  if (!handover.data_begun) {
    handover.flags = flags;
  }
  if (key == kMainKey && kind_ == MigrationKind::kSeamless &&
      phase_ == Phase::kLinked) {
    phase_ = Phase::kHandedOver;
  }
}

bool Migration::OnSourceDataBegins(proto::ChannelKey key, uint32_t len) {
  Handover* const handover = Find(key);
  if (handover == nullptr || handover->data_begun ||
      (handover->flags & proto::kMigrateNeedDataTransfer) == 0 ||
      len > kMaxMigrationDataBytes) {
    return false;
  }
  handover->data_begun = true;
  handover->data_len = len;
  return true;
}

void Migration::OnSourceData(proto::ChannelKey key,
                             std::span<const uint8_t> piece) {
  Handover* const handover = Find(key);
  if (handover == nullptr || !handover->data_begun || handover->data_passed) {
    return;
  }
  const size_t room = handover->data_len - handover->data.size();
  const auto taken = piece.first(std::min(room, piece.size()));
  handover->data.insert(handover->data.end(), taken.begin(), taken.end());
}

// A source also ends a migration so that it began as a seamless one, when the
// destination has not acknowledged that.
void Migration::OnSourceEnd() {
  if (phase_ == Phase::kLinked && seamless_answer_ != true) {
    source_ended_ = true;
    phase_ = Phase::kHandedOver;
    for (const auto& [id, handover] : usb_handovers_) {
      handover->BeginAnew();
    }
  }
}

void Migration::OnSeamlessAnswer(bool acknowledged) {
  if (!seamless_answer_) {
    seamless_answer_ = acknowledged;
  }
}

void Migration::OnClientLinked() {
  if (phase_ == Phase::kLinking) {
    phase_ = Phase::kLinked;
  }
}

bool Migration::HasFlushPassed(proto::ChannelKey key) const {
  const Handover* const handover = Find(key);
  return handover != nullptr && handover->flush_passed;
}

bool Migration::AllowFlushMark(proto::ChannelKey key) {
  Handover* const handover = Find(key);
  if (handover == nullptr || handover->flush_passed ||
      (handover->flags & proto::kMigrateNeedFlush) == 0) {
    return false;
  }
  handover->flush_passed = true;
  if (key.type == proto::ChannelType::kUsbredir) {
    UsbHandover(key)->Freeze();
  }
  return true;
}

bool Migration::AllowDoSeamless() {
  if (kind_ != MigrationKind::kSeamless || phase_ != Phase::kLinking ||
      do_seamless_passed_) {
    return false;
  }
  do_seamless_passed_ = true;
  return true;
}

// Behind DST_DO_SEAMLESS it aborts QEMU unless that was refused, so the answer
// has to be known.
bool Migration::AllowMigrateEnd() {
  const bool seamless_over = do_seamless_passed_ ? seamless_answer_ == false
                                                 : seamless_answer_ != true;
  if (!source_ended_ || end_passed_ || !seamless_over) {
    return false;
  }
  end_passed_ = true;
  phase_ = Phase::kTaken;
  return true;
}

std::optional<uint32_t> Migration::ExpectedDataLen(
    proto::ChannelKey key) const {
  const Handover* const handover = Find(key);
  const Phase earliest = key == kMainKey ? Phase::kHandedOver : Phase::kLinked;
  if (handover == nullptr || !handover->data_begun || handover->data_passed ||
      handover->data.size() != handover->data_len || phase_ < earliest) {
    return std::nullopt;
  }
  return handover->data_len;
}

bool Migration::AllowData(proto::ChannelKey key,
                          std::span<const uint8_t> body) {
  if (ExpectedDataLen(key) != body.size()) {
    return false;
  }
  Handover* const handover = Find(key);
  if (!std::ranges::equal(body, handover->data)) {
    return false;
  }
  handover->data_passed = true;
  handover->data = {};
  if (key == kMainKey) {
    phase_ = Phase::kTaken;
  }
  return true;
}

std::shared_ptr<UsbredirHandover> Migration::UsbHandover(
    proto::ChannelKey key) {
  std::shared_ptr<UsbredirHandover>& handover = usb_handovers_[key.id];
  if (handover == nullptr) {
    handover = std::make_shared<UsbredirHandover>();
    if (source_ended_) {
      handover->BeginAnew();
    }
  }
  return handover;
}

bool Migration::MayTalk(proto::ChannelKey key) const {
  if (source_ended_) {
    return key != kMainKey || end_passed_;
  }
  const Phase earliest = key == kMainKey ? Phase::kHandedOver : Phase::kLinked;
  const Handover* const handover = Find(key);
  if (!is_seamless() || handover == nullptr || phase_ < earliest) {
    return false;
  }
  return handover->data_passed || !HasData(key.type);
}

}  // namespace spicegate
