// SPDX-License-Identifier: Apache-2.0
//
// Channels that lead to a migration's destination, in every state that they
// can be left in. What QEMU does not survive there: docs/architecture.md, "The
// end of a display".
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include "gateway/relay/channel_fixture.h"
#include "proto/common_channel.h"
#include "proto/display_channel.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::ChannelType;

std::string Init(const std::string& body) {
  return Message(proto::kMsgcDisplayInit, body);
}

const std::string& FirstMessage() {
  static const std::string message = Message(proto::kMsgSetAck, "12345678");
  return message;
}

class DestinationTest : public ChannelTest {
 protected:
  void OpenDestination(ChannelType type, MigrationKind kind,
                       GuardMode mode = GuardMode::kEnforce) {
    migration_ = std::make_shared<Migration>(kind);
    ChannelRules rules;
    rules.guard = mode;
    rules.destination_of = migration_;
    Open(type, rules);
    Run();
  }

  // The source hands over semi-seamlessly, main's MIGRATE_END is passed.
  void HandOver() {
    migration_->OnClientLinked();
    migration_->OnSourceEnd();
    ASSERT_TRUE(migration_->AllowMigrateEnd());
    channel_->BeginAtDestination();
    Run();
  }

  bool ServerLegEnded() {
    at_server_ += server_.ReadAll();
    return server_.ended();
  }

  std::shared_ptr<Migration> migration_;
  std::string at_server_;
};

// What has become of a display when it is left.
enum class At { kParked, kBegun, kInitHalf, kInitSent, kFirstSeen };
// How it is left.
enum class Leave { kClose, kReset, kHalfClose, kByGateway, kTimeRunsOut };

class LeaveTest : public DestinationTest,
                  public testing::WithParamInterface<std::tuple<At, Leave>> {
 protected:
  static At at() { return std::get<0>(GetParam()); }
  static Leave leave() { return std::get<1>(GetParam()); }

  void GoTo(At state) {
    // Behind a guard an INIT is passed whole.
    OpenDestination(
        ChannelType::kDisplay, MigrationKind::kSemiSeamless,
        state == At::kInitHalf ? GuardMode::kOff : GuardMode::kEnforce);
    if (state == At::kParked) {
      return;
    }
    HandOver();
    if (state == At::kInitHalf) {
      client_.WriteString(Init(body_).substr(0, 9));
    } else if (state != At::kBegun) {
      client_.WriteString(Init(body_));
    }
    Run();
    if (state == At::kFirstSeen) {
      server_.WriteString(FirstMessage());
      Run();
      EXPECT_EQ(client_.ReadAll(), FirstMessage());
    }
    EXPECT_FALSE(ServerLegEnded());
  }

  void LeaveNow() {
    switch (leave()) {
      case Leave::kClose:
        client_.Close();
        break;
      case Leave::kReset:
        client_.Reset();
        break;
      case Leave::kHalfClose:
        client_.ShutdownWrite();
        break;
      case Leave::kByGateway:
        channel_->Close(CloseReason::kSessionOver);
        break;
      case Leave::kTimeRunsOut:
        RunFor(kDestinationDisplayMs + 1);
        break;
    }
    Run();
  }

  const std::string body_{"\0\1\0\0\0\0\0\0\0\0\0\0\1\0", 14};
};

TEST_P(LeaveTest, IsSafe) {
  GoTo(at());
  LeaveNow();
  if (at() == At::kParked || at() == At::kFirstSeen) {
    if (leave() == Leave::kTimeRunsOut) {
      EXPECT_FALSE(closing_.has_value()) << "no time is set";
      return;
    }
    EXPECT_TRUE(ServerLegEnded());
    EXPECT_FALSE(server_.was_reset()) << "QEMU would crash";
    EXPECT_EQ(at_server_, at() == At::kParked ? "" : Init(body_));
    return;
  }
  EXPECT_FALSE(ServerLegEnded()) << "QEMU would crash";
  EXPECT_FALSE(ended_);
  // An INIT is there by now, whoever has sent it.
  ASSERT_EQ(at_server_.size(), Init(body_).size());
  EXPECT_EQ(at_server_.substr(0, 6), Init(body_).substr(0, 6));
  if (at() == At::kInitSent) {
    EXPECT_EQ(at_server_, Init(body_));
  }
  server_.WriteString(FirstMessage().substr(0, 13));
  Run();
  EXPECT_FALSE(ServerLegEnded());
  server_.WriteString(FirstMessage().substr(13));
  Run();
  if (at() == At::kInitSent && leave() == Leave::kTimeRunsOut) {
    EXPECT_FALSE(closing_.has_value()) << "it was the server that was slow";
    return;
  }
  EXPECT_TRUE(ServerLegEnded());
  EXPECT_FALSE(server_.was_reset());
  EXPECT_EQ(at_server_.size(), Init(body_).size());
  EXPECT_EQ(SafeEnds(SafeEnd::kTimedOut), 0);
}

TEST_P(LeaveTest, AndGivenUpWhenTheServerNeverSpeaks) {
  GoTo(at());
  LeaveNow();
  if (at() == At::kParked || at() == At::kFirstSeen) {
    return;
  }
  RunFor(kDisplayCommittedMs - kDestinationDisplayMs - 2);
  EXPECT_FALSE(ServerLegEnded());
  RunFor(kDestinationDisplayMs + 4);
  EXPECT_TRUE(ServerLegEnded());
  EXPECT_TRUE(ended_);
  EXPECT_EQ(SafeEnds(SafeEnd::kTimedOut), 1);
}

INSTANTIATE_TEST_SUITE_P(
    AllWays, LeaveTest,
    testing::Combine(testing::Values(At::kParked, At::kBegun, At::kInitHalf,
                                     At::kInitSent, At::kFirstSeen),
                     testing::Values(Leave::kClose, Leave::kReset,
                                     Leave::kHalfClose, Leave::kByGateway,
                                     Leave::kTimeRunsOut)));

TEST_F(DestinationTest, AParkedChannelIsClosedAsSoonAsItsClientEnds) {
  // Before the server hears of it: its main has to go first.
  for (const ChannelType type :
       {ChannelType::kDisplay, ChannelType::kWebdav, ChannelType::kMain}) {
    closing_.reset();
    ended_ = false;
    OpenDestination(type, MigrationKind::kSemiSeamless);
    client_.ShutdownWrite();
    Run();
    EXPECT_EQ(closing_, CloseReason::kClientClosed);
    EXPECT_TRUE(ended_);
  }
}

TEST_F(DestinationTest, WhatTheClientSaysWhileParkedIsRefused) {
  OpenDestination(ChannelType::kDisplay, MigrationKind::kSemiSeamless);
  client_.WriteString(Message(proto::kMsgcPong, "123456789012"));
  Run();
  EXPECT_EQ(closing_, CloseReason::kClientGuard);
  ASSERT_EQ(refusals_.size(), 1u);
  EXPECT_EQ(refusals_[0].first, GuardRule::kBeforeHandover);
  EXPECT_EQ(server_.ReadAll(), "");
}

TEST_F(DestinationTest, WhatComesBehindInitWaitsForTheFirstMessage) {
  OpenDestination(ChannelType::kDisplay, MigrationKind::kSemiSeamless);
  HandOver();
  const std::string init = Init(std::string(14, '\0'));
  const std::string pong = Message(proto::kMsgcPong, "123456789012");
  client_.WriteString(init + pong);
  Run();
  EXPECT_EQ(server_.ReadAll(), init);
  server_.WriteString(FirstMessage());
  Run();
  EXPECT_EQ(server_.ReadAll(), pong);
  client_.WriteString(pong);
  Run();
  EXPECT_EQ(server_.ReadAll(), pong);
  EXPECT_FALSE(closing_.has_value());
}

TEST_F(DestinationTest, AnEndBehindInitWaitsForTheFirstMessage) {
  OpenDestination(ChannelType::kDisplay, MigrationKind::kSemiSeamless);
  HandOver();
  client_.WriteString(Init(std::string(14, '\0')));
  client_.ShutdownWrite();
  Run();
  EXPECT_EQ(server_.ReadAll().size(), 20u);
  EXPECT_FALSE(server_.ended()) << "QEMU would crash";
  server_.WriteString(FirstMessage());
  Run();
  EXPECT_TRUE(server_.ended());
  EXPECT_EQ(closing_, CloseReason::kClientClosed);
}

TEST_F(DestinationTest, ADisplayOfASeamlessOneNeedsNoInit) {
  OpenDestination(ChannelType::kDisplay, MigrationKind::kSeamless);
  migration_->OnClientLinked();
  const proto::ChannelKey display = {ChannelType::kDisplay, 0};
  const proto::ChannelKey main = {ChannelType::kMain, 0};
  for (const proto::ChannelKey key : {display, main}) {
    migration_->OnSourceMigrate(
        key, proto::kMigrateNeedFlush | proto::kMigrateNeedDataTransfer);
    ASSERT_TRUE(migration_->OnSourceDataBegins(key, 1));
    migration_->OnSourceData(key, std::array<uint8_t, 1>{'x'});
  }
  ASSERT_TRUE(migration_->AllowData(main, std::array<uint8_t, 1>{'x'}));
  channel_->BeginAtDestination();
  // It may go at once, and would stall the destination if it stayed.
  client_.ShutdownWrite();
  Run();
  EXPECT_EQ(server_.ReadAll(), "");
  EXPECT_TRUE(server_.ended());
  channel_->Close(CloseReason::kSessionOver);
  EXPECT_TRUE(ended_);
}

TEST_F(DestinationTest, OneThatTheDestinationRefusedNeedsItsInit) {
  OpenDestination(ChannelType::kDisplay, MigrationKind::kSeamless);
  ASSERT_TRUE(migration_->AllowDoSeamless());
  migration_->OnSeamlessAnswer(false);
  HandOver();
  channel_->Close(CloseReason::kSessionOver);
  EXPECT_EQ(server_.ReadAll().size(), 20u);
  EXPECT_FALSE(server_.ended()) << "QEMU would crash";
  server_.WriteString(FirstMessage());
  Run();
  EXPECT_TRUE(server_.ended());
}

TEST_F(DestinationTest, MainTellsThatItWasTaken) {
  OpenDestination(ChannelType::kMain, MigrationKind::kSemiSeamless);
  migration_->OnClientLinked();
  migration_->OnSourceEnd();
  const std::string end = Message(proto::kMsgcMainMigrateEnd, "");
  client_.WriteString(end);
  Run();
  EXPECT_EQ(server_.ReadAll(), end);
  EXPECT_EQ(num_taken_, 1);
  // From now on it may end as it likes.
  client_.ShutdownWrite();
  Run();
  EXPECT_TRUE(server_.ended());
  EXPECT_FALSE(closing_.has_value());
}

}  // namespace
}  // namespace spicegate
