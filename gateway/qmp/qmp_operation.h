// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_QMP_QMP_OPERATION_H_
#define SPICEGATE_GATEWAY_QMP_QMP_OPERATION_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/base/json.h"
#include "gateway/qmp/qmp_client.h"
#include "gateway/qmp/qmp_password.h"
#include "gateway/qmp/qmp_protocol.h"

namespace spicegate {

// What an operation is to do on a server.
struct QmpPlan {
  // None: look at query-spice and leave.
  std::optional<QmpPassword> password = std::nullopt;
  QmpConnected connected = QmpConnected::kKeep;
  std::string expires = "";  // of expire_password
  int64_t deadline_ms = 0;   // for all of it
};

// How an operation ended.
struct QmpOutcome {
  enum class Result : uint8_t {
    kOk,
    kRefused,  // QEMU answers, and not as it should
    kTimeout,  // no answer by the deadline; the connection has ended
    kGone,     // no connection, or it has ended
  };

  Result result = Result::kOk;
  absl::Status status;  // for callers, as QmpDone has it; OK with kOk
  std::string command;  // the last that was tried
  std::string error;    // what went wrong with it, for the log
  bool looked = false;  // query-spice was answered, whatever came of the rest
  // The password may have been changed, even though something failed behind it.
  bool touched = false;
  int64_t expires_from_ms = 0;  // when expire_password was sent; 0: it was not
};

// Commands by how they ended, of all consoles since the start.
struct QmpCommandCounts {
  uint64_t ok = 0;
  uint64_t error = 0;     // QEMU refused it
  uint64_t timeout = 0;   // no answer in time
  uint64_t gone = 0;      // no connection, or it broke
  uint64_t rejected = 0;  // not tried: the breaker is open
};

// The commands of one operation in their order: query-spice, set_password,
// expire_password, each once the one before is answered. The order of the last
// two matters: QEMU keeps an expiry that has passed over a new password.
class QmpOperation {
 public:
  // Called with query-spice's answer as it comes, in its place between the
  // connection's events. Must leave the operation and the client alone.
  using OnSpice = std::function<void(const QmpSpice&)>;

  // Called once, unless the client is destroyed before. May destroy the
  // operation and the client.
  using Done = std::function<void(QmpOutcome)>;

  // `client` (which has been told to connect), `now_ms` and `counts` outlive
  // it.
  QmpOperation(QmpClient* client, QmpPlan plan,
               const std::function<int64_t()>& now_ms, QmpCommandCounts* counts,
               OnSpice on_spice, Done done);
  QmpOperation(const QmpOperation&) = delete;
  QmpOperation& operator=(const QmpOperation&) = delete;

  // May call `done`.
  void Start();

 private:
  using Step = void (QmpOperation::*)(const JsonValue&);

  void Send(QmpCommand command, Step next);
  void OnSpiceResult(const JsonValue& result);
  void OnPasswordSet(const JsonValue& result);
  void OnExpirySet(const JsonValue& result);
  void OnFailure(const absl::Status& status);
  void Refuse(const std::string& error);
  bool is_look() const { return !plan_.password.has_value(); }
  // Counts a failure, unless it is a look's that QEMU had no time for.
  void Count(uint64_t* counter);
  void Finish();

  QmpClient* const client_;
  const QmpPlan plan_;
  const std::function<int64_t()>& now_ms_;
  QmpCommandCounts* const counts_;
  const OnSpice on_spice_;
  Done done_;
  QmpOutcome outcome_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_QMP_QMP_OPERATION_H_
