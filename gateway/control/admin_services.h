// SPDX-License-Identifier: Apache-2.0
//
// What the admin address can do to the process.
#ifndef SPICEGATE_GATEWAY_CONTROL_ADMIN_SERVICES_H_
#define SPICEGATE_GATEWAY_CONTROL_ADMIN_SERVICES_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/console/console.h"

namespace spicegate {

struct IssuedTicket {
  std::string ticket;     // secret
  int64_t expires_s = 0;  // from now to the first use
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

  // Issues a ticket for a console that was in Consoles() a moment ago, with a
  // policy on top of the console's own (HasPolicy; empty: none). An error
  // becomes 404 (NotFound), 503 (ResourceExhausted, Unavailable) or 500; its
  // message goes to the caller and must hold no secret.
  virtual absl::StatusOr<IssuedTicket> IssueTicket(
      const std::string& console, const std::string& policy) = 0;

  // A connection file for that ticket (portal.h: BuildVv).
  virtual std::string VvFile(const Console& console,
                             const IssuedTicket& ticket) = 0;

  // metrics.h: MetricsText.
  virtual std::string MetricsText() = 0;

  // The workers turn over.
  virtual bool Live() = 0;

  // OK when new sessions are welcome; else the message says why not.
  virtual absl::Status Ready() = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_ADMIN_SERVICES_H_
