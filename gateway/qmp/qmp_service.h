// SPDX-License-Identifier: Apache-2.0
//
// The consoles of kind "qmp": their servers' passwords are set here, moments
// before they are used, and end by themselves. Who else reaches such a server
// finds a password that nobody knows, and is counted.
//
// Everything runs on the control thread, in its poll(2) loop, as AdminServer
// does (gateway/control/admin.h): AddPollFds, poll, HandlePollFds. A monitor
// that hangs delays its own console and no other.
//
// One operation runs on a console at a time. Callers who come meanwhile wait,
// and share what it brings where that is what they want: ten channels that arm
// the same console at once cost one set of commands.
#ifndef SPICEGATE_GATEWAY_QMP_QMP_SERVICE_H_
#define SPICEGATE_GATEWAY_QMP_QMP_SERVICE_H_

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/base/clock.h"
#include "gateway/console/console.h"
#include "gateway/qmp/foreign_channels.h"
#include "gateway/qmp/qmp_operation.h"
#include "gateway/qmp/qmp_server.h"

namespace spicegate {

class QmpConsole;
struct QmpCommons;
struct QmpWish;

// Called exactly once, on the control thread, inside the call or later; it may
// call the service again, but not Close. Errors (no secret in them):
//   NotFound            no qmp console of that name, or it went meanwhile
//   FailedPrecondition  of ContinueFrom: there is no password to continue from
//   Unavailable         QEMU refused a command, its server has no port or lets
//                       everybody in, nobody answers at the socket, the
//                       connection broke, or the breaker is open
//   DeadlineExceeded    no answer in time
//   ResourceExhausted   too many wait for this console
//   Cancelled           the service was closed
using QmpDone = std::function<void(absl::StatusOr<QmpServer>)>;

// Everything since the start unless it says otherwise.
struct QmpStats {
  QmpCommandCounts commands;
  // Connections to a desktop that did not come through the gateway.
  uint64_t foreign_channels = 0;
  int64_t consoles = 0;       // now
  int64_t breakers_open = 0;  // now
};

class QmpService {
 public:
  struct Options {
    // How long a password is good. Whole seconds; as long as a viewer takes
    // from its ticket to its last channel.
    int64_t password_life_ms = 20'000;
    // A whole operation, connecting included.
    int64_t operation_ms = 2'000;
    // The clock of everything here; HandlePollFds is given the same.
    std::function<int64_t()> now_ms = MonotonicMs;
  };

  QmpService(const Options& options, IsOurs is_ours);
  ~QmpService();  // as Close
  QmpService(const QmpService&) = delete;
  QmpService& operator=(const QmpService&) = delete;

  // The consoles from now on; those that are not of kind "qmp" are left out.
  // What is known about a console stays as long as its socket and monitor do.
  // Those who wait for a console that goes get NotFound.
  void SetConsoles(std::shared_ptr<const ConsoleTable> consoles);

  // For a ticket: a new password for `console`. Channels that are open stay;
  // one that is still to open with the password before needs the new one.
  void NewPassword(const std::string& console, QmpDone done);

  // For a channel about to be opened: the password of before (or a new one,
  // when there is none), good for at least half its life. Sends nothing when it
  // is so already.
  void Arm(const std::string& console, QmpDone done);

  // The same for the destination of a migration of `source`, by the place that
  // its server names: the console that was last seen to listen there. Names of
  // this host (localhost, 127.0.0.0/8, ::1) are one, host names are compared
  // without case. NotFound: none is known to, or it is not the source and was
  // not made to continue it (ContinueFrom, from one to the next); nothing was
  // done. A server can name any place, and must not get its user into a desktop
  // of somebody else.
  void ArmPlace(const std::string& source, const std::string& host,
                uint16_t port, QmpDone done);

  // For the destination of a migration of `other`: the password of `other`
  // becomes that of `console`, so that a viewer that only has that gets in; so
  // it stays until `console` gets a new one.
  // FailedPrecondition when `other` has none.
  void ContinueFrom(const std::string& console, const std::string& other,
                    QmpDone done);

  // Ends every channel of the server, also those that are not the gateway's,
  // and leaves a password that nobody knows. The next NewPassword or Arm makes
  // another.
  void Disconnect(const std::string& console,
                  std::function<void(absl::Status)> done);

  // Appends what poll(2) is to watch now.
  void AddPollFds(std::vector<pollfd>* fds) const;

  // Takes exactly the entries that the last AddPollFds appended, after poll.
  // Call it after a timeout too: deadlines are kept here. Calls of the service
  // between AddPollFds and this do no harm.
  void HandlePollFds(std::span<const pollfd> fds, int64_t now_ms);

  // When HandlePollFds has something to do even if no descriptor is ready;
  // INT64_MAX when there is nothing. Ask after the last call of the service
  // and before poll.
  int64_t NextDeadlineMs() const;

  QmpStats stats() const;

  // Drops all connections; who waits gets Cancelled, and so does who asks from
  // then on.
  void Close();

 private:
  // One entry of the last AddPollFds.
  struct Polled {
    std::weak_ptr<QmpConsole> console;
    uint64_t connection;
  };

  std::shared_ptr<QmpConsole> Find(const std::string& console) const;
  // Whether `console` is `source`, or has been made to continue it.
  bool Continues(std::string console, const std::string& source) const;
  void Ask(const std::string& console, QmpWish wish);

  const std::unique_ptr<QmpCommons> commons_;
  std::map<std::string, std::shared_ptr<QmpConsole>> consoles_;
  // Which console each one continues.
  std::map<std::string, std::string> continued_;
  mutable std::vector<Polled> polled_;
  absl::Status closed_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_QMP_QMP_SERVICE_H_
