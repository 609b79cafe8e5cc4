// SPDX-License-Identifier: Apache-2.0
//
// Consoles whose servers are asked over QMP, as the rest of the gateway sees
// them: tickets on one side, links of workers on the other. Control thread.
#ifndef SPICEGATE_GATEWAY_CONSOLE_ACCESS_H_
#define SPICEGATE_GATEWAY_CONSOLE_ACCESS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "gateway/console/console.h"
#include "gateway/control_mail.h"
#include "gateway/qmp/qmp_service.h"
#include "gateway/worker.h"

namespace spicegate {

class ConsoleAccess {
 public:
  // Outlives the object.
  explicit ConsoleAccess(SharedState* shared);
  ConsoleAccess(const ConsoleAccess&) = delete;
  ConsoleAccess& operator=(const ConsoleAccess&) = delete;

  QmpService* qmp() { return &qmp_; }
  const QmpService* qmp() const { return &qmp_; }

  // The consoles from now on.
  void SetConsoles(std::shared_ptr<const ConsoleTable> consoles);

  using ConsoleDone = std::function<void(absl::StatusOr<Console>)>;
  // A console as it is to be dialled for a new ticket: itself, or with the
  // place and a new password of its server. With `continues` the password is
  // that console's. QmpDone's errors, and FailedPrecondition where QMP has no
  // part in it.
  void Prepare(const Console& console, const std::string& continues,
               ConsoleDone done);

  using DisconnectDone = std::function<void(absl::StatusOr<int64_t>)>;
  // Ends our sessions of a console, and whatever else its server has where that
  // is asked over QMP.
  void Disconnect(const Console& console, DisconnectDone done);

  // From the workers.
  void On(AccessRequest request);
  void On(Disconnected answer);

 private:
  // A console whose end is under way. Workers come first: what they end is told
  // as ended by us, and counted, and its displays are left safely.
  struct Ending {
    std::string console;
    bool by_qmp = false;
    size_t num_waiting = 0;  // workers
    int64_t num_sessions = 0;
    DisconnectDone done;
  };

  void Answer(const AccessRequest& request, ServerAccess::Result result,
              const absl::StatusOr<QmpServer>& server);
  // The workers have ended what is ours.
  void EndRest(uint64_t id);
  void Finish(uint64_t id, const absl::Status& status);

  SharedState* const shared_;
  uint64_t next_id_ = 0;
  std::map<uint64_t, Ending> endings_;
  QmpService qmp_;  // last: it answers whom it has not answered as it goes
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONSOLE_ACCESS_H_
