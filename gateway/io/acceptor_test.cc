// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/acceptor.h"

#include <gtest/gtest.h>

#include <vector>

#include "gateway/base/limits.h"
#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"

namespace spicegate {
namespace {

constexpr uint16_t kPort = 5930;

class AcceptorTest : public testing::Test {
 protected:
  explicit AcceptorTest(const SimFaults& faults = {})
      : network_(SimOptions{1, 64 * 1024, faults}) {}

  ~AcceptorTest() override {
    acceptor_.Stop();
    Run();
    EXPECT_TRUE(acceptor_.stopped());
    for (const int fd : accepted_) {
      driver_.Close(fd, false);
    }
    driver_.Close(listener_, false);
    EXPECT_EQ(driver_.OpsInFlight(), 0u);
    EXPECT_EQ(network_.OpenSockets(), 0u);
  }

  void Run() {
    for (int i = 0; i < 20; ++i) {
      driver_.Wait(0);
      timers_.Advance(driver_.NowMs());
      driver_.Dispatch();
    }
  }

  SimNetwork network_;
  SimDriver driver_{&network_};
  TimerWheel timers_{driver_.NowMs()};
  Counter pauses_;
  std::vector<int> accepted_;
  int listener_ = network_.Listen(SimAddress(kPort));
  // The simulated descriptor is not the kernel's: closing it is harmless, and
  // the test closes it in the network.
  Acceptor acceptor_{&driver_, &timers_, &pauses_, UniqueFd(listener_),
                     [this](int fd) { accepted_.push_back(fd); }};
};

TEST_F(AcceptorTest, AcceptsUntilItIsStopped) {
  acceptor_.Start();
  SimPeer one = network_.ConnectPeer(SimAddress(kPort));
  SimPeer two = network_.ConnectPeer(SimAddress(kPort));
  Run();
  EXPECT_EQ(accepted_.size(), 2u);
  acceptor_.Stop();
  Run();
  EXPECT_TRUE(acceptor_.stopped());
  SimPeer three = network_.ConnectPeer(SimAddress(kPort));
  Run();
  EXPECT_EQ(accepted_.size(), 2u);
}

TEST_F(AcceptorTest, StopsBeforeItStarted) {
  acceptor_.Stop();
  EXPECT_TRUE(acceptor_.stopped());
}

class StarvedAcceptorTest : public AcceptorTest {
 protected:
  StarvedAcceptorTest() : AcceptorTest(SimFaults{.accept_error = 1}) {}
};

TEST_F(StarvedAcceptorTest, PausesInsteadOfSpinning) {
  acceptor_.Start();
  SimPeer peer = network_.ConnectPeer(SimAddress(kPort));
  Run();
  EXPECT_EQ(pauses_.value(), 1);
  network_.AdvanceMs(kAcceptPauseMs + 1);
  Run();
  // The connection that failed may be gone; another one tries again.
  SimPeer again = network_.ConnectPeer(SimAddress(kPort));
  Run();
  EXPECT_EQ(pauses_.value(), 2);
  EXPECT_TRUE(accepted_.empty());
}

}  // namespace
}  // namespace spicegate
