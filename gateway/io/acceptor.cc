// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/acceptor.h"

#include <cerrno>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/limits.h"

namespace spicegate {

Acceptor::Acceptor(IoDriver* driver, TimerWheel* timers, Counter* pauses,
                   UniqueFd listener, OnAccept on_accept)
    : driver_(driver),
      timers_(timers),
      pauses_(pauses),
      listener_(std::move(listener)),
      on_accept_(std::move(on_accept)),
      pause_([](void* self) { static_cast<Acceptor*>(self)->Start(); }, this) {}

Acceptor::~Acceptor() { CHECK(!op_); }

void Acceptor::Start() {
  CHECK(!op_ && !stopping_);
  op_ = driver_->Accept(listener_.get(), this, /*tag=*/0);
}

void Acceptor::Stop() {
  stopping_ = true;
  pause_.Cancel();
  if (op_) {
    driver_->Cancel(op_);
  } else {
    listener_.Reset();
  }
}

void Acceptor::OnOp(uint32_t, OpResult result) {
  if (!result.more) {
    op_ = OpId{};
  }
  if (result.value >= 0) {
    if (stopping_) {
      driver_->Close(result.value, /*reset=*/true);
    } else {
      on_accept_(result.value);
    }
  }
  if (result.more) {
    return;
  }
  if (stopping_) {
    listener_.Reset();
    return;
  }
  // A multishot accept also ends when the completion queue was full: re-arm.
  // Without descriptors or memory re-arming at once would spin.
  if (result.value >= 0 || result.value == -ECANCELED) {
    Start();
  } else {
    Pause();
  }
}

void Acceptor::Pause() {
  pauses_->Add(1);
  pause_.Arm(timers_, timers_->now_ms() + kAcceptPauseMs);
}

}  // namespace spicegate
