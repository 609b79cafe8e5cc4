// SPDX-License-Identifier: Apache-2.0
//
// What the portal asks of the gateway.
#ifndef SPICEGATE_GATEWAY_PORTAL_PORTAL_SERVICES_H_
#define SPICEGATE_GATEWAY_PORTAL_PORTAL_SERVICES_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace spicegate {

struct PortalRequest {
  std::string cloud;   // of the configuration
  std::string token;   // secret; IsToken of that cloud
  std::string source;  // the user's address, for the log: "1.2.3.4"
  // Make a ticket and a file, not only a look whether there could be one.
  bool issue = false;
};

struct PortalDesktop {
  std::string name;   // "prod.UUID"; fit for a file's name
  std::string title;  // UTF-8, from the cloud: to be escaped
  // The connection file. Secret. Where none was to be issued: one with a
  // stand-in for the ticket, of the same length.
  std::string vv;
  int64_t expires_s = 0;  // from now to the ticket's first use
};

// Control thread only.
class PortalServices {
 public:
  virtual ~PortalServices() = default;

  // Whether `token` may be one of that cloud.
  virtual bool IsToken(const std::string& cloud, const std::string& token) = 0;

  // Errors as CloudService::Resolve's; ResourceExhausted also when there is no
  // place for a ticket. Two requests for a file with the same token within a
  // few seconds get the same ticket. `done` is called inside the call or
  // later, exactly once; never, when the process ends before.
  using PortalDone = std::function<void(const absl::StatusOr<PortalDesktop>&)>;
  virtual void Open(const PortalRequest& request, PortalDone done) = 0;

  // OK when new sessions are welcome.
  virtual bool Ready() = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_PORTAL_PORTAL_SERVICES_H_
