// SPDX-License-Identifier: Apache-2.0
//
// What the admin address can do to the process.
#ifndef SPICEGATE_GATEWAY_CONTROL_ADMIN_SERVICES_H_
#define SPICEGATE_GATEWAY_CONTROL_ADMIN_SERVICES_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/console/console.h"

namespace spicegate {

// What is asked for with a ticket. Names are as they came in the request.
struct TicketRequest {
  std::string console;
  std::string policy;  // on top of the console's own; empty: none
  // "connect" or "tunnel" (connection_file.h); empty: neither.
  std::string via;
  std::string continues;  // the console that migrates to this one; empty: none
};

struct IssuedTicket {
  std::string ticket;     // secret
  int64_t expires_s = 0;  // from now to the first use
  Console console;        // as it is dialled: the server's password inside
};

// Implemented by the server; called on the control thread, one call at a time.
// Nothing here may block for long: the admin address waits meanwhile.
class AdminServices {
 public:
  virtual ~AdminServices() = default;

  // The consoles as they are now; never null.
  virtual std::shared_ptr<const ConsoleTable> Consoles() = 0;

  // The configuration has a policy of that name.
  virtual bool HasPolicy(const std::string& name) = 0;

  // Whether there is, or may be, such a console: those of clouds are in no
  // table.
  virtual bool CanDisconnect(const std::string& console) = 0;

  using TicketDone = std::function<void(absl::StatusOr<IssuedTicket>)>;
  using DisconnectDone = std::function<void(absl::StatusOr<int64_t>)>;

  // Issues a ticket. The console, the one that is continued and the policy were
  // there a moment ago. FailedPrecondition: not for such a console.
  //
  // Here and below, `done` is called on the control thread, inside the call or
  // later, exactly once; never, when the process ends before. It may be called
  // when nobody waits any more: then it does nothing. An error becomes 404
  // (NotFound), 409 (FailedPrecondition), 501 (Unimplemented), 503
  // (ResourceExhausted, Unavailable, DeadlineExceeded) or 500; its message goes
  // to the caller and must hold no secret.
  virtual void IssueTicket(const TicketRequest& request, TicketDone done) = 0;

  // A connection file for a ticket that was issued for `request`, by
  // connection_file.h: BuildVv or, where request.via says so, BuildConnectVv.
  // Secret.
  virtual std::string VvFile(const TicketRequest& request,
                             const IssuedTicket& ticket) = 0;

  // Ends what is open on a console; the number of sessions that were.
  virtual void Disconnect(const std::string& console, DisconnectDone done) = 0;

  // metrics.h: MetricsText.
  virtual std::string MetricsText() = 0;

  // The workers turn over.
  virtual bool Live() = 0;

  // OK when new sessions are welcome; else the message says why not.
  virtual absl::Status Ready() = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_ADMIN_SERVICES_H_
