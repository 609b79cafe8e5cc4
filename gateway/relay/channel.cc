// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/channel.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "gateway/base/check.h"
#include "proto/display_channel.h"
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

// Lets nothing through.
class Mute final : public PumpFilter {
 public:
  Step Next(std::span<const uint8_t> bytes) override {
    Step step;
    step.skip = bytes.size();
    return step;
  }
  bool HasInsert() const override { return false; }
};

Mute* MuteFilter() {
  static Mute mute;  // has no state
  return &mute;
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

bool MustHearServer(proto::ChannelType type) {
  return type == proto::ChannelType::kDisplay ||
         type == proto::ChannelType::kPort ||
         type == proto::ChannelType::kWebdav;
}

Urgency UrgencyOf(proto::ChannelType type) {
  switch (type) {
    case proto::ChannelType::kDisplay:
    case proto::ChannelType::kTunnel:  // may well be one
      return Urgency::kDisplay;
    case proto::ChannelType::kUsbredir:
    case proto::ChannelType::kPort:
    case proto::ChannelType::kWebdav:
      return Urgency::kBulk;
    default:
      return Urgency::kInteractive;
  }
}

Channel::Channel(const RelayContext* context, ChannelOwner* owner,
                 proto::ChannelKey key, proto::HeaderKind header_kind,
                 Leg client, Leg server, const ChannelRules& rules,
                 size_t bytes_sent)
    : context_(context),
      owner_(owner),
      key_(key),
      pair_{
          &context->pumps,
          this,
          {std::move(client), std::move(server)},
          {BytesOf(context->pumps.counters->bytes_client_to_server, key.type),
           BytesOf(context->pumps.counters->bytes_server_to_client, key.type)}},
      migration_(rules.destination_of),
      header_kind_(header_kind),
      destination_(migration_ != nullptr) {
  to_server_.CountEarlier(bytes_sent);
  SetFilters(rules);
}

Channel::~Channel() { CHECK(state_ == State::kEnded); }

void Channel::SetFilters(const ChannelRules& rules) {
  if (rules.mute ||
      rules.policy.refuses_channel(static_cast<uint8_t>(key_.type))) {
    to_server_.set_filter(MuteFilter());
    to_client_.set_filter(MuteFilter());
    return;
  }
  AgentFilter* agent = nullptr;
  if (key_.type == proto::ChannelType::kMain) {
    ServerFilters& filters = server_filters();
    if (rules.policy.restricts_agent()) {
      filters.agent = std::make_unique<AgentFilter>(rules.policy);
      agent = filters.agent.get();
    }
    filters.inspector = std::make_unique<MainInspector>(
        static_cast<InspectorHost*>(this), header_kind_, rules.policy, agent);
    filters.inspector->set_migration(migration_.get(), destination_);
    to_client_.set_filter(filters.inspector.get());
  } else if (key_.type == proto::ChannelType::kInputs &&
             rules.policy.read_only) {
    server_filters().follower =
        std::make_unique<ServerFollower>(key_, header_kind_);
    to_client_.set_filter(server_filters().follower.get());
  }
  // A destination's display has an INIT to be watched for, whatever the mode.
  if (Guard::IsNeeded(key_.type, rules.guard, rules.policy) ||
      (is_display() && destination_)) {
    GuardContext guard;
    guard.host = this;
    guard.key = key_;
    guard.header_kind = header_kind_;
    guard.mode = rules.guard;
    guard.policy = rules.policy;
    guard.agent = agent;
    guard.migration = migration_.get();
    guard.destination = destination_;
    guard_ = std::make_unique<Guard>(guard);
    to_server_.set_filter(guard_.get());
  }
}

Channel::ServerFilters& Channel::server_filters() {
  if (server_filters_ == nullptr) {
    server_filters_ = std::make_unique<ServerFilters>();
  }
  return *server_filters_;
}

void Channel::Start(Handle self, Handle session) {
  self_ = self;
  session_ = session;
  started_s_ = static_cast<uint32_t>(context_->timers->now_ms() / 1000);
  if (MustHearServer(key_.type)) {
    inspection_ = std::make_unique<proto::MessageFramer>(header_kind_);
    to_client_.set_inspecting(true);
    first_message_ = FirstMessage::kParked;
    if (!is_display() && (!destination_ || migration_->is_seamless())) {
      first_message_ = FirstMessage::kAwaited;
    } else if (!destination_) {
      // A message that QEMU refuses crashes it when it comes right behind INIT:
      // what the client says next waits for the server's first message.
      to_server_.Hold();
      AwaitFirstMessage(kDisplayCommittedMs);
    }
  }
  if (guard_ != nullptr && guard_->awaits_hello()) {
    to_client_.set_inspecting(true);
  }
  if (is_tunnel()) {
    ArmIdle();
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
  if (inspection_ == nullptr) {
    if (!guard_->FromServer(bytes)) {
      to_client_.set_inspecting(false);
      Release(&to_server_);  // last: it may end the channel
    }
  } else if (EndsMessage(bytes)) {
    OnFirstMessage();
  }
}

void Channel::AwaitFirstMessage(int64_t deadline_ms) {
  first_message_ = FirstMessage::kAwaited;
  ArmTimer(deadline_ms);
}

void Channel::OnFirstMessage() {
  first_message_ = FirstMessage::kSeen;
  to_client_.set_inspecting(false);
  inspection_.reset();
  timer_.reset();
  if (source_ended()) {
    ArmHalfClose();
  }
  if (guard_ != nullptr) {
    guard_->ReleaseAfterInit();
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
  if (server && left_behind()) {
    // Viewers may leave such a channel open and unread for good.
    End(CloseReason::kMigrated, Socket::End::kFin, Socket::End::kFin);
    return;
  }
  if (destination_ && MustEndWhole()) {
    // Half an end would be passed on to a server that it can crash; and viewers
    // do not look at their connections there.
    End(server ? CloseReason::kServerClosed : CloseReason::kClientClosed,
        Socket::End::kFin, Socket::End::kFin);
    return;
  }
  if (!reason_known_) {
    reason_known_ = true;
    server_ended_first_ = server;
  }
  if (is_tunnel() && !server && !to_client_.source_ended()) {
    // Passed on a little later, as if the leg had failed.
    to_server_.HoldEnd();
    ArmTimer(TunnelLingerMs());
  } else if (first_message_ != FirstMessage::kAwaited) {
    ArmHalfClose();
  } else if (!is_display()) {
    to_server_.HoldEnd();
    ArmHalfClose();
  }  // a display is held, and its deadline is running
}

bool Channel::MustEndWhole() const {
  return migration_->phase() != Migration::Phase::kTaken ||
         first_message_ == FirstMessage::kAwaited;
}

void Channel::OnPumpRefused(Pump* pump) {
  End(pump == &to_server_ ? CloseReason::kClientGuard
                          : CloseReason::kServerGuard,
      Socket::End::kFin, Socket::End::kFin);
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

void Channel::ArmIdle() {
  moved_at_last_check_ = bytes_to_client() + bytes_to_server();
  if (context_->limits->tunnel_idle_ms > 0) {
    ArmTimer(context_->limits->tunnel_idle_ms);
  }
}

int64_t Channel::TunnelLingerMs() const {
  if (bytes_to_client() > kTunnelHandshakeBytes) {
    return kTunnelLingerMs;
  }
  const int64_t age_ms = context_->timers->now_ms() - started_s_ * 1000;
  return std::max(kTunnelLingerMs, kTunnelBlindLingerMs - age_ms);
}

bool Channel::Moved() {
  return bytes_to_client() + bytes_to_server() != moved_at_last_check_;
}

void Channel::OnPumpFinished(Pump* pump) {
  const bool server_leg_over = pump == &to_client_;
  if (to_server_.finished() && to_client_.finished()) {
    End(server_ended_first_ ? CloseReason::kServerClosed
                            : CloseReason::kClientClosed,
        Socket::End::kFin, Socket::End::kFin);
    return;
  }
  if (!server_leg_over) {
    return;
  }
  const bool awaited = first_message_ == FirstMessage::kAwaited;
  if (awaited) {
    first_message_ = FirstMessage::kNeverComes;
  }
  if (awaited || to_server_.end_held()) {
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
  // A destination may not have begun with the channel yet, and one that is
  // reset then has crashed it; an end is read like any other.
  server_end_ = destination_ ? Socket::End::kFin : server_end;
  to_server_.Stop();
  to_client_.Stop();
  EndLeg(&client(), client_end, pair_.num_finished == 2);
  owner_->OnChannelClosing(this, reason);
  const bool server_over =
      to_client_.source_ended() || reason == CloseReason::kServerReset;
  if (is_tunnel() && !server_over) {
    ArmTimer(TunnelLingerMs());
    ReadAndDrop();
    return;
  }
  switch (first_message_) {
    case FirstMessage::kAwaited:
      CompleteInit();
      if (!is_display()) {
        ArmTimer(kDisplayCommittedMs);  // a display's has been running
      }
      ReadAndDrop();
      break;
    case FirstMessage::kParked:
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
    if (!is_tunnel() &&
        EndsMessage(std::span(dropped).first(static_cast<size_t>(n)))) {
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
    const MessageFramer::Step step = inspection_->Feed(bytes);
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

void Channel::BeginAtDestination() {
  if (first_message_ != FirstMessage::kParked) {
    return;
  }
  if (migration_->is_seamless()) {
    // It may go at any time, and must when its main goes: the destination waits
    // for its data.
    OnFirstMessage();
  } else if (!is_display()) {
    first_message_ = FirstMessage::kAwaited;
  } else {
    AwaitFirstMessage(OwesInit() ? kDestinationDisplayMs : kDisplayCommittedMs);
  }
}

void Channel::TakeOverAgentFrom(const Channel& source) {
  if (server_filters_->agent != nullptr &&
      source.server_filters_->agent != nullptr) {
    server_filters_->agent->ContinueFrom(*source.server_filters_->agent);
  }
}

bool Channel::OwesInit() const {
  // A source's INIT was sent before the channel began.
  const size_t len =
      proto::DataHeaderLen(header_kind_) + proto::kDisplayInitLen;
  return is_display() && destination_ && !migration_->is_seamless() &&
         bytes_to_server() < static_cast<int64_t>(len);
}

void Channel::CompleteInit() {
  // Missing, or cut: the display would wait for it, and then crash.
  if (!OwesInit()) {
    return;
  }
  std::array<uint8_t, proto::kMaxDataHeaderLen + proto::kDisplayInitLen> init{};
  proto::DataHeader header;
  header.type = proto::kMsgcDisplayInit;
  header.size = proto::kDisplayInitLen;
  header.serial = 1;
  const size_t len =
      proto::EncodeDataHeader(header_kind_, header, init) + header.size;
  // Nothing else has gone this way: there is room.
  server().stream->Write(std::span(init).first(len).subspan(
      static_cast<size_t>(bytes_to_server())));
  ArmTimer(kDisplayCommittedMs);
}

void Channel::FollowMigration(std::shared_ptr<Migration> migration) {
  if (state_ != State::kRelaying) {
    return;
  }
  migration_ = std::move(migration);
  destination_ = false;
  if (guard_ != nullptr) {
    guard_->set_migration(migration_.get(), /*destination=*/false);
    SetWatch(migration_.get());
  }
  if (key_.type == proto::ChannelType::kMain) {
    server_filters_->inspector->set_migration(migration_.get(),
                                              /*destination=*/false);
  }
}

void Channel::SetWatch(Migration* migration) {
  if (key_.type == proto::ChannelType::kMain) {
    return;
  }
  ServerFilters& filters = server_filters();
  if (filters.follower != nullptr) {
    filters.follower->set_migration(migration);
    return;
  }
  std::unique_ptr<MigrationWatch> watch;
  if (migration != nullptr && migration->kind() == MigrationKind::kSeamless) {
    watch = std::make_unique<MigrationWatch>(migration, key_, header_kind_);
  }
  to_client_.set_filter(watch.get());
  filters.watch = std::move(watch);
}

void Channel::RunToClientSoon() {
  to_client_.MakeDue();
  Yield();
}

void Channel::OnGuardRefusal(GuardRule rule, const proto::DataHeader& header) {
  context_->pumps.counters
      ->guard_refusals[static_cast<size_t>(key_.type)]
                      [static_cast<size_t>(rule)]
      .Add(1);
  owner_->OnGuardRefusal(this, rule, header);
}

void Channel::OnPolicyDrop(PolicyDrop drop) {
  context_->pumps.counters->policy_drops[static_cast<size_t>(drop)].Add(1);
}

void Channel::OnAgentDataDropped() {
  server_filters_->inspector->PayBack(1);
  RunToClientSoon();
}

void Channel::OnMotionDropped() {
  server_filters_->follower->Insert(proto::kMsgInputsMouseMotionAck, {});
  RunToClientSoon();
}

void Channel::OnDisplayInit() {
  // One that comes early lies with the server until it begins.
  if (first_message_ == FirstMessage::kAwaited) {
    AwaitFirstMessage(kDisplayCommittedMs);
  }
}

void Channel::OnMigrationReply(uint16_t type) {
  owner_->OnMigrationReply(this, type);
}

void Channel::OnDestinationTaken() { owner_->OnDestinationTaken(this); }

void Channel::OnMainInit(uint32_t session_id) {
  owner_->OnMainInit(this, session_id);
}

proto::DstInfo Channel::OnMigrateTo(MigrationKind kind,
                                    const proto::DstInfo& to) {
  return owner_->OnMigrateTo(this, kind, to);
}

void Channel::OnMigrateCancel() { owner_->OnMigrateCancel(this); }

void Channel::OnServerRefusal(const proto::DataHeader& header) {
  owner_->OnGuardRefusal(this, std::nullopt, header);
}

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
  if (first_message_ == FirstMessage::kAwaited) {
    if (OwesInit()) {
      End(CloseReason::kClientProtocol, Socket::End::kFin, Socket::End::kFin);
    } else {
      OnFirstMessageOverdue();
    }
    return;
  }
  if (to_server_.end_held()) {
    ArmHalfClose();
    Release(&to_server_);  // last: it may end the channel
    return;
  }
  if (!Moved()) {
    End(source_ended() ? CloseReason::kHalfCloseTimeout
                       : CloseReason::kTunnelIdle,
        Socket::End::kFin, Socket::End::kFin);
  } else if (source_ended()) {
    ArmHalfClose();
  } else {
    ArmIdle();
  }
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
