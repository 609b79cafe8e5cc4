// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/usbredir_guard.h"

#include <utility>

#include "gateway/base/limits.h"
#include "proto/messages.h"

namespace spicegate {

using proto::MessageFramer;

void UsbredirHandover::Freeze() {
  if (const std::shared_ptr<const Checker> stream = stream_.lock()) {
    state_ = *stream;
  }
  stream_.reset();
}

void UsbredirHandover::BeginAnew() {
  state_.reset();
  begins_anew_ = true;
}

UsbredirGuard::UsbredirGuard(proto::HeaderKind kind)
    : stream_(std::make_shared<proto::UsbredirChecker>(kMaxUsbPacketBytes)),
      framer_(std::make_unique<MessageFramer>(kind)) {}

void UsbredirGuard::ContinueFrom(std::shared_ptr<UsbredirHandover> handover) {
  source_ = std::move(handover);
}

void UsbredirGuard::HandOverTo(UsbredirHandover* handover) {
  if (Continue()) {
    handover->Follow(stream_);
  }
}

bool UsbredirGuard::Continue() {
  if (source_ == nullptr) {
    return true;
  }
  if (source_->state().has_value()) {
    *stream_ = *source_->state();
  } else if (!source_->begins_anew() || !stream_->has_server_caps()) {
    return false;
  }
  source_.reset();
  return true;
}

bool UsbredirGuard::FromServer(std::span<const uint8_t> bytes) {
  for (;;) {
    const MessageFramer::Step step = framer_->Feed(bytes);
    bytes = bytes.subspan(step.consumed);
    if (step.event == MessageFramer::Event::kNeedMore) {
      return true;
    }
    if (step.event == MessageFramer::Event::kBody &&
        framer_->header().type == proto::kMsgSpicevmcData &&
        hello_.Feed(step.body)) {
      break;
    }
  }
  if (hello_.caps().has_value()) {
    stream_->SetServerCaps(*hello_.caps());
  }
  framer_.reset();
  return false;
}

bool UsbredirGuard::BeginMessage(const proto::DataHeader& header) {
  message_ = header;
  return Continue();
}

bool UsbredirGuard::FromClient(std::span<const uint8_t> bytes) {
  return stream_->violated() || stream_->Feed(bytes);
}

}  // namespace spicegate
