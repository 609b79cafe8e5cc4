// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/channel.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "gateway/base/check.h"
#include "proto/main_channel.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::MessageFramer;

Counter* BytesOf(std::array<Counter, kNumChannelTypes>& counters,
                 proto::ChannelType type) {
  return &counters[static_cast<size_t>(type)];
}

// An ordered end says so in TLS as well, as far as the socket takes it. Input
// that was left unread would make a plain close a reset: FIN goes first.
void EndLeg(Leg* leg, Socket::End end, bool all_read) {
  if (end == Socket::End::kFin && *leg &&
      !(all_read && leg->stream->CloseIsShutdown())) {
    leg->stream->ShutdownWrite();
  }
  leg->Release(end);
}

// A failure of ours to follow a peer whose connection is sound. After an alert
// the peer has given up by itself.
bool IsTlsFailure(int error) {
  return error == kTlsBadRecord || error == kTlsRekeyed;
}

// Why a channel ends when a leg fails with `error`.
CloseReason FailureReason(bool client_failed, int error) {
  switch (error) {
    case kTlsBadRecord:
      return client_failed ? CloseReason::kClientTlsRecord
                           : CloseReason::kServerTlsRecord;
    case kTlsPeerAlert:
      return client_failed ? CloseReason::kClientTlsAlert
                           : CloseReason::kServerTlsAlert;
    case kTlsRekeyed:
      return client_failed ? CloseReason::kClientTlsRekey
                           : CloseReason::kServerTlsRekey;
    case kTlsKeyUsedUp:
      return CloseReason::kTlsKeyLimit;
    default:
      return client_failed ? CloseReason::kClientReset
                           : CloseReason::kServerReset;
  }
}

}  // namespace

Urgency UrgencyOf(proto::ChannelType type) {
  switch (type) {
    case proto::ChannelType::kDisplay:
      return Urgency::kDisplay;
    case proto::ChannelType::kUsbredir:
    case proto::ChannelType::kPort:
    case proto::ChannelType::kWebdav:
      return Urgency::kBulk;
    default:
      return Urgency::kInteractive;
  }
}

void Channel::Inspection::Append(std::span<const uint8_t> piece) {
  const size_t n = std::min(piece.size(), body.size() - len);
  std::copy_n(piece.begin(), n, body.begin() + len);
  len += n;
}

Channel::Channel(const RelayContext* context, ChannelOwner* owner,
                 proto::ChannelKey key, proto::HeaderKind header_kind,
                 Leg client, Leg server, size_t bytes_sent)
    : context_(context),
      owner_(owner),
      key_(key),
      pair_{
          &context->pumps,
          this,
          {std::move(client), std::move(server)},
          {BytesOf(context->pumps.counters->bytes_client_to_server, key.type),
           BytesOf(context->pumps.counters->bytes_server_to_client, key.type)}},
      header_kind_(header_kind) {
  to_server_.CountEarlier(bytes_sent);
}

Channel::~Channel() { CHECK(state_ == State::kEnded); }

void Channel::Start(Handle self, Handle session) {
  self_ = self;
  session_ = session;
  if (is_display()) {
    // A message that QEMU refuses crashes it when it comes right behind INIT:
    // what the client says next waits for the server's first message.
    first_message_ = FirstMessage::kAwaited;
    to_server_.Hold();
    ArmTimer(kDisplayCommittedMs);
  }
  if (is_display() || key_.type == proto::ChannelType::kMain) {
    inspection_ = std::make_unique<Inspection>(header_kind_);
    to_client_.set_inspecting(true);
  }
  to_server_.Run(kPumpQuantumBytes);
  if (state_ == State::kRelaying) {
    to_client_.Run(kPumpQuantumBytes);
  }
}

size_t Channel::RunAgain() {
  yielded_ = false;
  if (state_ == State::kLingering) {
    return ReadAndDrop();
  }
  size_t moved = 0;
  if (state_ == State::kRelaying && to_server_.due()) {
    moved += to_server_.Run(kPumpQuantumBytes);
  }
  if (state_ == State::kRelaying && to_client_.due()) {
    moved += to_client_.Run(kPumpQuantumBytes);
  }
  return moved;
}

void Channel::Close(CloseReason reason) {
  if (state_ == State::kRelaying) {
    End(reason, Socket::End::kFin, Socket::End::kFin);
  }
}

void Channel::GiveUp() {
  if (state_ == State::kLingering) {
    Finish(SafeEnd::kTimedOut);
  }
}

void Channel::OnPumpBytes(Pump*, std::span<const uint8_t> bytes) {
  if (is_display()) {
    InspectDisplay(bytes);
  } else {
    InspectMain(bytes);
  }
}

void Channel::InspectMain(std::span<const uint8_t> bytes) {
  for (;;) {
    const MessageFramer::Step step = inspection_->framer.Feed(bytes);
    bytes = bytes.subspan(step.consumed);
    if (step.event == MessageFramer::Event::kNeedMore) {
      return;
    }
    if (inspection_->framer.header().type != proto::kMsgMainInit) {
      continue;
    }
    if (step.event == MessageFramer::Event::kBody) {
      inspection_->Append(step.body);
    } else if (step.event == MessageFramer::Event::kEnd) {
      const auto init = proto::ParseMainInit(inspection_->bytes());
      EndInspection();
      if (init.has_value()) {
        owner_->OnMainInit(this, init->session_id);
      }
      return;
    }
  }
}

void Channel::EndInspection() {
  to_client_.set_inspecting(false);
  inspection_.reset();
}

void Channel::InspectDisplay(std::span<const uint8_t> bytes) {
  if (EndsMessage(bytes)) {
    OnFirstDisplayMessage();
  }
}

void Channel::OnFirstDisplayMessage() {
  first_message_ = FirstMessage::kSeen;
  EndInspection();
  timer_.reset();
  if (to_server_.source_ended() || to_client_.source_ended()) {
    ArmHalfClose();
  }
  Release(&to_server_);  // last: it may end the channel
}

void Channel::Release(Pump* held) {
  held->Unhold();
  if (state_ == State::kRelaying) {
    held->Run(kPumpQuantumBytes);
  }
}

void Channel::OnPumpSourceEnded(Pump* pump) {
  const bool server = pump == &to_client_;
  if (!reason_known_) {
    reason_known_ = true;
    server_ended_first_ = server;
  }
  // While a display's first message is awaited its deadline is running.
  if (!to_server_.held()) {
    ArmHalfClose();
  }
}

void Channel::ArmTimer(int64_t delay_ms) {
  if (timer_ == nullptr) {
    timer_ = std::make_unique<Timer>(
        [](void* self) { static_cast<Channel*>(self)->OnTimer(); }, this);
  }
  timer_->Arm(context_->timers, context_->timers->now_ms() + delay_ms);
}

void Channel::ArmHalfClose() {
  moved_at_last_check_ = bytes_to_client() + bytes_to_server();
  ArmTimer(context_->limits->half_close_ms);
}

void Channel::OnPumpFinished(Pump* pump) {
  const bool server_leg_over = pump == &to_client_;
  if (to_server_.finished() && to_client_.finished()) {
    End(server_ended_first_ ? CloseReason::kServerClosed
                            : CloseReason::kClientClosed,
        Socket::End::kFin, Socket::End::kFin);
    return;
  }
  if (server_leg_over && first_message_ == FirstMessage::kAwaited) {
    first_message_ = FirstMessage::kNeverComes;
    ArmHalfClose();
    Release(&to_server_);  // last: it may end the channel
  }
}

void Channel::OnPumpFailed(Pump* pump, bool source, int error) {
  const bool client_failed = (pump == &to_server_) == source;
  // Where only TLS failed the server still has its socket, and is to see it
  // closed no earlier than any other.
  if (!client_failed && first_message_ == FirstMessage::kAwaited &&
      !IsTlsFailure(error)) {
    first_message_ = FirstMessage::kNeverComes;
  }
  const CloseReason reason = FailureReason(client_failed, error);
  const bool reset = reason == CloseReason::kClientReset ||
                     reason == CloseReason::kServerReset;
  // Where TLS failed the sockets are sound, and what we said last (an alert)
  // should arrive.
  const Socket::End end = reset ? Socket::End::kReset : Socket::End::kFin;
  End(reason, end, end);
}

void Channel::OnPumpReady(Pump* pump) {
  if (UrgencyOf(key_.type) != Urgency::kInteractive ||
      !owner_->MayRunAhead(this)) {
    Yield();
    return;
  }
  const size_t moved = pump->Run(kInteractiveQuantumBytes);
  if (moved > 0) {
    context_->pumps.counters->interactive_moves.Add(1);
    owner_->OnChannelRanAhead(this, moved);
  }
}

void Channel::OnPumpYielded(Pump*) { Yield(); }

void Channel::Yield() {
  if (!std::exchange(yielded_, true)) {
    owner_->OnChannelYielded(this);
  }
}

void Channel::End(CloseReason reason, Socket::End client_end,
                  Socket::End server_end) {
  DCHECK(state_ == State::kRelaying);
  state_ = State::kLingering;
  reason_ = reason;
  server_end_ = server_end;
  to_server_.Stop();
  to_client_.Stop();
  EndLeg(&client(), client_end, pair_.num_finished == 2);
  owner_->OnChannelClosing(this, reason);
  switch (first_message_) {
    case FirstMessage::kAwaited:
      ReadAndDrop();  // until its deadline, which has been running since Start
      break;
    case FirstMessage::kSeen:
      Finish(SafeEnd::kNotNeeded);
      break;
    case FirstMessage::kNeverComes:
      Finish(SafeEnd::kServerEnded);
      break;
  }
}

size_t Channel::ReadAndDrop() {
  std::array<uint8_t, 4096> dropped;
  size_t total = 0;
  while (total < kPumpQuantumBytes) {
    const ssize_t n = server().stream->Read(dropped);
    if (n == -EAGAIN) {
      // It may be here on a turn that was asked for while it was relaying.
      if (!server().socket->waiting(Ready::kReadable)) {
        server().socket->Wait(Ready::kReadable, this);
      }
      return total;
    }
    if (IsTlsFailure(static_cast<int>(n))) {
      return total;  // nothing can be seen any more: until the deadline
    }
    if (n <= 0) {
      Finish(SafeEnd::kServerEnded);
      return total;
    }
    total += static_cast<size_t>(n);
    if (EndsMessage(std::span(dropped).first(static_cast<size_t>(n)))) {
      Finish(SafeEnd::kWaited);
      return total;
    }
  }
  // A hostile server may claim an endless first message: others get their turn.
  Yield();
  return total;
}

bool Channel::EndsMessage(std::span<const uint8_t> bytes) {
  for (;;) {
    const MessageFramer::Step step = inspection_->framer.Feed(bytes);
    bytes = bytes.subspan(step.consumed);
    if (step.event == MessageFramer::Event::kEnd) {
      return true;
    }
    if (step.event == MessageFramer::Event::kNeedMore) {
      return false;
    }
  }
}

void Channel::OnReady(Ready, int) { ReadAndDrop(); }

void Channel::Finish(SafeEnd outcome) {
  DCHECK(state_ == State::kLingering);
  state_ = State::kEnded;
  timer_.reset();
  inspection_.reset();
  if (is_display()) {
    context_->pumps.counters->display_safe_end[static_cast<size_t>(outcome)]
        .Add(1);
  }
  if (server().socket != nullptr) {
    server().socket->Forget(Ready::kReadable);
  }
  EndLeg(&server(), server_end_, pair_.num_finished == 2);
  owner_->OnChannelEnded(this);
}

void Channel::OnTimer() {
  if (state_ == State::kLingering) {
    Finish(SafeEnd::kTimedOut);
    return;
  }
  if (to_server_.held()) {
    OnFirstMessageOverdue();
    return;
  }
  const int64_t moved = bytes_to_client() + bytes_to_server();
  if (moved == moved_at_last_check_) {
    End(CloseReason::kHalfCloseTimeout, Socket::End::kFin, Socket::End::kFin);
    return;
  }
  ArmHalfClose();
}

void Channel::OnFirstMessageOverdue() {
  CloseReason reason = CloseReason::kServerTimeout;
  if (reason_known_) {
    reason = server_ended_first_ ? CloseReason::kHalfCloseTimeout
                                 : CloseReason::kClientClosed;
  }
  if (to_client_.source_ended()) {
    first_message_ = FirstMessage::kNeverComes;
  }
  End(reason, Socket::End::kFin, Socket::End::kFin);
  GiveUp();
}

}  // namespace spicegate
