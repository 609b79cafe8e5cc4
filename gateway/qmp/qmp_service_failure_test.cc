// SPDX-License-Identifier: Apache-2.0
//
// Monitors that refuse, hang, die and vanish.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gateway/base/circuit_breaker.h"
#include "gateway/qmp/qmp_console.h"
#include "gateway/qmp/qmp_service.h"
#include "gateway/qmp/qmp_service_fixture.h"

namespace spicegate {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Code = absl::StatusCode;

class QmpServiceFailureTest : public QmpServiceFixture {
 protected:
  // Starts a call that takes time.
  void StartNew(const std::string& console, Results* results) {
    service_->NewPassword(console, Into(results));
    Run();
  }

  // Lets the breaker of `console` open: nobody listens any more.
  void OpenBreaker(const std::string& console) {
    Qemu(console).StopListening();
    for (int i = 0; i < CircuitBreaker::kFailuresToOpen; ++i) {
      EXPECT_EQ(New(console).status().code(), Code::kUnavailable);
    }
    EXPECT_EQ(service_->stats().breakers_open, 1);
  }

  uint64_t rejected() const { return service_->stats().commands.rejected; }
};

TEST_F(QmpServiceFailureTest, WhatQemuRefusesIsToldInItsWords) {
  SetConsoles({"vm1"});
  Qemu("vm1").refuses = "set_password";
  Qemu("vm1").error = "Could not set password";
  testing::internal::CaptureStderr();
  const absl::Status status = New("vm1").status();
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_EQ(status.message(),
            "vm1: set_password: GenericError: Could not set password");
  EXPECT_THAT(log, HasSubstr("\"event\":\"qmp_failed\",\"console\":\"vm1\","
                             "\"command\":\"set_password\""));
  EXPECT_EQ(service_->stats().commands.error, 1u);
}

TEST_F(QmpServiceFailureTest, WhoAnswersIsNotLeftAloneForRefusing) {
  SetConsoles({"vm1"});
  Qemu("vm1").refuses = "expire_password";
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(New("vm1").status().code(), Code::kUnavailable);
  }
  EXPECT_EQ(service_->stats().breakers_open, 0);
}

TEST_F(QmpServiceFailureTest, AnErrorThatRepeatsThePasswordIsNotPassedOn) {
  SetConsoles({"vm1"});
  const std::string password = New("vm1")->password;
  now_ms_ += 15'000;
  Qemu("vm1").refuses = "set_password";
  Qemu("vm1").error = "no such thing as " + password;
  testing::internal::CaptureStderr();
  const absl::Status status = Arm("vm1").status();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr(password)));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), Not(HasSubstr(password)));
}

TEST_F(QmpServiceFailureTest, FailuresAreLoggedOnceInTenSeconds) {
  SetConsoles({"vm1"});
  Qemu("vm1").refuses = "set_password";
  const auto num_logged = [this] {
    testing::internal::CaptureStderr();
    New("vm1").IgnoreError();
    const std::string log = testing::internal::GetCapturedStderr();
    return std::count(log.begin(), log.end(), '\n');
  };
  EXPECT_EQ(num_logged(), 1);
  EXPECT_EQ(num_logged(), 0);
  now_ms_ += 10'000;
  EXPECT_EQ(num_logged(), 1);
}

TEST_F(QmpServiceFailureTest, AHungMonitorIsGivenUpAtTheDeadline) {
  SetConsoles({"vm1", "vm2"});
  Qemu("vm1").answers = false;
  Results hung;
  StartNew("vm1", &hung);
  EXPECT_THAT(hung, IsEmpty());
  EXPECT_EQ(service_->NextDeadlineMs(), now_ms_ + 2'000);
  EXPECT_TRUE(New("vm2").ok());  // it has nothing to do with that
  Pass(1'999);
  EXPECT_THAT(hung, IsEmpty());
  Pass(1);
  ASSERT_THAT(hung, SizeIs(1));
  EXPECT_EQ(hung[0].status().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(service_->stats().commands.timeout, 1u);
  EXPECT_FALSE(Qemu("vm1").connected());
}

TEST_F(QmpServiceFailureTest, TheDeadlineIsForTheWholeOperation) {
  SetConsoles({"vm1"});
  Qemu("vm1").answers = false;
  Results results;
  StartNew("vm1", &results);
  Pass(1'500);
  Qemu("vm1").answers = true;
  Qemu("vm1").hangs_at = "set_password";
  Run();
  EXPECT_THAT(Qemu("vm1").commands, SizeIs(2));
  EXPECT_THAT(results, IsEmpty());
  Pass(500);
  ASSERT_THAT(results, SizeIs(1));
  EXPECT_EQ(results[0].status().code(), Code::kDeadlineExceeded);
}

TEST_F(QmpServiceFailureTest, AMonitorThatServesAnotherIsWaitedFor) {
  SetConsoles({"vm1"});
  Qemu("vm1").greets = false;
  Results results;
  StartNew("vm1", &results);
  Pass(1'000);
  EXPECT_THAT(results, IsEmpty());
  Qemu("vm1").Say("{\"QMP\": {}}");  // the other one has gone
  Run();
  ASSERT_THAT(results, SizeIs(1));
  EXPECT_TRUE(results[0].ok());
}

TEST_F(QmpServiceFailureTest, WhoWaitsBehindAFailureFailsWithIt) {
  SetConsoles({"vm1"});
  Qemu("vm1").answers = false;
  Results results;
  StartNew("vm1", &results);
  service_->Disconnect("vm1", StatusInto(&results));
  service_->Arm("vm1", Into(&results));
  Pass(2'000);
  ASSERT_THAT(results, SizeIs(3));
  for (const auto& result : results) {
    EXPECT_EQ(result.status().code(), Code::kDeadlineExceeded);
  }
}

TEST_F(QmpServiceFailureTest, AMonitorThatDiesEndsTheOperationAtOnce) {
  SetConsoles({"vm1"});
  for (const char* command : {"query-spice", "set_password"}) {
    Qemu("vm1").dies_at = command;
    const absl::Status status = New("vm1").status();
    EXPECT_EQ(status.code(), Code::kUnavailable) << command;
    EXPECT_THAT(std::string(status.message()), HasSubstr(command));
  }
  EXPECT_EQ(service_->stats().commands.gone, 2u);
  Qemu("vm1").dies_at = "";
  EXPECT_TRUE(New("vm1").ok());
}

TEST_F(QmpServiceFailureTest, APasswordThatMayNotBeSetIsSetAgain) {
  SetConsoles({"vm1"});
  const std::string password = New("vm1")->password;
  Qemu("vm1").dies_at = "expire_password";
  EXPECT_FALSE(New("vm1").ok());
  Qemu("vm1").dies_at = "";
  const auto armed = Arm("vm1");
  ASSERT_TRUE(armed.ok());
  EXPECT_EQ(armed->password, password);
  EXPECT_EQ(Qemu("vm1").password, password);
}

TEST_F(QmpServiceFailureTest, ADisconnectThatFailsStillEndsThePassword) {
  SetConsoles({"vm1"});
  const std::string password = New("vm1")->password;
  Qemu("vm1").dies_at = "set_password";
  EXPECT_EQ(Disconnect("vm1").code(), Code::kUnavailable);
  Qemu("vm1").dies_at = "";
  EXPECT_NE(Arm("vm1")->password, password);
}

TEST_F(QmpServiceFailureTest, ThreeFailuresOpenTheBreaker) {
  SetConsoles({"vm1"});
  testing::internal::CaptureStderr();
  OpenBreaker("vm1");
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("\"event\":\"qmp_breaker\",\"console\":\"vm1\","
                        "\"state\":\"open\""));
  EXPECT_EQ(rejected(), 0u);
  EXPECT_EQ(New("vm1").status().code(), Code::kUnavailable);
  EXPECT_EQ(rejected(), 1u);
  EXPECT_EQ(service_->stats().commands.gone, 3u);
}

TEST_F(QmpServiceFailureTest, OneProbeClosesTheBreakerForAllWhoWait) {
  SetConsoles({"vm1"});
  Qemu("vm1").answers = false;
  for (int i = 0; i < CircuitBreaker::kFailuresToOpen; ++i) {
    Results results;
    StartNew("vm1", &results);
    Pass(2'000);
    ASSERT_THAT(results, SizeIs(1));
  }
  EXPECT_EQ(service_->stats().breakers_open, 1);
  EXPECT_EQ(New("vm1").status().code(), Code::kUnavailable);
  Pass(CircuitBreaker::kFirstOpenMs);
  Qemu("vm1").answers = true;
  testing::internal::CaptureStderr();
  Results results;
  service_->NewPassword("vm1", Into(&results));
  service_->Disconnect("vm1", StatusInto(&results));
  Run();
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("\"state\":\"closed\""));
  ASSERT_THAT(results, SizeIs(2));
  EXPECT_TRUE(results[0].ok());
  EXPECT_TRUE(results[1].ok());
  EXPECT_EQ(service_->stats().breakers_open, 0);
  EXPECT_EQ(rejected(), 1u);
}

TEST_F(QmpServiceFailureTest, AFailedProbeFailsAllWhoWaitForIt) {
  SetConsoles({"vm1"});
  Qemu("vm1").answers = false;
  for (int i = 0; i < CircuitBreaker::kFailuresToOpen; ++i) {
    Results results;
    StartNew("vm1", &results);
    Pass(2'000);
  }
  Pass(CircuitBreaker::kFirstOpenMs);
  Results results;
  StartNew("vm1", &results);
  service_->Disconnect("vm1", StatusInto(&results));
  Pass(2'000);
  EXPECT_THAT(results, SizeIs(2));
  Pass(CircuitBreaker::kFirstOpenMs);  // twice as long now
  EXPECT_EQ(New("vm1").status().code(), Code::kUnavailable);
  EXPECT_EQ(rejected(), 1u);
}

TEST_F(QmpServiceFailureTest, AnotherSocketInItsPlaceIsTriedAtOnce) {
  SetConsoles({"vm1"});
  OpenBreaker("vm1");
  Qemu("vm1").Listen();
  EXPECT_TRUE(New("vm1").ok());
  EXPECT_EQ(rejected(), 0u);
  EXPECT_EQ(service_->stats().breakers_open, 0);
}

TEST_F(QmpServiceFailureTest, APasswordIsNotGoodForAnotherQemu) {
  SetConsoles({"vm1"});
  const std::string password = New("vm1")->password;
  Qemu("vm1").StopListening();
  EXPECT_EQ(Arm("vm1").status().code(), Code::kUnavailable);
  Qemu("vm1").Listen();
  Qemu("vm1").password = "";
  EXPECT_EQ(Arm("vm1")->password, password);
  EXPECT_EQ(Qemu("vm1").password, password);
}

TEST_F(QmpServiceFailureTest, AConsoleThatGoesTakesItsCallersWithIt) {
  SetConsoles({"vm1", "vm2"});
  Qemu("vm1").answers = false;
  Qemu("vm2").answers = false;
  Results gone;
  Results kept;
  StartNew("vm1", &gone);
  service_->Arm("vm1", Into(&gone));
  service_->Disconnect("vm1", StatusInto(&gone));
  StartNew("vm2", &kept);
  SetConsolesOnly({"vm2"});
  ASSERT_THAT(gone, SizeIs(3));
  for (const auto& result : gone) {
    EXPECT_EQ(result.status().code(), Code::kNotFound);
  }
  EXPECT_THAT(kept, IsEmpty());
  Qemu("vm2").answers = true;
  Run();
  ASSERT_THAT(kept, SizeIs(1));
  EXPECT_TRUE(kept[0].ok());
  EXPECT_FALSE(Qemu("vm1").connected());
}

TEST_F(QmpServiceFailureTest, AConsoleThatStaysKeepsItsPassword) {
  SetConsoles({"vm1", "vm2"});
  const std::string password = New("vm1")->password;
  SetConsolesOnly({"vm1"});
  EXPECT_EQ(Arm("vm1")->password, password);
  // The same name, and another socket.
  SetConsolesOnly({});
  SetConsolesOnly({"vm1"});
  EXPECT_NE(Arm("vm1")->password, password);
}

TEST_F(QmpServiceFailureTest, TableAndConnectionsMayChangeWhileOthersPoll) {
  SetConsoles({"vm1", "vm2"});
  Results results;
  service_->NewPassword("vm1", Into(&results));
  Qemu("vm1").Turn();
  std::vector<pollfd> fds;
  service_->AddPollFds(&fds);
  ASSERT_THAT(fds, SizeIs(1));
  fds[0].revents = POLLIN;
  SetConsolesOnly({"vm2"});
  service_->NewPassword("vm2", Into(&results));
  service_->HandlePollFds(fds, now_ms_);
  Run();
  ASSERT_THAT(results, SizeIs(2));
  EXPECT_EQ(results[0].status().code(), Code::kNotFound);
  EXPECT_TRUE(results[1].ok());
}

TEST_F(QmpServiceFailureTest, NoMoreThanSoManyWait) {
  SetConsoles({"vm1"});
  Qemu("vm1").answers = false;
  Results results;
  StartNew("vm1", &results);
  for (size_t i = 0; i < QmpConsole::kMaxWaiting; ++i) {
    service_->Disconnect("vm1", StatusInto(&results));
  }
  EXPECT_THAT(results, IsEmpty());
  service_->NewPassword("vm1", Into(&results));
  ASSERT_THAT(results, SizeIs(1));
  EXPECT_EQ(results[0].status().code(), Code::kResourceExhausted);
  Qemu("vm1").answers = true;
  Run();
  EXPECT_THAT(results, SizeIs(QmpConsole::kMaxWaiting + 2));
  EXPECT_THAT(Qemu("vm1").commands, SizeIs(6));
}

TEST_F(QmpServiceFailureTest, CloseEndsAllAndTakesNoMore) {
  SetConsoles({"vm1"});
  Qemu("vm1").answers = false;
  Results results;
  StartNew("vm1", &results);
  service_->Close();
  service_->Arm("vm1", Into(&results));
  service_->ArmPlace("vm1", "127.0.0.1", 5900, Into(&results));
  service_->ContinueFrom("vm1", "vm1", Into(&results));
  service_->Disconnect("vm1", StatusInto(&results));
  ASSERT_THAT(results, SizeIs(5));
  for (const auto& result : results) {
    EXPECT_EQ(result.status().code(), Code::kCancelled);
  }
  SetConsolesOnly({"vm1"});
  Run();
  EXPECT_EQ(service_->stats().consoles, 0);
  EXPECT_EQ(service_->NextDeadlineMs(), INT64_MAX);
}

}  // namespace
}  // namespace spicegate
