// SPDX-License-Identifier: Apache-2.0
//
// PortalServices for tests: one desktop that every token opens, and knobs for
// what can fail or take its time.
#ifndef SPICEGATE_GATEWAY_PORTAL_FAKE_PORTAL_SERVICES_H_
#define SPICEGATE_GATEWAY_PORTAL_FAKE_PORTAL_SERVICES_H_

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gateway/portal/portal_services.h"

namespace spicegate {

class FakePortalServices final : public PortalServices {
 public:
  bool IsToken(const std::string& cloud, const std::string& token) override {
    clouds_seen.push_back(cloud);
    return token.size() == 36 &&
           token.find_first_not_of("0123456789abcdefABCDEF-") ==
               std::string::npos;
  }

  void Open(const PortalRequest& request, PortalDone done) override {
    asked.push_back(request);
    if (hold) {
      held.push_back(std::move(done));
    } else {
      done(Result(request));
    }
  }

  bool Ready() override { return ready; }

  absl::StatusOr<PortalDesktop> Result(const PortalRequest& request) const {
    if (!error.ok()) {
      return error;
    }
    PortalDesktop opened = desktop;
    opened.vv = std::string("[virt-viewer]\npassword=") +
                (request.issue ? "TICKET" : "xxxxxx") + "\n";
    return opened;
  }

  std::vector<PortalRequest> asked;
  std::vector<std::string> clouds_seen;
  std::vector<PortalDone> held;  // by Open while `hold`
  bool hold = false;
  bool ready = true;
  absl::Status error;
  PortalDesktop desktop = {"prod.vm-7", "Windows <11>", "", 60};
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_PORTAL_FAKE_PORTAL_SERVICES_H_
