// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_QMP_QMP_CONSOLE_H_
#define SPICEGATE_GATEWAY_QMP_QMP_CONSOLE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/base/circuit_breaker.h"
#include "gateway/console/console.h"
#include "gateway/console/file_reader.h"
#include "gateway/qmp/bypass_audit.h"
#include "gateway/qmp/foreign_channels.h"
#include "gateway/qmp/qmp_client.h"
#include "gateway/qmp/qmp_operation.h"
#include "gateway/qmp/qmp_password.h"
#include "gateway/qmp/qmp_server.h"

namespace spicegate {

// What all consoles have in common; outlives them.
struct QmpCommons {
  int64_t password_life_ms;
  int64_t operation_ms;
  std::function<int64_t()> now_ms;
  IsOurs is_ours;
  QmpCommandCounts commands{};
  uint64_t foreign_channels = 0;
};

// What somebody wants of a console.
struct QmpWish {
  enum class Kind : uint8_t {
    kNew,         // another password
    kArm,         // the one of before, for another while
    kContinue,    // the one in `password`
    kDisconnect,  // everybody out, and none that anybody knows
  };

  Kind kind = Kind::kArm;
  QmpPassword password = {};
  std::function<void(absl::StatusOr<QmpServer>)> done = nullptr;
};

// One console of kind "qmp": what is known of its server, its password, and
// the operation that is under way. See qmp_service.h, whose calls end here.
//
// Control thread only. A wish's `done` may call anything but the destructor of
// the last pointer's owner.
class QmpConsole : public std::enable_shared_from_this<QmpConsole> {
 public:
  // Waiting wishes. A desktop has some twenty channels; each arms.
  static constexpr size_t kMaxWaiting = 1024;

  // An own monitor that is gone is looked for again after this.
  static constexpr int64_t kReconnectMs = 5'000;

  // One line about failures in this time.
  static constexpr int64_t kFailureLogMs = 10'000;

  // `first_look_ms`: see BypassAudit.
  QmpConsole(const Console& console, QmpCommons* commons,
             int64_t first_look_ms);
  QmpConsole(const QmpConsole&) = delete;
  QmpConsole& operator=(const QmpConsole&) = delete;

  // `console` is what this one was made of, as far as QMP goes.
  bool IsFor(const Console& console) const;

  void Ask(QmpWish wish);

  // Ends it: who waits, and who asks from now on, gets `status`.
  void End(absl::Status status);

  // For poll(2). The connection's number tells one from the next, which may
  // have the same descriptor.
  int fd() const { return client_ == nullptr ? -1 : client_->fd(); }
  short PollEvents() const { return client_->PollEvents(); }
  uint64_t connection() const { return connection_; }
  int64_t deadline_ms() const;

  // After poll, with 0 after none.
  void Handle(short revents, int64_t now_ms);

  // Where it was last seen; null: nowhere yet.
  const QmpServer* place() const { return place_ ? &*place_ : nullptr; }
  int64_t place_seen_ms() const { return place_seen_ms_; }

  // Empty when there is none.
  const QmpPassword& password() const { return password_; }

  bool breaker_open() const { return breaker_.open(); }

 private:
  using Dones = std::vector<std::function<void(absl::StatusOr<QmpServer>)>>;

  // The operation under way, and who shares its result.
  struct Running {
    QmpWish::Kind kind;
    QmpPassword password;
    Dones dones;
  };

  // Wishes.
  bool Serves(const Running& running, const QmpWish& wish) const;
  bool IsArmed() const;
  QmpServer Armed() const;
  void Next();
  bool MayTry(int64_t now_ms);
  void Reject();
  // Begins an operation for the first that waits.
  void Start();
  Running TakeFirst();
  QmpPlan MakePlan(const Running& running) const;
  void Finished(QmpOutcome outcome);
  void Settle(const Running& running, const QmpOutcome& outcome);
  // What callers get.
  absl::StatusOr<QmpServer> ResultOf(const QmpOutcome& outcome) const;
  Dones TakeWaiting();

  // The connection.
  bool is_own() const { return monitor_ == QmpMonitor::kOwn; }
  // Makes sure that there is one, as far as can be told.
  absl::Status Connect();
  void OnEvent(const QmpEvent& event);
  void DropClient();
  void TendOwn(int64_t now_ms);
  void TendShared(int64_t now_ms);
  // When to say that the own monitor cannot be had; INT64_MAX: not.
  int64_t complain_at_ms() const;

  // The audit's looks.
  void StartLook();
  void LookFinished(const QmpOutcome& outcome);
  void Learn(const QmpSpice& spice);
  void Looked(const QmpOutcome& outcome);

  // Tells the breaker and the log how an operation went.
  void Report(const QmpOutcome& outcome);
  void LogFailure(const std::string& command, const std::string& error);
  void LogBreaker(const char* state);

  const std::string name_;
  const std::string path_;
  const QmpMonitor monitor_;
  QmpCommons* const commons_;
  absl::Status ended_;

  QmpPassword password_;
  int64_t armed_until_ms_ = 0;
  std::optional<QmpServer> place_;  // without a password
  int64_t place_seen_ms_ = 0;

  // What the socket was when the last operation began, when the password was
  // armed and when an operation last failed: another file is another QEMU.
  FileStamp socket_;
  FileStamp armed_socket_;
  FileStamp failed_socket_;

  std::deque<QmpWish> waiting_;
  std::optional<Running> running_;

  CircuitBreaker breaker_;
  BypassAudit audit_;
  int64_t failure_log_at_ms_ = 0;

  int64_t reconnect_at_ms_ = 0;
  int64_t connected_at_ms_ = 0;
  bool is_new_ = false;      // the own connection has not been looked at
  bool complained_ = false;  // since the own monitor was last there
  uint64_t connection_ = 0;
  std::unique_ptr<QmpOperation> operation_;
  std::unique_ptr<QmpOperation> look_;
  // Goes before the operations, which it calls.
  std::unique_ptr<QmpClient> client_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_QMP_QMP_CONSOLE_H_
