// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/qmp_operation.h"

#include <utility>

#include "gateway/qmp/qmp_server.h"

namespace spicegate {
namespace {

// What QEMU says may end up in a log: not with the password in it.
std::string Harmless(const absl::Status& status,
                     const std::optional<QmpPassword>& password) {
  std::string text(status.message());
  const bool tells =
      password.has_value() && text.find(password->text()) != std::string::npos;
  return tells ? "an error that repeats the password" : text;
}

}  // namespace

QmpOperation::QmpOperation(QmpClient* client, QmpPlan plan,
                           const std::function<int64_t()>& now_ms,
                           QmpCommandCounts* counts, OnSpice on_spice,
                           Done done)
    : client_(client),
      plan_(std::move(plan)),
      now_ms_(now_ms),
      counts_(counts),
      on_spice_(std::move(on_spice)),
      done_(std::move(done)) {}

void QmpOperation::Start() {
  Send(QuerySpiceCommand(), &QmpOperation::OnSpiceResult);
}

void QmpOperation::Send(QmpCommand command, Step next) {
  outcome_.command = command.name;
  client_->Execute(std::move(command), plan_.deadline_ms,
                   [this, next](absl::StatusOr<JsonValue> reply) {
                     if (!reply.ok()) {
                       OnFailure(reply.status());
                       return;
                     }
                     ++counts_->ok;
                     (this->*next)(*reply);
                   });
}

void QmpOperation::OnSpiceResult(const JsonValue& result) {
  const absl::StatusOr<QmpSpice> spice = ParseQuerySpice(result);
  if (!spice.ok()) {
    Refuse(std::string(spice.status().message()));
    return;
  }
  outcome_.looked = true;
  on_spice_(*spice);
  if (is_look()) {
    Finish();
    return;
  }
  if (const auto server = ServerOf(*spice); !server.ok()) {
    Refuse(std::string(server.status().message()));
    return;
  }
  outcome_.touched = true;
  Send(SetPasswordCommand(plan_.password->text(), plan_.connected),
       &QmpOperation::OnPasswordSet);
}

void QmpOperation::OnPasswordSet(const JsonValue& /*result*/) {
  outcome_.expires_from_ms = now_ms_();
  Send(ExpirePasswordCommand(plan_.expires), &QmpOperation::OnExpirySet);
}

void QmpOperation::OnExpirySet(const JsonValue& /*result*/) { Finish(); }

void QmpOperation::OnFailure(const absl::Status& status) {
  const std::string text = Harmless(status, plan_.password);
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
      ++counts_->error;
      Refuse(text);
      return;
    case absl::StatusCode::kDeadlineExceeded:
      outcome_.result = QmpOutcome::Result::kTimeout;
      outcome_.error = outcome_.looked
                           ? text
                           : "no answer in time; is QEMU stuck, or does it "
                             "serve another client on this socket?";
      outcome_.status = absl::DeadlineExceededError(outcome_.error);
      Count(&counts_->timeout);
      break;
    default:
      outcome_.result = QmpOutcome::Result::kGone;
      outcome_.error = text;
      outcome_.status = absl::UnavailableError(text);
      Count(&counts_->gone);
      break;
  }
  Finish();
}

void QmpOperation::Refuse(const std::string& error) {
  outcome_.result = QmpOutcome::Result::kRefused;
  outcome_.error = error;
  outcome_.status = absl::UnavailableError(error);
  Finish();
}

void QmpOperation::Count(uint64_t* counter) {
  if (!is_look()) {
    ++*counter;
  }
}

void QmpOperation::Finish() {
  // Whoever hears of it may destroy this.
  const Done done = std::move(done_);
  QmpOutcome outcome = std::move(outcome_);
  done(std::move(outcome));
}

}  // namespace spicegate
