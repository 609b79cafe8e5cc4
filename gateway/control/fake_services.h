// SPDX-License-Identifier: Apache-2.0
//
// AdminServices for tests: two consoles, one policy, and knobs for everything
// that can fail or take its time.
#ifndef SPICEGATE_GATEWAY_CONTROL_FAKE_SERVICES_H_
#define SPICEGATE_GATEWAY_CONTROL_FAKE_SERVICES_H_

#include <functional>
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

  bool CanDisconnect(const std::string& console) override {
    return table_->Find(console) != nullptr || console.starts_with("cloud.");
  }

  void IssueTicket(const TicketRequest& request, TicketDone done) override {
    Finish([this, request, done = std::move(done)] { done(Issue(request)); });
  }

  std::string VvFile(const TicketRequest& request,
                     const IssuedTicket& ticket) override {
    return "[virt-viewer]\npassword=" + ticket.ticket +
           "\ntitle=" + ticket.console.DisplayTitle() + "\nvia=" + request.via +
           "\n";
  }

  void Disconnect(const std::string& console, DisconnectDone done) override {
    Finish([this, console, done = std::move(done)] {
      disconnected.push_back(console);
      done(issue_error.ok() ? absl::StatusOr<int64_t>(2) : issue_error);
    });
  }

  std::string MetricsText() override { return metrics; }
  bool Live() override { return live; }
  absl::Status Ready() override { return ready; }

  // "CONSOLE", "CONSOLE+POLICY", "CONSOLE<CONTINUES", "CONSOLE@VIA", in that
  // order.
  std::vector<std::string> issued;
  std::vector<std::string> disconnected;
  // With `hold`, tickets and disconnects are not answered but kept in `held`;
  // each of those answers when it is called.
  bool hold = false;
  std::vector<std::function<void()>> held;
  absl::Status issue_error;
  std::string metrics = "# metrics\n";
  bool live = true;
  absl::Status ready;

 private:
  void Finish(std::function<void()> answer) {
    if (hold) {
      held.push_back(std::move(answer));
    } else {
      answer();
    }
  }

  absl::StatusOr<IssuedTicket> Issue(const TicketRequest& request) {
    if (!issue_error.ok()) {
      return issue_error;
    }
    const auto part = [](const char* sign, const std::string& value) {
      return value.empty() ? "" : sign + value;
    };
    issued.push_back(request.console + part("+", request.policy) +
                     part("<", request.continues) + part("@", request.via));
    return IssuedTicket{"TICKET" + std::to_string(issued.size()), 60,
                        *table_->Find(request.console)};
  }

  std::shared_ptr<const ConsoleTable> table_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_FAKE_SERVICES_H_
