// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/qmp_console.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "gateway/base/log.h"

namespace spicegate {
namespace {

// QEMU counts whole seconds from the one that has begun.
constexpr int64_t kRoundingMs = 1'000;

// The monitor is of no use now, as opposed to having said no.
bool IsDead(const QmpOutcome& outcome) {
  return outcome.result == QmpOutcome::Result::kTimeout ||
         outcome.result == QmpOutcome::Result::kGone;
}

QmpOutcome NotConnected(const absl::Status& status) {
  QmpOutcome outcome;
  outcome.result = QmpOutcome::Result::kGone;
  outcome.command = "connect";
  outcome.error = std::string(status.message());
  outcome.status = absl::UnavailableError(outcome.error);
  return outcome;
}

}  // namespace

QmpConsole::QmpConsole(const Console& console, QmpCommons* commons,
                       int64_t first_look_ms)
    : name_(console.name),
      path_(console.qmp_path),
      monitor_(console.qmp_monitor),
      commons_(commons),
      audit_(console.name, first_look_ms),
      reconnect_at_ms_(first_look_ms) {}

bool QmpConsole::IsFor(const Console& console) const {
  return name_ == console.name && path_ == console.qmp_path &&
         monitor_ == console.qmp_monitor;
}

void QmpConsole::Ask(QmpWish wish) {
  const auto self = shared_from_this();
  if (!ended_.ok()) {
    wish.done(ended_);
    return;
  }
  audit_.Asked(commons_->now_ms());
  if (running_.has_value() && waiting_.empty() && Serves(*running_, wish)) {
    running_->dones.push_back(std::move(wish.done));
    return;
  }
  if (waiting_.size() >= kMaxWaiting) {
    wish.done(absl::ResourceExhaustedError(name_ + ": too many wait for it"));
    return;
  }
  waiting_.push_back(std::move(wish));
  Next();
}

void QmpConsole::End(absl::Status status) {
  const auto self = shared_from_this();
  ended_ = std::move(status);
  client_.reset();
  operation_.reset();
  look_.reset();
  Dones dones = TakeWaiting();
  if (running_.has_value()) {
    std::move(running_->dones.begin(), running_->dones.end(),
              std::back_inserter(dones));
    running_.reset();
  }
  for (const auto& done : dones) {
    done(ended_);
  }
}

int64_t QmpConsole::deadline_ms() const {
  int64_t deadline_ms = audit_.judge_ms();
  if (client_ != nullptr) {
    deadline_ms = std::min(deadline_ms, client_->deadline_ms());
  }
  if (is_own()) {
    const int64_t tend_ms =
        client_ == nullptr ? reconnect_at_ms_ : complain_at_ms();
    return std::min(deadline_ms, tend_ms);
  }
  const bool busy = operation_ != nullptr || look_ != nullptr;
  return busy ? deadline_ms : std::min(deadline_ms, audit_.next_look_ms());
}

void QmpConsole::Handle(short revents, int64_t now_ms) {
  const auto self = shared_from_this();
  if (client_ != nullptr) {
    client_->Handle(revents, now_ms);
  }
  if (!ended_.ok()) {
    return;
  }
  if (client_ != nullptr && client_->closed()) {
    DropClient();
  }
  commons_->foreign_channels += audit_.Judge(now_ms, commons_->is_ours);
  if (is_own()) {
    TendOwn(now_ms);
  } else {
    TendShared(now_ms);
  }
}

bool QmpConsole::Serves(const Running& running, const QmpWish& wish) const {
  switch (wish.kind) {
    case QmpWish::Kind::kArm:
      return running.kind != QmpWish::Kind::kDisconnect;
    case QmpWish::Kind::kContinue:
      return running.kind == QmpWish::Kind::kContinue &&
             running.password == wish.password;
    default:
      return running.kind == wish.kind;
  }
}

bool QmpConsole::IsArmed() const {
  return !password_.empty() && place_.has_value() &&
         armed_until_ms_ - commons_->now_ms() >
             commons_->password_life_ms / 2 &&
         StampOf(path_).SameFile(armed_socket_);
}

QmpServer QmpConsole::Armed() const {
  QmpServer server = *place_;
  server.password = password_.text();
  server.armed_until_ms = armed_until_ms_;
  return server;
}

void QmpConsole::Next() {
  while (!running_.has_value() && !waiting_.empty()) {
    if (waiting_.front().kind == QmpWish::Kind::kArm && IsArmed()) {
      const auto done = std::move(waiting_.front().done);
      waiting_.pop_front();
      done(Armed());
    } else if (MayTry(commons_->now_ms())) {
      Start();
    } else {
      Reject();
    }
  }
}

bool QmpConsole::MayTry(int64_t now_ms) {
  if (breaker_.Allow(now_ms)) {
    return true;
  }
  if (StampOf(path_).SameFile(failed_socket_)) {
    return false;
  }
  // Another QEMU, most likely: the failures were not its own.
  breaker_.Probe();
  return breaker_.Allow(now_ms);
}

void QmpConsole::Reject() {
  for (const auto& done : TakeWaiting()) {
    ++commons_->commands.rejected;
    done(absl::UnavailableError(
        name_ + ": QEMU has not answered lately and is left alone for now"));
  }
}

void QmpConsole::Start() {
  running_ = TakeFirst();
  socket_ = StampOf(path_);
  if (!is_own()) {
    look_.reset();
    DropClient();
  }
  if (const absl::Status status = Connect(); !status.ok()) {
    ++commons_->commands.gone;
    Finished(NotConnected(status));
    return;
  }
  operation_ = std::make_unique<QmpOperation>(
      client_.get(), MakePlan(*running_), commons_->now_ms, &commons_->commands,
      [this](const QmpSpice& spice) { Learn(spice); },
      [this](QmpOutcome outcome) { Finished(std::move(outcome)); });
  operation_->Start();
}

QmpConsole::Running QmpConsole::TakeFirst() {
  QmpWish wish = std::move(waiting_.front());
  waiting_.pop_front();
  Running running{wish.kind, std::move(wish.password), {}};
  if (wish.kind == QmpWish::Kind::kArm) {
    running.password = password_;
  }
  if (running.password.empty()) {
    running.password = QmpPassword::Random();
  }
  running.dones.push_back(std::move(wish.done));
  while (!waiting_.empty() && Serves(running, waiting_.front())) {
    running.dones.push_back(std::move(waiting_.front().done));
    waiting_.pop_front();
  }
  return running;
}

QmpPlan QmpConsole::MakePlan(const Running& running) const {
  const bool disconnect = running.kind == QmpWish::Kind::kDisconnect;
  QmpPlan plan;
  plan.password = running.password;
  plan.connected = disconnect ? QmpConnected::kDisconnect : QmpConnected::kKeep;
  plan.expires = disconnect
                     ? "now"
                     : "+" + std::to_string(commons_->password_life_ms / 1000);
  plan.deadline_ms = commons_->now_ms() + commons_->operation_ms;
  return plan;
}

void QmpConsole::Finished(QmpOutcome outcome) {
  operation_.reset();
  const Running running = *std::exchange(running_, std::nullopt);
  if (client_ != nullptr && (!is_own() || client_->closed())) {
    DropClient();
  }
  Looked(outcome);
  Settle(running, outcome);
  Report(outcome);
  Dones others;
  if (IsDead(outcome)) {
    others = TakeWaiting();
  }
  const absl::StatusOr<QmpServer> result = ResultOf(outcome);
  for (const auto& done : running.dones) {
    done(result);
  }
  for (const auto& done : others) {
    done(result.status());
  }
  Next();
}

void QmpConsole::Settle(const Running& running, const QmpOutcome& outcome) {
  if (running.kind == QmpWish::Kind::kDisconnect) {
    // Even if it failed: the password of before is not to be armed again.
    password_ = QmpPassword();
  } else if (outcome.result == QmpOutcome::Result::kOk) {
    password_ = running.password;
    armed_until_ms_ =
        outcome.expires_from_ms + commons_->password_life_ms - kRoundingMs;
    armed_socket_ = socket_;
  } else if (outcome.touched) {
    armed_until_ms_ = 0;
  }
}

absl::StatusOr<QmpServer> QmpConsole::ResultOf(
    const QmpOutcome& outcome) const {
  if (outcome.result == QmpOutcome::Result::kOk) {
    return Armed();
  }
  return absl::Status(outcome.status.code(),
                      name_ + ": " + outcome.command + ": " + outcome.error);
}

QmpConsole::Dones QmpConsole::TakeWaiting() {
  Dones dones;
  for (QmpWish& wish : waiting_) {
    dones.push_back(std::move(wish.done));
  }
  waiting_.clear();
  return dones;
}

absl::Status QmpConsole::Connect() {
  if (client_ != nullptr && !client_->closed()) {
    return absl::OkStatus();
  }
  DropClient();
  client_ = std::make_unique<QmpClient>(
      [this](const QmpEvent& event) { OnEvent(event); });
  ++connection_;
  connected_at_ms_ = commons_->now_ms();
  is_new_ = true;
  absl::Status status = client_->Connect(path_, connected_at_ms_);
  if (!status.ok()) {
    DropClient();
  }
  return status;
}

void QmpConsole::OnEvent(const QmpEvent& event) {
  if (event.kind == QmpEvent::Kind::kInitialized && event.channel) {
    audit_.Opened(*event.channel, commons_->now_ms());
  } else if (event.kind == QmpEvent::Kind::kDisconnected) {
    audit_.Closed(event.client);
  }
}

void QmpConsole::DropClient() {
  if (client_ == nullptr) {
    return;
  }
  client_.reset();
  look_.reset();
  if (is_own()) {
    reconnect_at_ms_ = commons_->now_ms() + kReconnectMs;
    // It may be another QEMU by then.
    armed_until_ms_ = 0;
  }
}

void QmpConsole::TendOwn(int64_t now_ms) {
  if (client_ == nullptr && now_ms >= reconnect_at_ms_) {
    const absl::Status status = Connect();
    if (!status.ok() && !std::exchange(complained_, true)) {
      LogFailure("connect", std::string(status.message()));
    }
  }
  if (now_ms >= complain_at_ms()) {
    complained_ = true;
    LogFailure("connect",
               "QEMU does not speak; is it stuck, or does it serve another "
               "client on this socket?");
  }
  const bool served = client_ != nullptr && client_->served();
  if (served && is_new_ && operation_ == nullptr && look_ == nullptr) {
    is_new_ = false;
    complained_ = false;
    breaker_.Probe();
    StartLook();
  }
}

void QmpConsole::TendShared(int64_t now_ms) {
  if (operation_ != nullptr || look_ != nullptr ||
      now_ms < audit_.next_look_ms()) {
    return;
  }
  if (breaker_.open()) {
    audit_.Looked(false, true, now_ms);
  } else {
    StartLook();
  }
}

int64_t QmpConsole::complain_at_ms() const {
  const bool waiting =
      is_own() && client_ != nullptr && !client_->served() && !complained_;
  return waiting ? connected_at_ms_ + commons_->operation_ms : INT64_MAX;
}

void QmpConsole::StartLook() {
  if (const absl::Status status = Connect(); !status.ok()) {
    LookFinished(NotConnected(status));
    return;
  }
  QmpPlan plan;
  plan.deadline_ms = commons_->now_ms() + commons_->operation_ms;
  look_ = std::make_unique<QmpOperation>(
      client_.get(), plan, commons_->now_ms, &commons_->commands,
      [this](const QmpSpice& spice) { Learn(spice); },
      [this](const QmpOutcome& outcome) { LookFinished(outcome); });
  look_->Start();
}

void QmpConsole::LookFinished(const QmpOutcome& outcome) {
  look_.reset();
  // An own connection that has ended is dropped by the operation, if there is
  // one: it still has to hear of it.
  if (client_ != nullptr && operation_ == nullptr &&
      (!is_own() || client_->closed())) {
    DropClient();
  }
  Looked(outcome);
  if (outcome.result == QmpOutcome::Result::kRefused) {
    LogFailure(outcome.command, outcome.error);
  }
}

void QmpConsole::Learn(const QmpSpice& spice) {
  const int64_t now_ms = commons_->now_ms();
  absl::StatusOr<QmpServer> server = ServerOf(spice);
  place_.reset();
  if (server.ok()) {
    place_ = *std::move(server);
    place_seen_ms_ = now_ms;
  }
  audit_.Listed(spice, now_ms);
}

void QmpConsole::Looked(const QmpOutcome& outcome) {
  const bool listening = outcome.result != QmpOutcome::Result::kGone;
  audit_.Looked(outcome.looked, listening, commons_->now_ms());
}

void QmpConsole::Report(const QmpOutcome& outcome) {
  if (IsDead(outcome)) {
    failed_socket_ = socket_;
    if (breaker_.Failed(commons_->now_ms())) {
      LogBreaker("open");
    }
  } else if (breaker_.Succeeded()) {
    LogBreaker("closed");
  }
  if (outcome.result != QmpOutcome::Result::kOk) {
    LogFailure(outcome.command, outcome.error);
  }
}

void QmpConsole::LogFailure(const std::string& command,
                            const std::string& error) {
  const int64_t now_ms = commons_->now_ms();
  if (now_ms >= failure_log_at_ms_) {
    failure_log_at_ms_ = now_ms + kFailureLogMs;
    LogLine(LogLevel::kWarning, "qmp_failed")
        .Str("console", name_)
        .Str("command", command)
        .Str("error", error);
  }
}

void QmpConsole::LogBreaker(const char* state) {
  LogLine(LogLevel::kWarning, "qmp_breaker")
      .Str("console", name_)
      .Str("state", state);
}

}  // namespace spicegate
