// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/call_gate.h"

#include <algorithm>
#include <utility>

#include "gateway/cloud/cloud_errors.h"
#include "gateway/cloud/secret.h"

namespace spicegate {
namespace {

// Not worth a call any more.
constexpr int64_t kShortestCallMs = 500;

// Before a repeat, and as much again at random, so that the callers of a
// service that restarts do not come all at once.
constexpr int64_t kRepeatPauseMs = 100;
constexpr int64_t kRepeatJitterMs = 200;

// What a repeat must still have to be worth it, and how long a service may
// tell it to wait.
constexpr int64_t kRepeatRoomMs = 500;
constexpr int64_t kRepeatHoldMs = 1'000;

// A service that has enough and does not say for how long.
constexpr int64_t kUnsaidHoldMs = 1'000;

bool NothingSent(const absl::Status& status) {
  return status.GetPayload(kNothingSent).has_value();
}

// Milliseconds of Retry-After in seconds; a date, which is nobody's clock, and
// whatever else are -1.
int64_t RetryAfterMs(const HttpAnswer& answer) {
  constexpr size_t kMaxDigits = 6;
  const std::string* text = answer.Header("retry-after");
  if (text == nullptr || text->empty() || text->size() > kMaxDigits) {
    return -1;
  }
  int64_t seconds = 0;
  for (const char c : *text) {
    if (c < '0' || c > '9') {
      return -1;
    }
    seconds = seconds * 10 + (c - '0');
  }
  return seconds * 1000;
}

bool IsFailure(int status) { return status == 429 || status >= 500; }

// Without an answer, or with one that says that the service has a problem.
CallVerdict FailureVerdict(const absl::StatusOr<HttpAnswer>& answer) {
  if (answer.ok()) {
    return {CallResult::kError, CloudBrokenError(),
            "answered " + std::to_string(answer->status),
            answer->status == 429};
  }
  const std::string error(answer.status().message());
  if (answer.status().GetPayload(kNeverBegun).has_value()) {
    return {CallResult::kTimeout, CloudSlowError(), error};
  }
  switch (answer.status().code()) {
    case absl::StatusCode::kDeadlineExceeded:
      return {CallResult::kTimeout, CloudSlowError(), error, false};
    case absl::StatusCode::kUnavailable:
      return {CallResult::kGone, CloudBrokenError(), error, false};
    case absl::StatusCode::kFailedPrecondition:
      // Who answers is not who it should be; no second try cures that.
      return {CallResult::kError, GatewayRefusedError(), error, false};
    default:
      return {CallResult::kError, CloudBrokenError(), error, false};
  }
}

void WipeAnswer(absl::StatusOr<HttpAnswer>* answer) {
  if (answer->ok()) {
    WipeText(&(*answer)->body);
    for (auto& [name, value] : (*answer)->headers) {
      WipeText(&value);
    }
  }
}

void WipeCall(HttpCall* call) {
  WipeText(&call->url);
  WipeText(&call->body);
  for (auto& [name, value] : call->headers) {
    WipeText(&value);
  }
}

}  // namespace

struct CallGate::Running {
  explicit Running(GatedCall wanted) : call(std::move(wanted)) {}
  ~Running() { WipeCall(&call.http); }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  GatedCall call;
  uint64_t epoch = 0;
  bool repeated = false;
};

void CallGate::LogFailure(std::string_view error) {
  journal_->Failed(service_, error, context_->now_ms());
}

void CallGate::Call(GatedCall call) {
  const auto running = std::make_shared<Running>(std::move(call));
  const int64_t now_ms = context_->now_ms();
  if (running->call.give_up_ms - now_ms < kShortestCallMs) {
    ++requests_.rejected;
    running->call.done(CloudSlowError());
  } else if (now_ms < hold_until_ms_ || !breaker_.Allow(now_ms)) {
    ++requests_.rejected;
    running->call.done(CloudBrokenError());
  } else {
    running->epoch = epoch_;
    Send(running);
  }
}

void CallGate::Send(const std::shared_ptr<Running>& running) {
  HttpCall http = running->call.http;
  http.deadline_ms = std::clamp(running->call.give_up_ms - context_->now_ms(),
                                kShortestCallMs, kCallMs);
  context_->http->Start(std::move(http), [this, running](Answer answer) {
    Taken(running, std::move(answer));
  });
}

void CallGate::Taken(const std::shared_ptr<Running>& running, Answer answer) {
  const bool failed = !answer.ok() || IsFailure(answer->status);
  const CallVerdict verdict =
      failed ? FailureVerdict(answer) : running->call.judge(*answer);
  const int64_t repeat_after_ms = RepeatAfterMs(*running, answer);
  Count(verdict.result);
  if (repeat_after_ms >= 0) {
    running->repeated = true;
    context_->timers.Add(context_->now_ms() + repeat_after_ms,
                         [this, running] { Send(running); });
    return;
  }
  Hold(answer);
  WipeAnswer(&answer);
  Settle(running->epoch, verdict.alive);
  if (!verdict.error.empty()) {
    LogFailure(verdict.error);
  }
  running->call.done(verdict.status);
}

int64_t CallGate::RepeatAfterMs(const Running& running, const Answer& answer) {
  if (running.repeated) {
    return -1;
  }
  int64_t pause_ms = kRepeatPauseMs;
  if (!answer.ok()) {
    const absl::Status& status = answer.status();
    if (status.code() != absl::StatusCode::kUnavailable ||
        !(running.call.repeatable || NothingSent(status))) {
      return -1;
    }
  } else {
    const int64_t wanted_ms = RetryAfterMs(*answer);
    if (!IsFailure(answer->status) || !running.call.repeatable ||
        wanted_ms > kRepeatHoldMs || (answer->status == 429 && wanted_ms < 0)) {
      return -1;
    }
    pause_ms = std::max(pause_ms, wanted_ms);
  }
  pause_ms += static_cast<int64_t>(context_->random() * kRepeatJitterMs);
  const int64_t left_ms = running.call.give_up_ms - context_->now_ms();
  return left_ms - pause_ms >= kRepeatRoomMs ? pause_ms : -1;
}

void CallGate::Hold(const Answer& answer) {
  if (!answer.ok() || (answer->status != 429 && answer->status != 503)) {
    return;
  }
  int64_t hold_ms = RetryAfterMs(*answer);
  if (hold_ms < 0) {
    hold_ms = answer->status == 429 ? kUnsaidHoldMs : 0;
  }
  hold_until_ms_ = std::max(
      hold_until_ms_, context_->now_ms() + std::min(hold_ms, kLongestHoldMs));
}

void CallGate::Settle(uint64_t epoch, bool alive) {
  if (epoch != epoch_) {
    return;
  }
  const bool turned =
      alive ? breaker_.Succeeded() : breaker_.Failed(context_->now_ms());
  if (turned) {
    ++epoch_;
    journal_->Breaker(service_, breaker_.open());
  }
}

void CallGate::Count(CallResult result) {
  switch (result) {
    case CallResult::kOk:
      ++requests_.ok;
      break;
    case CallResult::kNotFound:
      ++requests_.not_found;
      break;
    case CallResult::kRefused:
      ++requests_.refused;
      break;
    case CallResult::kError:
      ++requests_.error;
      break;
    case CallResult::kTimeout:
      ++requests_.timeout;
      break;
    case CallResult::kGone:
      ++requests_.gone;
      break;
  }
}

}  // namespace spicegate
