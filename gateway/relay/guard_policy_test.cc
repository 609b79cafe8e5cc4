// SPDX-License-Identifier: Apache-2.0
// What a policy drops of a client's messages, whatever the guard's mode.

#include <gtest/gtest.h>

#include <vector>

#include "gateway/relay/agent_filter.h"
#include "gateway/relay/agent_fixture.h"
#include "gateway/relay/guard_fixture.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using Buffer = std::vector<uint8_t>;
using Drops = std::vector<PolicyDrop>;
using Rules = std::vector<GuardRule>;
using Then = PumpFilter::Then;
using proto::ChannelType;
using proto::HeaderKind;

constexpr GuardMode kModes[] = {GuardMode::kEnforce, GuardMode::kCount,
                                GuardMode::kOff};

Buffer Of(uint16_t type, const Buffer& body = {}) {
  return ClientMessage(
      HeaderKind::kMini,
      {.type = type, .size = static_cast<uint32_t>(body.size())}, body);
}

GuardContext ReadOnly(GuardMode mode) {
  return {.key = {ChannelType::kInputs, 0},
          .mode = mode,
          .policy = {.read_only = true}};
}

const Buffer kKey = Of(proto::kMsgcInputsKeyDown, Buffer(4));
const Buffer kMotion = Of(proto::kMsgcInputsMouseMotion, Buffer(10));
const Buffer kPosition = Of(proto::kMsgcInputsMousePosition, Buffer(11));
const Buffer kPress = Of(proto::kMsgcInputsMousePress, Buffer(3));

TEST(ReadOnlyTest, InputsAreDroppedInEveryMode) {
  for (const GuardMode mode : kModes) {
    GuardedLeg leg(ReadOnly(mode));
    for (const Buffer& message :
         {kKey, Of(102, Buffer(4)), Of(103, Buffer(2)), Of(104, Buffer(3)),
          kMotion, kPosition, kPress, Of(114, Buffer(3))}) {
      leg.runner.Feed(message);
      EXPECT_EQ(leg.runner.then(), Then::kGoOn);
    }
    EXPECT_TRUE(leg.runner.out().empty());
    EXPECT_EQ(leg.host.drops, Drops(8, PolicyDrop::kReadOnly));
    EXPECT_EQ(leg.host.rules, Rules{});
    const Buffer pong = Of(proto::kMsgcPong, Buffer(12));
    EXPECT_TRUE(leg.Passes(pong));
    EXPECT_EQ(leg.host.drops.size(), 8u);
  }
}

TEST(ReadOnlyTest, FourMotionsAreOneAcknowledgement) {
  GuardedLeg leg(ReadOnly(GuardMode::kEnforce));
  for (int round = 1; round <= 3; ++round) {
    for (const Buffer& message : {kMotion, kKey, kPosition, kPress, kMotion}) {
      leg.runner.Feed(message);
    }
    EXPECT_EQ(leg.host.acks_owed, round - 1);
    leg.runner.Feed(kPosition);
    EXPECT_EQ(leg.host.acks_owed, round);
  }
}

TEST(ReadOnlyTest, IsBehindTheGuard) {
  const Buffer bad = Of(proto::kMsgcInputsMouseMotion, Buffer(9));
  GuardedLeg enforced(ReadOnly(GuardMode::kEnforce));
  EXPECT_EQ(enforced.Refusal(bad), GuardRule::kMessageSize);
  EXPECT_TRUE(enforced.host.drops.empty());
  GuardedLeg counted(ReadOnly(GuardMode::kCount));
  counted.runner.Feed(bad);
  counted.runner.Feed(Of(150));
  EXPECT_EQ(counted.host.rules,
            (Rules{GuardRule::kMessageSize, GuardRule::kMessageType}));
  EXPECT_TRUE(counted.runner.out().empty());
  EXPECT_EQ(counted.host.drops, Drops(2, PolicyDrop::kReadOnly));
}

TEST(ReadOnlyTest, IsForInputsOnly) {
  GuardContext context = ReadOnly(GuardMode::kEnforce);
  context.key.type = ChannelType::kRecord;
  GuardedLeg leg(context);
  EXPECT_TRUE(leg.Passes(Of(proto::kMsgcRecordStartMark, Buffer(4))));
}

// A main channel whose client may send no files.
class AgentGuardTest : public testing::TestWithParam<GuardMode> {
 protected:
  static constexpr Policy kNoFiles = {.file_transfer = false};

  GuardContext Main() {
    return {.key = {ChannelType::kMain, 0},
            .mode = GetParam(),
            .policy = kNoFiles,
            .agent = &agent_};
  }

  static Buffer Start() { return Of(proto::kMsgcMainAgentStart, Buffer(4)); }
  static Buffer Data(uint32_t type, size_t size) {
    return Of(proto::kMsgcMainAgentData, AgentMessage(type, size));
  }

  AgentFilter agent_{kNoFiles};
  GuardedLeg leg_{Main()};
};

TEST_P(AgentGuardTest, ForbiddenMessagesAreDroppedAndTheirTokensOwed) {
  EXPECT_TRUE(leg_.Passes(Start()));
  EXPECT_TRUE(leg_.Passes(Data(proto::kAgentClipboardGrab, 8)));
  leg_.runner.Feed(Data(proto::kAgentFileXferStart, 100));
  EXPECT_EQ(leg_.host.drops, Drops{PolicyDrop::kFileTransfer});
  EXPECT_EQ(leg_.host.tokens_owed, 1);
  EXPECT_TRUE(leg_.Passes(Data(proto::kAgentClipboard, 30)));
  EXPECT_EQ(leg_.host.rules, Rules{});
}

TEST_P(AgentGuardTest, PiecesOfOneMessageAreOneDrop) {
  EXPECT_TRUE(leg_.Passes(Start()));
  const Buffer first = AgentMessage(proto::kAgentFileXferData, 500, 2000);
  leg_.runner.Feed(Of(proto::kMsgcMainAgentData, first));
  leg_.runner.Feed(Of(proto::kMsgcMainAgentData, Buffer(1500)));
  EXPECT_EQ(leg_.host.drops, Drops{PolicyDrop::kFileTransfer});
  EXPECT_EQ(leg_.host.tokens_owed, 2);
  EXPECT_TRUE(leg_.Passes(Data(proto::kAgentClipboardGrab, 8)));
}

TEST_P(AgentGuardTest, PiecesAreJudgedWhole) {
  EXPECT_TRUE(leg_.Passes(Start()));
  const size_t before = leg_.runner.out().size();
  const Buffer message = Data(proto::kAgentClipboard, 2000);
  leg_.runner.Feed(std::span(message).first(message.size() - 1));
  EXPECT_EQ(leg_.runner.out().size(), before);
  leg_.runner.Feed(std::span(message).last(1));
  EXPECT_EQ(leg_.runner.out().size(), before + message.size());
}

TEST_P(AgentGuardTest, NoTokenIsOwedBeforeTheStart) {
  leg_.runner.Feed(Data(proto::kAgentFileXferStart, 100));
  EXPECT_EQ(leg_.host.drops, Drops{PolicyDrop::kFileTransfer});
  EXPECT_EQ(leg_.host.tokens_owed, 0);
}

// Behind FLUSH_MARK the destination has the agent's conversation.
TEST_P(AgentGuardTest, NothingBehindFlushMark) {
  Migration migration(MigrationKind::kSeamless);
  migration.OnClientLinked();
  migration.OnSourceMigrate({ChannelType::kMain, 0}, 3);
  leg_.guard.set_migration(&migration, false);
  EXPECT_TRUE(leg_.Passes(Start()));
  EXPECT_TRUE(leg_.Passes(Of(proto::kMsgcMigrateFlushMark)));
  const size_t before = leg_.runner.out().size();
  leg_.runner.Feed(Data(proto::kAgentClipboardGrab, 8));
  EXPECT_EQ(leg_.runner.out().size(), before);
}

// It must not get round the filter in it.
TEST_P(AgentGuardTest, TooLongAPieceNeverPasses) {
  const Buffer body = AgentMessage(proto::kAgentFileXferStart, 3000);
  leg_.runner.Feed(Of(proto::kMsgcMainAgentData, body));
  EXPECT_TRUE(leg_.runner.out().empty());
  EXPECT_EQ(leg_.host.tokens_owed, 0);
}

INSTANTIATE_TEST_SUITE_P(Modes, AgentGuardTest, testing::ValuesIn(kModes));

}  // namespace
}  // namespace spicegate
