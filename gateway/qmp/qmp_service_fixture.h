// SPDX-License-Identifier: Apache-2.0
//
// For tests: a QmpService with one FakeQmp for each console, and a clock that
// stands still unless it is moved.
#ifndef SPICEGATE_GATEWAY_QMP_QMP_SERVICE_FIXTURE_H_
#define SPICEGATE_GATEWAY_QMP_QMP_SERVICE_FIXTURE_H_

#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/console/console.h"
#include "gateway/qmp/fake_qmp.h"
#include "gateway/qmp/qmp_service.h"

namespace spicegate {

class QmpServiceFixture : public ::testing::Test {
 protected:
  using Results = std::vector<absl::StatusOr<QmpServer>>;

  QmpServiceFixture() {
    QmpService::Options options;
    options.now_ms = [this] { return now_ms_; };
    service_ = std::make_unique<QmpService>(
        options, [this](const std::string& host, uint16_t port) {
          ++num_asked_;
          return std::find(ours_.begin(), ours_.end(),
                           std::make_pair(host, port)) != ours_.end();
        });
  }

  // The consoles from now on, each of its own QEMU. Their first looks are taken
  // and forgotten.
  void SetConsoles(const std::vector<std::string>& names,
                   QmpMonitor monitor = QmpMonitor::kShared) {
    SetConsolesOnly(names, monitor);
    for (size_t i = 0; i < names.size(); ++i) {
      Pass(5);
    }
    for (const auto& [name, qemu] : qemus_) {
      qemu->commands.clear();
      qemu->num_connections = 0;
    }
  }

  void SetConsolesOnly(const std::vector<std::string>& names,
                       QmpMonitor monitor = QmpMonitor::kShared) {
    std::vector<Console> consoles(1);
    consoles[0].name = "not-qmp";
    consoles[0].host = "192.0.2.1";
    for (const std::string& name : names) {
      Console console;
      console.name = name;
      console.qmp_path = Qemu(name).path();
      console.qmp_monitor = monitor;
      consoles.push_back(console);
    }
    service_->SetConsoles(std::make_shared<ConsoleTable>(std::move(consoles)));
  }

  FakeQmp& Qemu(const std::string& console) {
    auto& qemu = qemus_[console];
    if (qemu == nullptr) {
      qemu = std::make_unique<FakeQmp>();
    }
    return *qemu;
  }

  // Keeps what it is called with.
  static QmpDone Into(Results* results) {
    return [results](absl::StatusOr<QmpServer> result) {
      results->push_back(std::move(result));
    };
  }
  // The same, alive as long as the callback is.
  static QmpDone Into(const std::shared_ptr<Results>& results) {
    return [results](absl::StatusOr<QmpServer> result) {
      results->push_back(std::move(result));
    };
  }

  // The same for calls that end with a status.
  static std::function<void(absl::Status)> StatusInto(Results* results) {
    return [results](const absl::Status& status) {
      results->push_back(status.ok() ? absl::StatusOr<QmpServer>(QmpServer())
                                     : status);
    };
  }

  // One turn of the loop; whether anything happened.
  bool Turn() {
    std::vector<pollfd> fds;
    service_->AddPollFds(&fds);
    poll(fds.data(), fds.size(), 0);
    const bool ready = std::any_of(fds.begin(), fds.end(),
                                   [](const pollfd& fd) { return fd.revents; });
    service_->HandlePollFds(fds, now_ms_);
    return ready;
  }

  // Until nobody has anything to do at this moment.
  void Run() {
    for (int i = 0; i < 1000; ++i) {
      bool moved = Turn();
      for (const auto& [name, qemu] : qemus_) {
        moved = qemu->Turn() || moved;
      }
      if (!moved) {
        return;
      }
    }
    ADD_FAILURE() << "no end of it";
  }

  // Lets time pass, with all that falls due in it.
  void Pass(int64_t ms) {
    const int64_t until_ms = now_ms_ + ms;
    Run();
    for (int i = 0; i < 1000 && service_->NextDeadlineMs() <= until_ms; ++i) {
      EXPECT_GE(service_->NextDeadlineMs(), now_ms_) << "a deadline was left";
      now_ms_ = service_->NextDeadlineMs();
      Run();
    }
    now_ms_ = until_ms;
    Run();
  }

  // The whole of one call, which must end at this moment.
  absl::StatusOr<QmpServer> New(const std::string& console) {
    const auto results = std::make_shared<Results>();
    service_->NewPassword(console, Into(results));
    Run();
    return One(*results);
  }
  absl::StatusOr<QmpServer> Arm(const std::string& console) {
    const auto results = std::make_shared<Results>();
    service_->Arm(console, Into(results));
    Run();
    return One(*results);
  }
  absl::Status Disconnect(const std::string& console) {
    const auto results = std::make_shared<Results>();
    service_->Disconnect(console, [results](absl::Status status) {
      results->push_back(status.ok() ? absl::StatusOr<QmpServer>(QmpServer())
                                     : status);
    });
    Run();
    return One(*results).status();
  }

  static absl::StatusOr<QmpServer> One(const Results& results) {
    if (results.size() != 1) {
      return absl::InternalError(std::to_string(results.size()) + " results");
    }
    return results[0];
  }

  int64_t now_ms_ = 1'000'000;
  std::map<std::string, std::unique_ptr<FakeQmp>> qemus_;
  std::vector<std::pair<std::string, uint16_t>> ours_;
  int num_asked_ = 0;
  std::unique_ptr<QmpService> service_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_QMP_QMP_SERVICE_FIXTURE_H_
