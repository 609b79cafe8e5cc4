// SPDX-License-Identifier: Apache-2.0
//
// What a channel does with what its guard, its inspector and its policy say,
// and how it follows a migration of its source. What they say: guard_test,
// main_inspector_test, migration_watch_test.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "gateway/console/policy.h"
#include "gateway/relay/channel_fixture.h"
#include "proto/agent.h"
#include "proto/common_channel.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::ChannelType;

class RulesTest : public ChannelTest {
 protected:
  void OpenGuarded(ChannelType type, GuardMode mode = GuardMode::kEnforce) {
    ChannelRules rules;
    rules.guard = mode;
    Open(type, rules);
    Run();
  }

  int64_t Refusals(ChannelType type, GuardRule rule) const {
    return counters_
        .guard_refusals[static_cast<size_t>(type)][static_cast<size_t>(rule)]
        .value();
  }
  int64_t Drops(PolicyDrop drop) const {
    return counters_.policy_drops[static_cast<size_t>(drop)].value();
  }

  // Both sides see the end, the client's as an ordinary one.
  void ExpectClosed(CloseReason reason) {
    EXPECT_EQ(closing_, reason);
    EXPECT_TRUE(ended_);
    EXPECT_TRUE(server_.ended());
    bool ended = false;
    client_.ReadAll(&ended);
    EXPECT_TRUE(ended);
    EXPECT_FALSE(client_.was_reset());
  }
};

const std::string& KeyDown() {
  static const std::string message = Message(proto::kMsgcInputsKeyDown, "1234");
  return message;
}

TEST_F(RulesTest, GoodMessagesPassTheGuardInPieces) {
  OpenGuarded(ChannelType::kInputs);
  for (int i = 0; i < 3; ++i) {
    for (const char c : KeyDown()) {
      client_.WriteString(std::string(1, c));
      Run(3);
    }
  }
  EXPECT_EQ(server_.ReadAll(), KeyDown() + KeyDown() + KeyDown());
  EXPECT_TRUE(refusals_.empty());
  EXPECT_EQ(counters_.relay_buffer_bytes.value(), 0);
}

TEST_F(RulesTest, WhatTheGuardRefusesEndsTheChannel) {
  OpenGuarded(ChannelType::kInputs);
  client_.WriteString(KeyDown());
  Run();
  client_.WriteString(Message(199, "what no viewer sends"));
  client_.WriteString(KeyDown());
  Run();
  EXPECT_EQ(server_.ReadAll(), KeyDown());
  ExpectClosed(CloseReason::kClientGuard);
  ASSERT_EQ(refusals_.size(), 1u);
  EXPECT_EQ(refusals_[0].first, GuardRule::kMessageType);
  EXPECT_EQ(refusals_[0].second, 199);
  EXPECT_EQ(Refusals(ChannelType::kInputs, GuardRule::kMessageType), 1);
}

TEST_F(RulesTest, WhatIsOnlyCountedGoesOn) {
  OpenGuarded(ChannelType::kInputs, GuardMode::kCount);
  const std::string bad = Message(199, "what no viewer sends");
  client_.WriteString(bad + KeyDown());
  Run();
  EXPECT_EQ(server_.ReadAll(), bad + KeyDown());
  EXPECT_FALSE(closing_.has_value());
  EXPECT_EQ(Refusals(ChannelType::kInputs, GuardRule::kMessageType), 1);
}

TEST_F(RulesTest, WithoutAGuardNothingIsLookedAt) {
  OpenGuarded(ChannelType::kInputs, GuardMode::kOff);
  const std::string bad = Message(199, "what no viewer sends");
  client_.WriteString(bad);
  Run();
  EXPECT_EQ(server_.ReadAll(), bad);
  EXPECT_TRUE(refusals_.empty());
}

TEST_F(RulesTest, AMainsServerThatLiesEndsTheSessionWhateverTheMode) {
  for (const GuardMode mode :
       {GuardMode::kEnforce, GuardMode::kCount, GuardMode::kOff}) {
    OpenGuarded(ChannelType::kMain, mode);
    server_.WriteString(Message(proto::kMsgMainMouseMode, "1234"));
    Run();
    const size_t passed = client_.ReadAll().size();
    EXPECT_EQ(passed, 10u);
    server_.WriteString(Message(proto::kMsgMainMouseMode, "12"));
    Run();
    ExpectClosed(CloseReason::kServerGuard);
    ASSERT_EQ(refusals_.size(), 1u);
    EXPECT_EQ(refusals_[0].first, std::nullopt);
    EXPECT_EQ(refusals_[0].second, proto::kMsgMainMouseMode);
    refusals_.clear();
    closing_.reset();
    ended_ = false;
  }
  ended_ = true;
}

TEST_F(RulesTest, ADisplaysMessagesAreJudgedBehindTheServersFirst) {
  OpenGuarded(ChannelType::kDisplay);
  // The opener has sent one already.
  client_.WriteString(Message(proto::kMsgcDisplayInit, std::string(14, '\0')));
  Run();
  EXPECT_TRUE(refusals_.empty());
  EXPECT_FALSE(server_.ended()) << "QEMU would crash";
  server_.WriteString(Message(3, "set ack."));
  Run();
  EXPECT_EQ(server_.ReadAll(), "");
  ExpectClosed(CloseReason::kClientGuard);
  EXPECT_EQ(Refusals(ChannelType::kDisplay, GuardRule::kDisplayInit), 1);
  EXPECT_EQ(SafeEnds(SafeEnd::kNotNeeded), 1);
}

class ReadOnlyTest : public RulesTest {
 protected:
  ReadOnlyTest() {
    ChannelRules rules;
    rules.guard = GuardMode::kOff;  // policies hold all the same
    rules.policy.read_only = true;
    Open(ChannelType::kInputs, rules);
    Run();
  }

  void Move(int times) {
    for (int i = 0; i < times; ++i) {
      client_.WriteString(Message(proto::kMsgcInputsMouseMotion, "dx..dy..bt"));
    }
    Run();
  }

  const std::string ack_ = Message(proto::kMsgInputsMouseMotionAck, "");
};

TEST_F(ReadOnlyTest, NoInputReachesTheServer) {
  client_.WriteString(KeyDown());
  client_.WriteString(Message(proto::kMsgcInputsMousePress, "123"));
  const std::string pong = Message(proto::kMsgcPong, "123456789012");
  client_.WriteString(pong);
  client_.WriteString(KeyDown());
  Run();
  EXPECT_EQ(server_.ReadAll(), pong);
  EXPECT_EQ(Drops(PolicyDrop::kReadOnly), 3);
  EXPECT_FALSE(closing_.has_value());
  EXPECT_EQ(client_.ReadAll(), "");
}

TEST_F(ReadOnlyTest, TheClientGetsItsAcksThoughTheServerIsSilent) {
  Move(3);
  EXPECT_EQ(client_.ReadAll(), "");
  Move(1);
  EXPECT_EQ(client_.ReadAll(), ack_);
  Move(9);
  EXPECT_EQ(client_.ReadAll(), ack_ + ack_);
  EXPECT_EQ(counters_.relay_buffer_bytes.value(), 0);
}

TEST_F(ReadOnlyTest, AcksStandBetweenTheServersMessages) {
  const std::string modifiers = Message(proto::kMsgInputsKeyModifiers, "ab");
  server_.WriteString(modifiers.substr(0, 7));
  Run();
  Move(4);
  server_.WriteString(modifiers.substr(7) + modifiers);
  Run();
  const std::string got = client_.ReadAll();
  EXPECT_TRUE(got == modifiers + ack_ + modifiers ||
              got == ack_ + modifiers + modifiers)
      << testing::PrintToString(got);
}

TEST_F(ReadOnlyTest, AcksComeToNothingWhenTheServerHasEnded) {
  server_.ShutdownWrite();
  Run();
  Move(4);
  bool ended = false;
  EXPECT_EQ(client_.ReadAll(&ended), "");
  EXPECT_TRUE(ended);
}

// A piece of the agent's conversation as the client sends it.
std::string AgentData(uint32_t type, const std::string& body) {
  const auto header = proto::EncodeAgentHeader(
      {.type = type, .size = static_cast<uint32_t>(body.size())});
  return Message(proto::kMsgcMainAgentData,
                 std::string(header.begin(), header.end()) + body);
}

TEST_F(RulesTest, DroppedAgentDataIsPaidBack) {
  ChannelRules rules;
  rules.guard = GuardMode::kEnforce;
  rules.policy.clipboard_to_guest = false;
  Open(ChannelType::kMain, rules);
  const std::string connected =
      Message(proto::kMsgMainAgentConnectedTokens, std::string("\xa\0\0\0", 4));
  server_.WriteString(connected);
  Run();
  EXPECT_EQ(client_.ReadAll(), connected);
  const std::string start =
      Message(proto::kMsgcMainAgentStart, std::string("\xa\0\0\0", 4));
  const std::string monitors =
      AgentData(proto::kAgentMonitorsConfig, "12345678");
  client_.WriteString(start + monitors);
  Run();
  EXPECT_EQ(server_.ReadAll(), start + monitors);
  EXPECT_EQ(client_.ReadAll(), "");
  const std::string grab = AgentData(proto::kAgentClipboardGrab, "1234");
  client_.WriteString(grab + grab + monitors + grab);
  Run();
  EXPECT_EQ(server_.ReadAll(), monitors);
  EXPECT_EQ(Drops(PolicyDrop::kClipboard), 3);
  // Three tokens, in one message or in several.
  const std::string token_header =
      Message(proto::kMsgMainAgentToken, "1234").substr(0, 6);
  const std::string got = client_.ReadAll();
  uint32_t tokens = 0;
  for (size_t at = 0; at < got.size(); at += 10) {
    EXPECT_EQ(got.substr(at, 6), token_header);
    tokens += static_cast<uint8_t>(got[at + 6]);
  }
  EXPECT_EQ(tokens, 3u);
  EXPECT_FALSE(closing_.has_value());
}

// ---- A migration of the source.

class FollowTest : public RulesTest {
 protected:
  // `count` large pieces from the server, each read before the next.
  void Flood(int count) {
    const std::string piece(kSpliceFromBytes, 'x');
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(server_.WriteString(piece), piece.size());
      Run(6);
      EXPECT_EQ(client_.ReadAll(), piece);
      Run(6);
    }
  }

  void OpenDisplay(GuardMode mode) {
    OpenGuarded(ChannelType::kDisplay, mode);
    const std::string first = Message(3, "set ack.");
    server_.WriteString(first);
    Run();
    EXPECT_EQ(client_.ReadAll(), first);
  }

  // Bytes spliced while `count` pieces come.
  int64_t SplicedIn(int count) {
    const int64_t before = counters_.bytes_spliced.value();
    Flood(count);
    return counters_.bytes_spliced.value() - before;
  }

  static std::shared_ptr<Migration> Linked(MigrationKind kind) {
    auto migration = std::make_shared<Migration>(kind);
    migration->OnClientLinked();
    return migration;
  }

  const std::string migrate_ =
      Message(proto::kMsgMigrate, std::string("\3\0\0\0", 4));
  const std::string flush_ = Message(proto::kMsgcMigrateFlushMark, "");
};

TEST_F(FollowTest, ASplicingDisplayIsCopiedAndSearchedMeanwhile) {
  OpenDisplay(GuardMode::kEnforce);
  Flood(5);
  EXPECT_GT(SplicedIn(5), 0);
  auto migration = Linked(MigrationKind::kSeamless);
  channel_->FollowMigration(migration);
  EXPECT_EQ(SplicedIn(5), 0);
  server_.WriteString(migrate_);
  Run();
  EXPECT_EQ(client_.ReadAll(), migrate_);
  client_.WriteString(flush_);
  Run();
  EXPECT_EQ(server_.ReadAll(), flush_);
  const std::string data = Message(proto::kMsgMigrateData, "state");
  server_.WriteString(data);
  Run();
  EXPECT_EQ(client_.ReadAll(), data);
  EXPECT_EQ(migration->ExpectedDataLen({ChannelType::kDisplay, 0}), 5u);
  // It comes to nothing.
  channel_->FollowMigration(nullptr);
  migration.reset();
  EXPECT_GT(SplicedIn(10), 0);
  client_.WriteString(flush_);
  Run();
  EXPECT_EQ(closing_, CloseReason::kClientGuard);
}

TEST_F(FollowTest, WhatIsInHandPassesAsTheMigrationBeginsAndEnds) {
  OpenDisplay(GuardMode::kEnforce);
  Flood(5);
  auto migration = Linked(MigrationKind::kSeamless);
  std::string sent;
  std::string received;
  // A client that does not read: bytes wait in a pipe, then in a buffer.
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 20; ++i) {
      std::string piece(16 * 1024, static_cast<char>('a' + round));
      piece.resize(server_.WriteString(piece));
      sent += piece;
      Run(1);
    }
    channel_->FollowMigration(round % 2 == 0 ? migration : nullptr);
    for (int i = 0; i < 20; ++i) {
      received += client_.ReadAll();
      Run(round + 1);
    }
  }
  Run();
  received += client_.ReadAll();
  EXPECT_EQ(received.size(), sent.size());
  EXPECT_TRUE(received == sent);
}

TEST_F(FollowTest, OnlyASeamlessOneIsSearchedFor) {
  OpenDisplay(GuardMode::kEnforce);
  Flood(5);
  channel_->FollowMigration(Linked(MigrationKind::kSemiSeamless));
  EXPECT_GT(SplicedIn(5), 0);
}

TEST_F(FollowTest, WithoutAGuardNothingIsSearched) {
  OpenDisplay(GuardMode::kOff);
  Flood(5);
  channel_->FollowMigration(Linked(MigrationKind::kSeamless));
  EXPECT_GT(SplicedIn(5), 0);
}

TEST_F(FollowTest, ReadOnlyInputsAreFollowedToo) {
  ChannelRules rules;
  rules.guard = GuardMode::kEnforce;
  rules.policy.read_only = true;
  Open(ChannelType::kInputs, rules);
  Run();
  channel_->FollowMigration(Linked(MigrationKind::kSeamless));
  server_.WriteString(migrate_);
  Run();
  EXPECT_EQ(client_.ReadAll(), migrate_);
  client_.WriteString(flush_);
  Run();
  EXPECT_EQ(server_.ReadAll(), flush_);
  channel_->FollowMigration(nullptr);
  server_.WriteString(migrate_);
  Run();
  client_.WriteString(flush_);
  Run();
  EXPECT_EQ(closing_, CloseReason::kClientGuard);
}

TEST_F(FollowTest, ASourceThatWasLeftEndsWithItsServer) {
  OpenGuarded(ChannelType::kInputs);
  auto migration = Linked(MigrationKind::kSemiSeamless);
  channel_->FollowMigration(migration);
  migration->OnSourceEnd();
  ASSERT_TRUE(migration->AllowMigrateEnd());
  server_.WriteString(Message(3, "set ack."));
  server_.ShutdownWrite();
  Run();
  EXPECT_EQ(closing_, CloseReason::kMigrated);
  EXPECT_TRUE(ended_);
}

TEST_F(FollowTest, AnEndedChannelFollowsNothing) {
  OpenGuarded(ChannelType::kInputs);
  channel_->Close(CloseReason::kSessionOver);
  channel_->FollowMigration(Linked(MigrationKind::kSeamless));
  EXPECT_EQ(channel_->migration(), nullptr);
}

}  // namespace
}  // namespace spicegate
