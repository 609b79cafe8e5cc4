// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/relay_world.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

// Far more than any run needs; a run that gets here hangs.
constexpr unsigned kMaxTurns = 200'000;

// Turns without anything from the peers before time jumps to the next timer.
constexpr unsigned kIdleTurns = 40;

// Turns for the kernel to let go of what was cancelled at the end.
constexpr int kAfterTurns = 64;

bool IsPrefix(std::string_view part, std::string_view whole) {
  return whole.starts_with(part);
}

}  // namespace

RelayWorld::RelayWorld(RelayPlan plan)
    : plan_(std::move(plan)),
      network_(plan_.network),
      driver_(&network_),
      start_ms_(driver_.NowMs()),
      timers_(start_ms_),
      buffers_(&counters_.relay_buffer_bytes),
      pipes_(std::in_place, &driver_, &counters_, plan_.pipes),
      context_{&timers_, &limits_, {&buffers_, &*pipes_, &counters_}},
      channels_(plan_.channels.size()) {
  for (const ChannelPlan& channel : plan_.channels) {
    Open(channel);
  }
}

RelayWorld::~RelayWorld() = default;

void RelayWorld::Open(const ChannelPlan& plan) {
  ChannelRules rules;
  rules.guard = plan.guard;
  auto [client_fd, client] = network_.Connection();
  auto [server_fd, server] = network_.Connection();
  lives_.push_back(
      std::make_unique<Life>(plan, std::move(client), std::move(server)));
  lives_.back()->handle = channels_.Emplace(
      &context_, static_cast<ChannelOwner*>(this), plan.key, plan.header_kind,
      Leg::Plain(&driver_, client_fd), Leg::Plain(&driver_, server_fd), rules);
}

void RelayWorld::Run() {
  for (const auto& life : lives_) {
    channels_.Get(life->handle)->Start(life->handle, Handle{0, 1});
  }
  for (; channels_.size() > 0 && turn_ < kMaxTurns; ++turn_) {
    Turn();
  }
  if (channels_.size() > 0) {
    problems_.push_back("hangs: " + std::to_string(channels_.size()) +
                        " channels never ended");
    CloseAll();
    timers_.Advance(timers_.now_ms() + 1'000'000);
  }
  for (int i = 0; i < kAfterTurns; ++i) {
    RunGateway();
  }
  CheckEnd();
}

void RelayWorld::Turn() {
  bool progress = false;
  for (const auto& life : lives_) {
    progress |= life->client.Step(network_.random());
    progress |= life->server.Step(network_.random());
  }
  idle_turns_ = progress ? 0 : idle_turns_ + 1;
  for (const auto& life : lives_) {
    Observe(life.get());
  }
  if (turn_ == plan_.close_turn) {
    CloseAll();
  }
  if (turn_ == plan_.migration_turn) {
    Migrate(std::make_shared<Migration>(MigrationKind::kSeamless));
  }
  if (turn_ == plan_.migration_over_turn) {
    Migrate(nullptr);
  }
  RunGateway();
  for (const auto& life : lives_) {
    Observe(life.get());
  }
  CheckMemory();
}

void RelayWorld::RunGateway() {
  int64_t timeout_ms = static_cast<int64_t>(network_.random()->Below(3));
  if (idle_turns_ > kIdleTurns && !plan_.clean) {
    timeout_ms = std::max<int64_t>(timers_.SleepMs(), 1);
    idle_turns_ = 0;
  }
  // A worker's turn, in a worker's order.
  driver_.Wait(yielded_.empty() ? timeout_ms : 0);
  timers_.Advance(driver_.NowMs());
  driver_.Dispatch();
  for (const Handle handle : std::exchange(yielded_, {})) {
    if (Channel* channel = channels_.Get(handle)) {
      num_full_turns_ += channel->RunAgain() >= kPumpQuantumBytes ? 1 : 0;
    }
  }
  for (const Handle handle : std::exchange(ended_, {})) {
    channels_.Erase(handle);
  }
}

void RelayWorld::CloseAll() {
  for (const auto& life : lives_) {
    if (life->end_wished_ms < 0) {
      life->end_wished_ms = driver_.NowMs();
    }
    if (Channel* channel = channels_.Get(life->handle)) {
      channel->Close(plan_.close_reason);
    }
  }
}

void RelayWorld::Migrate(const std::shared_ptr<Migration>& migration) {
  for (const auto& life : lives_) {
    if (Channel* channel = channels_.Get(life->handle)) {
      channel->FollowMigration(migration);
    }
  }
}

RelayWorld::Life* RelayWorld::LifeOf(const Channel* channel) {
  for (const auto& life : lives_) {
    if (channels_.Get(life->handle) == channel) {
      return life.get();
    }
  }
  CHECK(false);  // a channel nobody knows
  return nullptr;
}

void RelayWorld::OnMainInit(Channel* channel, uint32_t session_id) {
  Life* life = LifeOf(channel);
  if (++life->num_inits > 1 || !life->plan.has_init ||
      session_id != life->plan.session_id) {
    Problem(life, "unexpected session id");
  }
}

void RelayWorld::OnChannelClosing(Channel* channel, CloseReason reason) {
  Life* life = LifeOf(channel);
  if (++life->num_closing > 1 || life->num_ended > 0) {
    Problem(life, "closing told again");
  }
  life->reason = reason;
}

void RelayWorld::OnChannelEnded(Channel* channel) {
  Life* life = LifeOf(channel);
  if (++life->num_ended > 1 || life->num_closing != 1) {
    Problem(life, "ended told again, or before closing");
  }
  life->bytes_to_server = channel->bytes_to_server();
  life->bytes_to_client = channel->bytes_to_client();
  ended_.push_back(channel->handle());
}

void RelayWorld::OnChannelYielded(Channel* channel) {
  yielded_.push_back(channel->handle());
}

void RelayWorld::Observe(Life* life) {
  life->client_broke |=
      life->client.peer().open() && life->client.peer().broken();
  if (life->end_wished_ms < 0 && (life->client.left() || life->client_broke)) {
    life->end_wished_ms = driver_.NowMs();
  }
  if (life->server_leg_ended || life->server_left_first) {
    return;
  }
  if (life->server.left() || life->server.peer().broken()) {
    life->server_left_first = true;
  } else if (life->server.peer().ended()) {
    life->server_leg_ended = true;
    CheckServerLegEnd(life);
  }
}

// Such a server survives the end of its leg only behind its first message.
void RelayWorld::CheckServerLegEnd(Life* life) {
  const bool is_display = life->plan.key.type == proto::ChannelType::kDisplay;
  if (!is_display && life->plan.key.type != proto::ChannelType::kWebdav) {
    return;
  }
  const int64_t delivered = life->server.peer().num_delivered();
  if (static_cast<uint64_t>(delivered) >= life->plan.first_message_len) {
    return;
  }
  const int64_t now_ms = driver_.NowMs();
  const bool deadline =
      is_display ? now_ms - start_ms_ >= kDisplayCommittedMs
                 : life->end_wished_ms >= 0 &&
                       now_ms - life->end_wished_ms >= limits_.half_close_ms;
  if (!deadline) {
    Problem(life, "the server's leg ended before its first message: " +
                      std::to_string(delivered) + " of " +
                      std::to_string(life->plan.first_message_len) +
                      " bytes read");
  }
}

void RelayWorld::CheckMemory() {
  // Two pumps a channel, each with a buffer or a pipe.
  const int64_t most = static_cast<int64_t>(2 * channels_.size());
  const int64_t buffers = counters_.relay_buffer_bytes.value() /
                          static_cast<int64_t>(sizeof(RelayBuffer));
  const int64_t pipes = counters_.pipes_in_use.value();
  if (buffers < 0 || pipes < 0 || buffers + pipes > most) {
    problems_.push_back("relay holds " + std::to_string(buffers) +
                        " buffers and " + std::to_string(pipes) + " pipes");
  }
  if (network_.OpenPipes() > plan_.pipes.max_pipes) {
    problems_.push_back("too many pipes: " +
                        std::to_string(network_.OpenPipes()));
  }
}

void RelayWorld::CheckEnd() {
  for (const auto& life : lives_) {
    CheckResets(life.get());
    life->client.Drain();
    life->server.Drain();
    if (life->num_closing != 1 || life->num_ended != 1) {
      Problem(life.get(), "its end was not told once");
    }
    if (channels_.Get(life->handle) != nullptr) {
      Problem(life.get(), "its handle still finds something");
    }
    CheckBytes(life.get());
    CheckReason(life.get());
  }
  CheckCounters();
}

void RelayWorld::CheckBytes(Life* life) {
  const auto said_by_client = std::string_view(life->plan.client.text)
                                  .substr(0, life->client.num_said());
  const auto said_by_server = std::string_view(life->plan.server.text)
                                  .substr(0, life->server.num_said());
  const std::string& at_server = life->server.received();
  const std::string& at_client = life->client.received();
  if (!IsPrefix(at_server, said_by_client)) {
    Problem(life, "the server got what the client never said");
  }
  if (!IsPrefix(at_client, said_by_server)) {
    Problem(life, "the client got what the server never said");
  }
  if (static_cast<uint64_t>(life->bytes_to_server) < at_server.size() ||
      static_cast<uint64_t>(life->bytes_to_client) < at_client.size()) {
    Problem(life, "fewer bytes counted than moved");
  }
  if (static_cast<uint64_t>(life->bytes_to_server) > said_by_client.size() ||
      static_cast<uint64_t>(life->bytes_to_client) > said_by_server.size()) {
    Problem(life, "more bytes counted than said");
  }
  const size_t init_len =
      proto::DataHeaderLen(life->plan.header_kind) + proto::kMainInitLen;
  if (life->plan.has_init && life->num_inits == 0 &&
      at_client.size() > init_len + 64) {
    Problem(life, "INIT went by unnoticed");
  }
  if (!plan_.clean) {
    return;
  }
  if (at_server != life->plan.client.text ||
      at_client != life->plan.server.text) {
    Problem(life, "bytes lost: " + std::to_string(at_server.size()) + " of " +
                      std::to_string(life->plan.client.text.size()) +
                      " to the server, " + std::to_string(at_client.size()) +
                      " of " + std::to_string(life->plan.server.text.size()) +
                      " to the client");
  }
  if (static_cast<uint64_t>(life->bytes_to_server) != at_server.size() ||
      static_cast<uint64_t>(life->bytes_to_client) != at_client.size()) {
    Problem(life, "bytes counted wrongly");
  }
}

void RelayWorld::CheckReason(Life* life) {
  const std::string name(CloseReasonName(life->reason));
  const bool ordinary = life->reason == CloseReason::kClientClosed ||
                        life->reason == CloseReason::kServerClosed;
  if (plan_.clean &&
      (!ordinary || !life->client.saw_fin() || !life->server.saw_fin())) {
    Problem(life, "a clean channel ended as " + name);
  }
  const bool main = life->plan.key.type == proto::ChannelType::kMain;
  if ((life->reason == CloseReason::kClientGuard &&
       !life->plan.hostile_client) ||
      (life->reason == CloseReason::kServerGuard &&
       !(main && life->plan.hostile_server))) {
    Problem(life, "good messages were refused: " + name);
  }
  const bool closed_by_us = life->reason == CloseReason::kSessionOver ||
                            life->reason == CloseReason::kShutdown;
  if (closed_by_us && plan_.close_turn > turn_) {
    Problem(life, "ended as " + name + " though nobody asked");
  }
}

// Who stayed to the end is told that the other was cut off, not that it ended.
void RelayWorld::CheckResets(Life* life) {
  const ScriptedPeer& client = life->client;
  const ScriptedPeer& server = life->server;
  if (life->reason == CloseReason::kClientReset && server.peer().open() &&
      !server.left() && !server.peer().was_reset()) {
    Problem(life, "the client's reset reached the server as an end");
  }
  if (life->reason == CloseReason::kServerReset && client.peer().open() &&
      !client.left() && !client.peer().was_reset()) {
    Problem(life, "the server's reset reached the client as an end");
  }
}

void RelayWorld::CheckAccounts() {
  int64_t of_channels = 0;
  for (const auto& life : lives_) {
    of_channels += life->bytes_to_client + life->bytes_to_server;
  }
  int64_t of_worker = 0;
  for (size_t type = 0; type < kNumChannelTypes; ++type) {
    of_worker += counters_.bytes_client_to_server[type].value() +
                 counters_.bytes_server_to_client[type].value();
  }
  const int64_t copied = counters_.bytes_copied.value();
  const int64_t spliced = counters_.bytes_spliced.value();
  if (of_channels != of_worker || copied + spliced != of_worker) {
    problems_.push_back(
        "accounts differ: channels " + std::to_string(of_channels) +
        ", worker " + std::to_string(of_worker) + ", copied " +
        std::to_string(copied) + ", spliced " + std::to_string(spliced));
  }
}

void RelayWorld::CheckCounters() {
  CheckAccounts();
  if (driver_.OpsInFlight() != 0) {
    problems_.push_back("operations leaked: " +
                        std::to_string(driver_.OpsInFlight()));
  }
  if (network_.OpenSockets() != 0) {
    problems_.push_back("sockets leaked: " +
                        std::to_string(network_.OpenSockets()));
  }
  if (counters_.relay_buffer_bytes.value() != 0) {
    problems_.push_back("relay buffers leaked");
  }
  if (counters_.pipes_in_use.value() != 0) {
    problems_.push_back("relay pipes leaked");
  }
  pipes_.reset();
  if (network_.OpenPipes() != 0) {
    problems_.push_back("pipes leaked: " +
                        std::to_string(network_.OpenPipes()));
  }
  if (timers_.size() != 0) {
    problems_.push_back("timers leaked");
  }
}

void RelayWorld::Problem(const Life* life, const std::string& what) {
  size_t index = 0;
  while (lives_[index].get() != life) {
    ++index;
  }
  problems_.push_back("turn " + std::to_string(turn_) + ", channel " +
                      std::to_string(index) + " (" +
                      std::string(proto::ChannelName(life->plan.key.type)) +
                      "): " + what);
}

}  // namespace spicegate
