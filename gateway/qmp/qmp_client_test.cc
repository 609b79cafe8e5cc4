// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/qmp_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/qmp/qmp_client_fixture.h"

namespace spicegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

TEST_F(QmpClientTest, NegotiatesThenRunsOneCommandAtATime) {
  Connect();
  Execute("a");
  Execute("b");
  monitor_.Accept();
  Run();
  EXPECT_EQ(monitor_.Heard(), "");
  Say(kGreeting);
  EXPECT_EQ(monitor_.Heard(), EncodeQmpCommand(QmpCapabilitiesCommand(), 0));
  EXPECT_FALSE(client_->served());
  Say(kAgreed);
  EXPECT_TRUE(client_->served());
  EXPECT_EQ(monitor_.Heard(), EncodeQmpCommand({"a", ""}, 1));
  Say(Return(1, "10"));
  EXPECT_THAT(ended_, ElementsAre("a: 10"));
  EXPECT_FALSE(client_->idle());
  EXPECT_EQ(monitor_.Heard(), EncodeQmpCommand({"b", ""}, 2));
  Say(Return(2, "20"));
  EXPECT_THAT(ended_, ElementsAre("a: 10", "b: 20"));
  EXPECT_TRUE(client_->idle());
  EXPECT_EQ(client_->deadline_ms(), INT64_MAX);
}

TEST_F(QmpClientTest, QemusErrorEndsTheCommandOnly) {
  MakeReady();
  Execute("a");
  Say("{\"id\": 1, \"error\": {\"class\": \"GenericError\", \"desc\": "
      "\"Could not set password\"}}\r\n");
  EXPECT_EQ(last_, absl::FailedPreconditionError(
                       "GenericError: Could not set password"));
  Execute("b");
  Say(Return(2, "5"));
  EXPECT_THAT(ended_, ElementsAre("a: FAILED_PRECONDITION", "b: 5"));
}

TEST_F(QmpClientTest, LinesComeInAnyPieces) {
  Connect();
  monitor_.Accept();
  Execute("a");
  Execute("b");
  const std::string script = std::string(kCompleted) + kGreeting + kAgreed +
                             kCompleted + Return(1, "1") + kCompleted +
                             Return(2, "2") + kCompleted;
  for (const char c : script) {
    Say(std::string(1, c));
  }
  EXPECT_THAT(ended_, ElementsAre("a: 1", "b: 2"));
  EXPECT_EQ(num_events_, 4);
}

TEST_F(QmpClientTest, SeveralLinesComeInOneRead) {
  MakeReady();
  Execute("a");
  Say(std::string(kCompleted) + Return(1, "7") + kCompleted + "{\"event\": ");
  EXPECT_THAT(ended_, ElementsAre("a: 7"));
  EXPECT_EQ(num_events_, 2);
  Say("\"STOP\"}\n");
  EXPECT_EQ(num_events_, 2);
  EXPECT_FALSE(client_->closed());
}

TEST_F(QmpClientTest, NobodyListens) {
  monitor_.StopListening();
  const absl::Status status = client_->Connect(monitor_.path(), now_ms_);
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_TRUE(client_->closed());
  EXPECT_EQ(client_->fd(), -1);
  Execute("a");
  EXPECT_THAT(ended_, ElementsAre("a: UNAVAILABLE"));

  QmpClient absent;
  EXPECT_EQ(absent.Connect(monitor_.path() + ".none", now_ms_).code(),
            Code::kUnavailable);
  QmpClient unfit;
  EXPECT_EQ(unfit.Connect(std::string(108, 'x'), now_ms_).code(),
            Code::kInvalidArgument);
}

TEST_F(QmpClientTest, WaitsForRoomInTheSocketsQueue) {
  QmpClient first;
  QmpClient second;
  ASSERT_TRUE(first.Connect(monitor_.path(), now_ms_).ok());
  ASSERT_TRUE(second.Connect(monitor_.path(), now_ms_).ok());
  Connect();
  EXPECT_EQ(client_->fd(), -1);
  Execute("a");
  now_ms_ = client_->deadline_ms();
  Run();
  EXPECT_EQ(client_->fd(), -1);
  EXPECT_FALSE(client_->closed());

  monitor_.Accept();
  now_ms_ = client_->deadline_ms();
  Run();
  EXPECT_GE(client_->fd(), 0);
  monitor_.Accept();
  monitor_.Accept();
  Say(kGreeting);
  Say(kAgreed);
  Say(Return(1, "3"));
  EXPECT_THAT(ended_, ElementsAre("a: 3"));
}

TEST_F(QmpClientTest, TheSocketGoesWhileTheQueueIsFull) {
  QmpClient first;
  QmpClient second;
  ASSERT_TRUE(first.Connect(monitor_.path(), now_ms_).ok());
  ASSERT_TRUE(second.Connect(monitor_.path(), now_ms_).ok());
  Connect();
  Execute("a");
  monitor_.StopListening();
  now_ms_ = client_->deadline_ms();
  Run();
  EXPECT_THAT(ended_, ElementsAre("a: UNAVAILABLE"));
}

TEST_F(QmpClientTest, TheEndOfTheConnectionEndsEveryCommand) {
  MakeReady();
  Execute("a");
  Execute("b");
  Say("{\"return\": {}, ");
  monitor_.Hang();
  Run();
  EXPECT_THAT(ended_, ElementsAre("a: UNAVAILABLE", "b: UNAVAILABLE"));
}

TEST_F(QmpClientTest, WhatWasSaidBeforeTheEndCounts) {
  MakeReady();
  Execute("a");
  EXPECT_EQ(monitor_.Say(std::string(kCompleted) + Return(1, "9")), "");
  monitor_.Heard();
  monitor_.Hang();
  Run();
  EXPECT_THAT(ended_, ElementsAre("a: 9"));
  EXPECT_EQ(num_events_, 1);
  EXPECT_TRUE(client_->closed());
}

TEST_F(QmpClientTest, OnlySoManyCommandsWait) {
  Connect();
  for (size_t i = 0; i < kMaxQmpCommands; ++i) {
    Execute("a");
  }
  EXPECT_THAT(ended_, ElementsAre());
  Execute("b");
  EXPECT_THAT(ended_, ElementsAre("b: RESOURCE_EXHAUSTED"));
  EXPECT_FALSE(client_->closed());
}

TEST_F(QmpClientTest, CloseEndsWhatWaits) {
  MakeReady();
  Execute("a");
  Execute("b");
  client_->Close();
  EXPECT_THAT(ended_, ElementsAre("a: CANCELLED", "b: CANCELLED"));
  EXPECT_TRUE(client_->closed());
  client_->Close();
  Run();
  EXPECT_EQ(ended_.size(), 2U);
}

TEST_F(QmpClientTest, TheDestructorCallsNobody) {
  MakeReady();
  Execute("a");
  client_.reset();
  EXPECT_THAT(ended_, ElementsAre());
}

TEST_F(QmpClientTest, ACallbackMayAskForMore) {
  MakeReady();
  client_->Execute({"a", ""}, now_ms_ + 100, [this](auto) { Execute("b"); });
  monitor_.Heard();
  Say(Return(1, "1"));
  EXPECT_THAT(monitor_.Heard(), HasSubstr("\"b\""));
  Say(Return(2, "2"));
  EXPECT_THAT(ended_, ElementsAre("b: 2"));
}

TEST_F(QmpClientTest, ACallbackOfTheEndMayAskForMore) {
  MakeReady();
  client_->Execute({"a", ""}, now_ms_ + 100, [this](auto) { Execute("b"); });
  monitor_.Hang();
  Run();
  EXPECT_THAT(ended_, ElementsAre("b: UNAVAILABLE"));
}

TEST_F(QmpClientTest, ACallbackMayClose) {
  MakeReady();
  client_->Execute({"a", ""}, now_ms_ + 100,
                   [this](auto) { client_->Close(); });
  Execute("b");
  Say(Return(1, "1") + kCompleted);
  EXPECT_THAT(ended_, ElementsAre("b: CANCELLED"));
  EXPECT_EQ(num_events_, 0);
}

// Every way to be called back; ASan watches what is touched afterwards.
TEST_F(QmpClientTest, ACallbackMayDestroyTheClient) {
  const auto destroy = [this](auto) { client_.reset(); };
  const std::vector<std::function<void()>> ways = {
      [&] { Say(Return(1, "1") + kCompleted); },
      [&] {
        monitor_.Hang();
        Run();
      },
      [&] {
        now_ms_ += 100;
        Run();
      },
      [&] { Say("garbage\r\n"); },
      [&] { client_->Close(); },
      [&] {
        on_event_ = [this] { client_.reset(); };
        Say(std::string(kCompleted) + kCompleted);
      },
  };
  for (const auto& way : ways) {
    client_ = std::make_unique<QmpClient>(
        [this](const QmpEvent& event) { OnEvent(event); });
    MakeReady();
    client_->Execute({"a", ""}, now_ms_ + 100, destroy);
    Execute("b");
    way();
    EXPECT_EQ(client_, nullptr);
    EXPECT_THAT(ended_, ElementsAre());
  }
}

TEST_F(QmpClientTest, ACallbackInsideExecuteMayDestroyTheClient) {
  client_->Execute({"a", ""}, now_ms_, [this](auto) { client_.reset(); });
  EXPECT_EQ(client_, nullptr);
}

// QEMU quotes what it cannot read.

}  // namespace
}  // namespace spicegate
