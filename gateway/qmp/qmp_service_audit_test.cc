// SPDX-License-Identifier: Apache-2.0
//
// When the service looks at servers by itself, its own monitors, and whom it
// finds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gateway/base/circuit_breaker.h"
#include "gateway/qmp/bypass_audit.h"
#include "gateway/qmp/qmp_console.h"
#include "gateway/qmp/qmp_service.h"
#include "gateway/qmp/qmp_service_fixture.h"

namespace spicegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Code = absl::StatusCode;

constexpr int64_t kLookMs = BypassAudit::kLookEveryMs;

class QmpServiceAuditTest : public QmpServiceFixture {
 protected:
  uint64_t num_foreign() const { return service_->stats().foreign_channels; }

  // Lets time pass and returns what was logged meanwhile.
  std::string LogOf(int64_t ms) {
    testing::internal::CaptureStderr();
    Pass(ms);
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(QmpServiceAuditTest, ASharedMonitorIsLookedAtOnceAtFirst) {
  SetConsolesOnly({"vm1", "vm2"});
  Pass(10);
  EXPECT_THAT(Qemu("vm1").TakeCommands(), ElementsAre("query-spice"));
  EXPECT_THAT(Qemu("vm2").TakeCommands(), ElementsAre("query-spice"));
  EXPECT_FALSE(Qemu("vm1").connected());
  Pass(2 * BypassAudit::kWatchMs);
  EXPECT_THAT(Qemu("vm1").commands, IsEmpty());
  EXPECT_EQ(service_->NextDeadlineMs(), INT64_MAX);
}

TEST_F(QmpServiceAuditTest, AFirstLookThatFailsIsMadeAgain) {
  Qemu("vm1").StopListening();
  SetConsolesOnly({"vm1"});
  Pass(kLookMs - 1);
  Qemu("vm1").Listen();
  Pass(2);
  EXPECT_THAT(Qemu("vm1").commands, ElementsAre("query-spice"));
  EXPECT_EQ(service_->stats().commands.gone, 0u);
}

TEST_F(QmpServiceAuditTest, ItLooksForAWhileAfterTheLastCall) {
  SetConsoles({"vm1"});
  ASSERT_TRUE(New("vm1").ok());
  Qemu("vm1").commands.clear();
  Pass(kLookMs - 1);
  EXPECT_THAT(Qemu("vm1").commands, IsEmpty());
  Pass(1);
  EXPECT_THAT(Qemu("vm1").commands, ElementsAre("query-spice"));
  EXPECT_FALSE(Qemu("vm1").connected());
  Pass(2 * BypassAudit::kWatchMs);
  EXPECT_THAT(Qemu("vm1").TakeCommands(),
              SizeIs(BypassAudit::kWatchMs / kLookMs));
  EXPECT_EQ(service_->NextDeadlineMs(), INT64_MAX);
  ASSERT_TRUE(Arm("vm1").ok());
  EXPECT_NE(service_->NextDeadlineMs(), INT64_MAX);
}

TEST_F(QmpServiceAuditTest, ItLooksAsLongAsThereAreChannels) {
  SetConsoles({"vm1"});
  ours_.push_back({"127.0.0.1", 4001});
  Qemu("vm1").channels = FakeQmp::Channel("127.0.0.1", 4001);
  ASSERT_TRUE(New("vm1").ok());
  Pass(3 * BypassAudit::kWatchMs);
  Qemu("vm1").commands.clear();
  Pass(kLookMs);
  EXPECT_THAT(Qemu("vm1").commands, SizeIs(1));
  Qemu("vm1").channels = "";
  Pass(kLookMs);
  EXPECT_EQ(service_->NextDeadlineMs(), INT64_MAX);
  EXPECT_EQ(num_foreign(), 0u);
}

TEST_F(QmpServiceAuditTest, WhoCameAnotherWayIsCountedAndLoggedOnce) {
  SetConsoles({"vm1"});
  ours_.push_back({"127.0.0.1", 4001});
  Qemu("vm1").channels = FakeQmp::Channel("127.0.0.1", 4001) + "," +
                         FakeQmp::Channel("192.0.2.7", 4002) + "," +
                         FakeQmp::Channel("2001:db8::7", 4003);
  ASSERT_TRUE(New("vm1").ok());
  EXPECT_EQ(num_foreign(), 0u);  // judged in a second
  const std::string log = LogOf(ForeignChannels::kJudgeAfterMs);
  EXPECT_THAT(log, HasSubstr("\"event\":\"qmp_foreign_channel\",\"console\":"
                             "\"vm1\",\"peer\":\"192.0.2.7:4002\",\"channel\":"
                             "\"display\""));
  EXPECT_THAT(log, HasSubstr("\"peer\":\"[2001:db8::7]:4003\""));
  EXPECT_EQ(num_foreign(), 2u);
  EXPECT_THAT(LogOf(20 * kLookMs), IsEmpty());
  EXPECT_EQ(num_foreign(), 2u);
}

TEST_F(QmpServiceAuditTest, OurSocketMayBecomeKnownAMomentLater) {
  SetConsoles({"vm1"});
  Qemu("vm1").channels = FakeQmp::Channel("127.0.0.1", 4001);
  ASSERT_TRUE(New("vm1").ok());
  Pass(ForeignChannels::kJudgeAfterMs - 1);
  ours_.push_back({"127.0.0.1", 4001});
  Pass(kLookMs);
  EXPECT_EQ(num_foreign(), 0u);
}

TEST_F(QmpServiceAuditTest, ALookThatFindsTheMonitorBusyIsNoFailure) {
  SetConsoles({"vm1"});
  ASSERT_TRUE(New("vm1").ok());
  const uint64_t num_ok = service_->stats().commands.ok;
  Qemu("vm1").greets = false;
  EXPECT_THAT(LogOf(10 * kLookMs), IsEmpty());
  EXPECT_EQ(service_->stats().commands.timeout, 0u);
  EXPECT_EQ(service_->stats().breakers_open, 0);
  EXPECT_EQ(service_->stats().commands.ok, num_ok);
}

TEST_F(QmpServiceAuditTest, ACallDoesNotWaitForALook) {
  SetConsoles({"vm1"});
  ASSERT_TRUE(New("vm1").ok());
  Qemu("vm1").answers = false;
  Pass(kLookMs);
  EXPECT_TRUE(Qemu("vm1").connected());
  Qemu("vm1").answers = true;
  EXPECT_TRUE(New("vm1").ok());
}

TEST_F(QmpServiceAuditTest, ACallHasTheTimeThatALookHasNot) {
  SetConsoles({"vm1"});
  ASSERT_TRUE(New("vm1").ok());
  Qemu("vm1").greets = false;
  Pass(kLookMs + 1'500);
  Results results;
  service_->NewPassword("vm1", Into(&results));
  Pass(1'500);
  EXPECT_THAT(results, IsEmpty());
  Qemu("vm1").Say("{\"QMP\": {}}");
  Run();
  ASSERT_THAT(results, SizeIs(1));
  EXPECT_TRUE(results[0].ok()) << results[0].status();
}

TEST_F(QmpServiceAuditTest, WhoDoesNotAnswerIsNotLookedAt) {
  SetConsoles({"vm1"});
  Qemu("vm1").answers = false;
  Results results;
  for (int i = 0; i < CircuitBreaker::kFailuresToOpen; ++i) {
    service_->NewPassword("vm1", Into(&results));
    Pass(2'000);
  }
  EXPECT_EQ(service_->stats().breakers_open, 1);
  Qemu("vm1").num_connections = 0;
  Pass(10 * kLookMs);
  EXPECT_EQ(Qemu("vm1").num_connections, 0);
}

TEST_F(QmpServiceAuditTest, AnOwnMonitorStaysConnected) {
  SetConsoles({"vm1"}, QmpMonitor::kOwn);
  EXPECT_TRUE(Qemu("vm1").connected());
  EXPECT_TRUE(New("vm1").ok());
  EXPECT_TRUE(Disconnect("vm1").ok());
  EXPECT_EQ(Qemu("vm1").num_connections, 0);  // since SetConsoles
  Qemu("vm1").commands.clear();
  Pass(BypassAudit::kWatchMs);
  EXPECT_THAT(Qemu("vm1").commands, IsEmpty());
}

TEST_F(QmpServiceAuditTest, AnOwnMonitorTellsOfChannelsByItself) {
  SetConsoles({"vm1"}, QmpMonitor::kOwn);
  Qemu("vm1").Say(FakeQmp::Event("SPICE_INITIALIZED", 4001));
  const std::string log = LogOf(ForeignChannels::kJudgeAfterMs);
  EXPECT_THAT(log, HasSubstr("\"peer\":\"127.0.0.1:4001\""));
  EXPECT_EQ(num_foreign(), 1u);
}

TEST_F(QmpServiceAuditTest, AChannelThatEndsDuringAnOperationIsNotNewAfterIt) {
  SetConsoles({"vm1"}, QmpMonitor::kOwn);
  Qemu("vm1").Say(FakeQmp::Event("SPICE_INITIALIZED", 4001));
  Qemu("vm1").channels = FakeQmp::Channel("127.0.0.1", 4001);
  Pass(ForeignChannels::kJudgeAfterMs);
  EXPECT_EQ(num_foreign(), 1u);
  Qemu("vm1").event = FakeQmp::Event("SPICE_DISCONNECTED", 4001);
  EXPECT_TRUE(Disconnect("vm1").ok());
  Pass(kLookMs);
  EXPECT_EQ(num_foreign(), 1u);
  // From the same port again.
  Qemu("vm1").Say(FakeQmp::Event("SPICE_INITIALIZED", 4001));
  Pass(kLookMs);
  EXPECT_EQ(num_foreign(), 2u);
}

TEST_F(QmpServiceAuditTest, AnOwnMonitorThatHangsUpIsConnectedAgain) {
  SetConsoles({"vm1"}, QmpMonitor::kOwn);
  Qemu("vm1").channels = FakeQmp::Channel("127.0.0.1", 4001);
  Qemu("vm1").HangUp();
  Pass(QmpConsole::kReconnectMs - 1);
  EXPECT_FALSE(Qemu("vm1").connected());
  Pass(1);
  EXPECT_TRUE(Qemu("vm1").connected());
  EXPECT_THAT(Qemu("vm1").commands, ElementsAre("query-spice"));
  Pass(ForeignChannels::kJudgeAfterMs);
  EXPECT_EQ(num_foreign(), 1u);
}

TEST_F(QmpServiceAuditTest, AfterAnEndTheOwnServerIsArmedAnew) {
  SetConsoles({"vm1"}, QmpMonitor::kOwn);
  const std::string password = New("vm1")->password;
  Qemu("vm1").HangUp();  // it was started again, perhaps
  Qemu("vm1").password = "";
  Run();
  const auto armed = Arm("vm1");
  ASSERT_TRUE(armed.ok());
  EXPECT_EQ(armed->password, password);
  EXPECT_EQ(Qemu("vm1").password, password);
}

TEST_F(QmpServiceAuditTest, ACallFindsAnOwnMonitorAgainAtOnce) {
  SetConsoles({"vm1"}, QmpMonitor::kOwn);
  Qemu("vm1").StopListening();
  Run();
  EXPECT_EQ(New("vm1").status().code(), Code::kUnavailable);
  Qemu("vm1").Listen();
  EXPECT_TRUE(New("vm1").ok());
  EXPECT_TRUE(Qemu("vm1").connected());
}

TEST_F(QmpServiceAuditTest, AnOwnMonitorThatIsNotThereIsLoggedOnce) {
  Qemu("vm1").StopListening();
  SetConsolesOnly({"vm1"}, QmpMonitor::kOwn);
  EXPECT_THAT(LogOf(0), HasSubstr("\"event\":\"qmp_failed\""));
  EXPECT_THAT(LogOf(100 * QmpConsole::kReconnectMs), IsEmpty());
  Qemu("vm1").Listen();
  Pass(QmpConsole::kReconnectMs);
  EXPECT_TRUE(Qemu("vm1").connected());
}

TEST_F(QmpServiceAuditTest, AnOwnMonitorThatServesAnotherIsWaitedForAndLogged) {
  Qemu("vm1").greets = false;
  SetConsolesOnly({"vm1"}, QmpMonitor::kOwn);
  EXPECT_THAT(LogOf(1'999), IsEmpty());
  EXPECT_THAT(LogOf(1), HasSubstr("another client"));
  EXPECT_THAT(LogOf(100'000), IsEmpty());
  EXPECT_EQ(Qemu("vm1").num_connections, 1);
  Qemu("vm1").Say("{\"QMP\": {}}");
  EXPECT_TRUE(New("vm1").ok());
}

TEST_F(QmpServiceAuditTest, AnOwnMonitorThatHangsIsLeftAndTriedAgain) {
  SetConsoles({"vm1"}, QmpMonitor::kOwn);
  Qemu("vm1").answers = false;
  Results results;
  service_->Arm("vm1", Into(&results));
  service_->Disconnect("vm1", StatusInto(&results));
  Pass(2'000);
  ASSERT_THAT(results, SizeIs(2));
  EXPECT_EQ(results[0].status().code(), Code::kDeadlineExceeded);
  EXPECT_FALSE(Qemu("vm1").connected());
  Qemu("vm1").answers = true;
  Pass(QmpConsole::kReconnectMs);
  EXPECT_TRUE(Qemu("vm1").connected());
  EXPECT_TRUE(Arm("vm1").ok());
}

TEST_F(QmpServiceAuditTest, AnOwnMonitorThatSpeaksAgainIsTriedAtOnce) {
  SetConsoles({"vm1"}, QmpMonitor::kOwn);
  Qemu("vm1").hangs_at = "set_password";
  Results results;
  for (int i = 0; i < CircuitBreaker::kFailuresToOpen; ++i) {
    service_->NewPassword("vm1", Into(&results));
    Pass(2'000);
  }
  EXPECT_EQ(service_->stats().breakers_open, 1);
  Pass(QmpConsole::kReconnectMs);
  service_->NewPassword("vm1", Into(&results));
  Pass(2'000);
  Qemu("vm1").hangs_at = "";
  EXPECT_EQ(New("vm1").status().code(), Code::kUnavailable);
  EXPECT_EQ(service_->stats().commands.rejected, 1u);
  Pass(QmpConsole::kReconnectMs);  // half of the breaker's time
  EXPECT_TRUE(New("vm1").ok());
}

TEST_F(QmpServiceAuditTest, AnOperationBehindAHungLookHearsOfTheEnd) {
  SetConsoles({"vm1"}, QmpMonitor::kOwn);
  Qemu("vm1").HangUp();
  Qemu("vm1").hangs_at = "query-spice";
  Pass(QmpConsole::kReconnectMs);
  EXPECT_THAT(Qemu("vm1").commands, ElementsAre("query-spice"));
  Results results;
  service_->NewPassword("vm1", Into(&results));
  Run();
  EXPECT_THAT(results, IsEmpty());
  Qemu("vm1").HangUp();
  Run();
  ASSERT_THAT(results, SizeIs(1));
  EXPECT_EQ(results[0].status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace spicegate
