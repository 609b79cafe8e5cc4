// SPDX-License-Identifier: Apache-2.0
//
// For tests: what a link to a server is made with, in the simulator, and
// questions that are answered by the test.
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_DIAL_FIXTURE_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_DIAL_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>

#include "gateway/base/task.h"
#include "gateway/io/leg.h"
#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"
#include "gateway/server_link/link_context.h"

namespace spicegate {

inline constexpr uint16_t kListeningPort = 5900;

class DialFixture : public testing::Test {
 protected:
  using Failure = std::optional<CloseReason>;

  explicit DialFixture(const SimOptions& options = {}) : network_(options) {
    listener_ = network_.Listen(SimAddress(kListeningPort));
  }

  ~DialFixture() override {
    leg_.Release(Socket::End::kFin);
    Run();
    EXPECT_EQ(driver_.OpsInFlight(), 0u);
    driver_.Close(listener_, false);
    EXPECT_EQ(network_.OpenSockets(), 0u);
    EXPECT_EQ(timers_.size(), 0u);
  }

  void Run() {
    for (int i = 0; i < 20; ++i) {
      driver_.Wait(0);
      timers_.Advance(driver_.NowMs());
      driver_.Dispatch();
    }
  }

  void RunFor(int64_t ms) {
    network_.AdvanceMs(ms);
    Run();
  }

  // Starts what ends with a failure or none; done_ and failure_ tell of it.
  void Start(Task<Failure> task) {
    done_ = false;
    failure_.reset();
    Spawn(Finish(std::move(task)));
    Run();
  }
  Task<void> Finish(Task<Failure> task) {
    failure_ = co_await std::move(task);
    done_ = true;
  }

  // Of the simulated network: 127.0.0.N, of which only N = 1 may listen.
  static SocketAddress Address(int n) {
    SocketAddress address;
    EXPECT_TRUE(NumericAddress("127.0.0." + std::to_string(n), kListeningPort,
                               &address));
    return address;
  }

  SimNetwork network_;
  SimDriver driver_{&network_};
  TimerWheel timers_{driver_.NowMs()};
  WorkerCounters counters_;
  Limits limits_;
  Handle asked_name_;  // the newest question, and its words
  HostPort name_;
  NameLookup names_{&timers_,
                    [this](Handle inquiry, const HostPort& name, int64_t) {
                      asked_name_ = inquiry;
                      name_ = name;
                    }};
  Handle asked_access_;
  AccessQuestion question_;
  AccessLookup access_{
      &timers_,
      [this](Handle inquiry, const AccessQuestion& question, int64_t) {
        asked_access_ = inquiry;
        question_ = question;
      }};
  OwnSockets own_sockets_;
  const ServerLinkContext context_{&driver_, &timers_, &names_,  &counters_,
                                   &limits_, nullptr,  &access_, &own_sockets_};
  int listener_ = -1;
  Leg leg_;
  bool done_ = false;
  Failure failure_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_DIAL_FIXTURE_H_
