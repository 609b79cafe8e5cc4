// SPDX-License-Identifier: Apache-2.0
//
// AdminServices for tests: two consoles, one policy, and knobs for everything
// that can fail.
#ifndef SPICEGATE_GATEWAY_CONTROL_FAKE_SERVICES_H_
#define SPICEGATE_GATEWAY_CONTROL_FAKE_SERVICES_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/control/admin_services.h"

namespace spicegate {

class FakeServices final : public AdminServices {
 public:
  FakeServices() {
    std::vector<Console> consoles(2);
    consoles[0].name = "vm1";
    consoles[0].title = "Windows \"11\"";
    consoles[0].host = "hypervisor.example";
    consoles[0].ticket = "server-secret";
    consoles[1].name = "a.vv";
    table_ = std::make_shared<const ConsoleTable>(std::move(consoles));
  }

  std::shared_ptr<const ConsoleTable> Consoles() override { return table_; }

  bool HasPolicy(const std::string& name) override { return name == "kiosk"; }

  absl::StatusOr<IssuedTicket> IssueTicket(const std::string& console,
                                           const std::string& policy) override {
    if (!issue_error.ok()) {
      return issue_error;
    }
    issued.push_back(console + (policy.empty() ? "" : "+" + policy));
    return IssuedTicket{"TICKET" + std::to_string(issued.size()), 60};
  }

  std::string VvFile(const Console& console,
                     const IssuedTicket& ticket) override {
    return "[virt-viewer]\npassword=" + ticket.ticket +
           "\ntitle=" + console.DisplayTitle() + "\n";
  }

  std::string MetricsText() override { return metrics; }
  bool Live() override { return live; }
  absl::Status Ready() override { return ready; }

  std::vector<std::string> issued;  // "CONSOLE" or "CONSOLE+POLICY"
  absl::Status issue_error;
  std::string metrics = "# metrics\n";
  bool live = true;
  absl::Status ready;

 private:
  std::shared_ptr<const ConsoleTable> table_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_FAKE_SERVICES_H_
