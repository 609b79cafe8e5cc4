// SPDX-License-Identifier: Apache-2.0
//
// Monitors that hang, lie, flood or talk no QMP.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "gateway/qmp/qmp_client.h"
#include "gateway/qmp/qmp_client_fixture.h"

namespace spicegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

TEST_F(QmpClientTest, NoGreetingInTime) {
  Connect();  // and nobody accepts, as when another monitor is served
  Execute("a", 2'000);
  EXPECT_EQ(client_->deadline_ms(), now_ms_ + 2'000);
  now_ms_ += 1'999;
  Run();
  EXPECT_THAT(ended_, ElementsAre());
  now_ms_ += 1;
  Run();
  EXPECT_THAT(ended_, ElementsAre("a: DEADLINE_EXCEEDED"));
  EXPECT_TRUE(client_->closed());
}

TEST_F(QmpClientTest, AHangEndsTheConnection) {
  MakeReady();
  Execute("a", 2'000);
  Execute("b", 3'000);
  now_ms_ += 2'000;
  Run();
  EXPECT_THAT(ended_, ElementsAre("a: DEADLINE_EXCEEDED", "b: UNAVAILABLE"));
  EXPECT_TRUE(client_->closed());
  EXPECT_EQ(client_->fd(), -1);
  EXPECT_EQ(client_->status().code(), Code::kUnavailable);
}

TEST_F(QmpClientTest, AMonitorThatReadsNothingIsTheEnd) {
  MakeReady();
  monitor_.RefuseToRead();
  Execute("a");
  Run();
  EXPECT_THAT(ended_, ElementsAre("a: UNAVAILABLE"));
}

TEST_F(QmpClientTest, WhatIsNoAnswerEndsTheConnection) {
  for (const std::string& text :
       {std::string("garbage\r\n"), std::string("\r\n"), std::string(kGreeting),
        Return(0, "1"), Return(2, "1"), std::string("{\"return\": 1}\r\n")}) {
    client_ = std::make_unique<QmpClient>();
    ended_.clear();
    MakeReady();
    Execute("a");
    Say(text);
    EXPECT_THAT(ended_, ElementsAre("a: DATA_LOSS")) << text;
    EXPECT_TRUE(client_->closed());
  }
}

TEST_F(QmpClientTest, AReplyThatNobodyAskedForEndsTheConnection) {
  MakeReady();
  Say(Return(1, "1"));
  EXPECT_EQ(client_->status().code(), Code::kDataLoss);
}

TEST_F(QmpClientTest, ARefusedNegotiationEndsTheConnection) {
  Connect();
  monitor_.Accept();
  Execute("a");
  Say(kGreeting);
  Say("{\"id\": 0, \"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}}"
      "\r\n");
  EXPECT_THAT(ended_, ElementsAre("a: FAILED_PRECONDITION"));
  EXPECT_TRUE(client_->closed());
}

TEST_F(QmpClientTest, TheLongestLineIsTakenAndNoLonger) {
  const std::string frame = R"({"return": 8, "x": "", "id": 1})";
  const std::string fill(kMaxQmpLineBytes - frame.size(), 'x');
  for (const char* more : {"", "y"}) {
    client_ = std::make_unique<QmpClient>();
    ended_.clear();
    MakeReady();
    Execute("a");
    std::string rest = R"({"return": 8, "x": ")" + fill + more +
                       R"(", "id": 1})"
                       "\r\n";
    for (int i = 0; i < 100 && !rest.empty() && !client_->closed(); ++i) {
      rest = monitor_.Say(rest);
      Run();
    }
    EXPECT_THAT(ended_, ElementsAre(*more == 0 ? "a: 8" : "a: DATA_LOSS"));
  }
}

TEST_F(QmpClientTest, ALineWithoutEndEndsTheConnection) {
  MakeReady();
  Execute("a");
  std::string rest(2 * kMaxQmpLineBytes, 'x');
  for (int i = 0; i < 100 && !rest.empty() && !client_->closed(); ++i) {
    rest = monitor_.Say(rest);
    Run();
  }
  EXPECT_THAT(ended_, ElementsAre("a: DATA_LOSS"));
  EXPECT_THAT(last_.message(), HasSubstr("too long"));
  EXPECT_GT(rest.size(), kMaxQmpLineBytes / 2);
}

// Events for `limit_bytes`, in large pieces. False when the connection ended.
bool Flood(QmpClient* client, FakeMonitor* monitor, int64_t limit_bytes,
           int64_t now_ms, const std::function<void()>& run) {
  const std::string piece =
      R"({"event": "STOP", "x": ")" + std::string(32 * 1024, 'x') + "\"}\r\n";
  for (int64_t said = 0; said < limit_bytes && !client->closed();
       said += static_cast<int64_t>(piece.size())) {
    EXPECT_EQ(monitor->Say(piece), "") << now_ms;
    run();
  }
  return !client->closed();
}

TEST_F(QmpClientTest, TalkWithoutEndEndsTheConnection) {
  MakeReady();
  const auto run = [this] { Run(); };
  const int64_t most = kMaxQmpBurstBytes - 128 * 1024;
  EXPECT_TRUE(Flood(client_.get(), &monitor_, most, now_ms_, run));
  // In time it may say as much once more.
  now_ms_ += 1000 * kMaxQmpBurstBytes / kMaxQmpBytesPerS;
  EXPECT_TRUE(Flood(client_.get(), &monitor_, most, now_ms_, run));
  EXPECT_FALSE(Flood(client_.get(), &monitor_, 256 * 1024, now_ms_, run));
  EXPECT_EQ(client_->status().code(), Code::kDataLoss);
}

TEST_F(QmpClientTest, WhatQemuCouldNotReadIsNotQuoted) {
  MakeReady();
  client_->Execute(SetPasswordCommand("hunter2", QmpConnected::kKeep),
                   now_ms_ + 100, Note("a"));
  EXPECT_THAT(monitor_.Heard(), HasSubstr("hunter2"));
  Say("{\"error\": {\"class\": \"GenericError\", \"desc\": \"hunter2?\"}}\r\n");
  EXPECT_THAT(std::string(last_.message()), Not(HasSubstr("hunter2")));
}

}  // namespace
}  // namespace spicegate
