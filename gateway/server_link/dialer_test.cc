// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/dialer.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "gateway/server_link/dial_fixture.h"

namespace spicegate {
namespace {

constexpr int64_t kTimeMs = 3'000;

class DialerTest : public DialFixture {
 protected:
  explicit DialerTest(const SimOptions& options = {}) : DialFixture(options) {}

  void Dial(const std::string& host, const Dialer::Filter* filter = nullptr) {
    place_ = {host, kListeningPort};
    Start(dialer_.Dial(&place_, timers_.now_ms() + kTimeMs, filter));
  }

  void DialName(const Addresses& addresses,
                const Dialer::Filter* filter = nullptr) {
    Dial("vm.example.test", filter);
    EXPECT_FALSE(done_);
    names_.Deliver(asked_name_, addresses);
    Run();
  }

  // The end of a connection that there is.
  SimPeer Accepted() {
    EXPECT_TRUE(done_);
    EXPECT_EQ(failure_, std::nullopt);
    SimPeer peer = network_.AcceptPeer(listener_);
    EXPECT_TRUE(peer.open());
    return peer;
  }

  bool NobodyCame() { return !network_.AcceptPeer(listener_).open(); }

  HostPort place_;
  Dialer dialer_{context_, &leg_};
};

// Every connect waits for ever.
class StalledDialerTest : public DialerTest {
 protected:
  static SimOptions Stalled() {
    SimOptions options;
    options.faults.connect_stall = 1;
    return options;
  }
  StalledDialerTest() : DialerTest(Stalled()) {}

  // The attempt under way: no descriptor is used twice.
  int Attempt() const { return leg_.socket->fd(); }
};

TEST_F(DialerTest, AnAddressIsNotLookedUp) {
  Dial("127.0.0.1");
  Accepted();
  EXPECT_FALSE(asked_name_);
}

TEST_F(DialerTest, ANameIsDialledAtItsAddressesInTurn) {
  DialName({Address(2), Address(3), Address(1)});
  Accepted();
  EXPECT_EQ(name_.host, "vm.example.test");
  EXPECT_EQ(name_.port, kListeningPort);
}

TEST_F(DialerTest, NobodyListensAnywhere) {
  DialName({Address(2), Address(3)});
  EXPECT_EQ(failure_, CloseReason::kServerConnect);
}

TEST_F(DialerTest, ANameWithoutAddresses) {
  DialName({});
  EXPECT_EQ(failure_, CloseReason::kServerResolve);
}

TEST_F(DialerTest, ANameThatTakesTooLong) {
  Dial("vm.example.test");
  RunFor(kTimeMs - 1);
  EXPECT_FALSE(done_);
  RunFor(1);
  EXPECT_EQ(failure_, CloseReason::kServerResolve);
}

TEST_F(DialerTest, AFilterHoldsForAddressesToo) {
  std::vector<std::string> judged;
  const Dialer::Filter none = [&judged](const SocketAddress& address) {
    judged.push_back(AddressText(address));
    return false;
  };
  Dial("127.0.0.1", &none);
  EXPECT_EQ(failure_, CloseReason::kConnectForbidden);
  EXPECT_EQ(judged, std::vector<std::string>{"127.0.0.1:5900"});
  EXPECT_TRUE(NobodyCame());
}

TEST_F(DialerTest, AFilterTakesAddressesOut) {
  const Dialer::Filter only_third = [](const SocketAddress& address) {
    return AddressText(address) == "127.0.0.3:5900";
  };
  DialName({Address(1), Address(3)}, &only_third);
  EXPECT_EQ(failure_, CloseReason::kServerConnect);
  EXPECT_TRUE(NobodyCame());
  DialName({Address(1), Address(2)}, &only_third);
  EXPECT_EQ(failure_, CloseReason::kConnectForbidden);
  EXPECT_TRUE(NobodyCame());
}

TEST_F(DialerTest, AFilterHasNothingToSayOfANameThatIsNone) {
  const Dialer::Filter none = [](const SocketAddress&) { return false; };
  DialName({}, &none);
  EXPECT_EQ(failure_, CloseReason::kServerResolve);
}

TEST_F(DialerTest, AUnixSocketThatIsNotThere) {
  const std::string path = "/run/no-such.sock";
  Start(dialer_.DialUnix(&path, timers_.now_ms() + kTimeMs));
  EXPECT_EQ(failure_, CloseReason::kServerConnect);
}

TEST_F(DialerTest, AUnixSocketThatCannotBe) {
  const std::string path(200, 'x');
  Start(dialer_.DialUnix(&path, timers_.now_ms() + kTimeMs));
  EXPECT_EQ(failure_, CloseReason::kServerConnect);
  EXPECT_EQ(leg_.socket, nullptr);
}

TEST_F(DialerTest, AbandonedBeforeItBegan) {
  dialer_.Abandon();
  Dial("127.0.0.1");
  EXPECT_EQ(failure_, CloseReason::kShutdown);
  EXPECT_TRUE(NobodyCame());
}

TEST_F(DialerTest, AbandonedWhileANameIsLookedUp) {
  Dial("vm.example.test");
  dialer_.Abandon();
  names_.Deliver(asked_name_, {Address(1)});
  Run();
  EXPECT_EQ(failure_, CloseReason::kShutdown);
  EXPECT_TRUE(NobodyCame());
}

TEST_F(StalledDialerTest, EveryAddressHasItsShareOfTheTime) {
  DialName({Address(2), Address(3), Address(4)});
  const int first = Attempt();
  RunFor(kTimeMs / 3 - 1);
  EXPECT_EQ(Attempt(), first);
  RunFor(1);
  const int second = Attempt();
  EXPECT_NE(second, first);
  RunFor(kTimeMs / 3 - 1);
  EXPECT_EQ(Attempt(), second);
  RunFor(1);
  EXPECT_NE(Attempt(), second);
  RunFor(kTimeMs / 3 - 1);
  EXPECT_FALSE(done_);
  RunFor(1);
  EXPECT_TRUE(done_);
  EXPECT_EQ(failure_, CloseReason::kServerTimeout);
}

TEST_F(StalledDialerTest, AbandonedWhileItConnects) {
  DialName({Address(1), Address(2)});
  const int attempt = Attempt();
  dialer_.Abandon();
  Run();
  EXPECT_EQ(failure_, CloseReason::kShutdown);
  EXPECT_EQ(Attempt(), attempt);
}

TEST_F(StalledDialerTest, AnInterruptIsNotAnAddressThatFailed) {
  DialName({Address(1), Address(2)});
  const int attempt = Attempt();
  leg_.socket->Interrupt(-ECANCELED);
  Run();
  EXPECT_EQ(failure_, CloseReason::kShutdown);
  EXPECT_EQ(Attempt(), attempt);
}

TEST(ServerReasonTest, OfErrors) {
  EXPECT_EQ(ServerReasonOf(-ETIMEDOUT), CloseReason::kServerTimeout);
  EXPECT_EQ(ServerReasonOf(-ECANCELED), CloseReason::kShutdown);
  EXPECT_EQ(ServerReasonOf(-ENODATA), CloseReason::kServerGone);
  EXPECT_EQ(ServerReasonOf(-ECONNRESET), CloseReason::kServerGone);
}

}  // namespace
}  // namespace spicegate
