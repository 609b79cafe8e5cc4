// SPDX-License-Identifier: Apache-2.0
// What the guard allows at which moment, and what a policy drops.
#include "gateway/relay/guard.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "gateway/relay/guard_fixture.h"
#include "proto/common_channel.h"
#include "proto/display_channel.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using Buffer = std::vector<uint8_t>;
using Rules = std::vector<GuardRule>;
using Then = PumpFilter::Then;
using proto::ChannelKey;
using proto::ChannelType;
using proto::HeaderKind;

constexpr ChannelKey kMain = {ChannelType::kMain, 0};
constexpr ChannelKey kDisplay = {ChannelType::kDisplay, 0};
constexpr ChannelKey kInputs = {ChannelType::kInputs, 0};
constexpr uint32_t kFlush = proto::kMigrateNeedFlush;
constexpr uint32_t kData = proto::kMigrateNeedDataTransfer;

Buffer Of(uint16_t type, const Buffer& body = {}) {
  return ClientMessage(
      HeaderKind::kMini,
      {.type = type, .size = static_cast<uint32_t>(body.size())}, body);
}

Buffer Join(std::initializer_list<Buffer> parts) {
  Buffer whole;
  for (const Buffer& part : parts) {
    whole.insert(whole.end(), part.begin(), part.end());
  }
  return whole;
}

Buffer Init() {
  const auto body = proto::EncodeDisplayInit({.glz_window_px = 1 << 20});
  return Of(proto::kMsgcDisplayInit, {body.begin(), body.end()});
}

const Buffer kFlushMark = Of(proto::kMsgcMigrateFlushMark);
const Buffer kAck = Of(proto::kMsgcAck);
const Buffer kDoSeamless =
    Of(proto::kMsgcMainMigrateDstDoSeamless, {1, 0, 0, 0});
const Buffer kMigrateEnd = Of(proto::kMsgcMainMigrateEnd);
const Buffer kConnected = Of(proto::kMsgcMainMigrateConnected);
const Buffer kConnectedSeamless = Of(proto::kMsgcMainMigrateConnectedSeamless);
const Buffer kConnectError = Of(proto::kMsgcMainMigrateConnectError);
const Buffer kBlob = {1, 2, 3, 4, 5, 6, 7, 8};

Buffer DataOf(const Buffer& blob) { return Of(proto::kMsgcMigrateData, blob); }

GuardContext Plain(ChannelKey key, GuardMode mode = GuardMode::kEnforce) {
  return {.key = key, .mode = mode};
}

GuardContext Source(ChannelKey key, Migration& migration) {
  return {.key = key, .migration = &migration};
}

GuardContext Destination(ChannelKey key, Migration& migration,
                         GuardMode mode = GuardMode::kEnforce) {
  return {
      .key = key, .mode = mode, .migration = &migration, .destination = true};
}

// What the source sends on a channel when it lets go.
void HandOver(Migration& migration, ChannelKey key, const Buffer& blob) {
  migration.OnSourceMigrate(key, kFlush | kData);
  ASSERT_TRUE(
      migration.OnSourceDataBegins(key, static_cast<uint32_t>(blob.size())));
  migration.OnSourceData(key, blob);
}

// A seamless migration whose client is linked to both sides.
class SeamlessGuardTest : public testing::Test {
 protected:
  SeamlessGuardTest() {
    EXPECT_TRUE(migration_.AllowDoSeamless());
    migration_.OnSeamlessAnswer(true);
    migration_.OnClientLinked();
  }

  Migration migration_{MigrationKind::kSeamless};
};

// Likewise, semi-seamless.
class SemiSeamlessGuardTest : public testing::Test {
 protected:
  SemiSeamlessGuardTest() { migration_.OnClientLinked(); }

  Migration migration_{MigrationKind::kSemiSeamless};
};

// ---- Messages that kill, out of their moment ----

struct Killer {
  ChannelKey key;
  Buffer message;
  GuardRule rule;
};

std::vector<Killer> Killers() {
  return {
      {kMain, kFlushMark, GuardRule::kFlushMark},
      {kDisplay, kFlushMark, GuardRule::kFlushMark},
      {kInputs, Of(proto::kMsgcMigrateFlushMark, {1, 2, 3}),
       GuardRule::kFlushMark},
      {{ChannelType::kCursor, 0}, kFlushMark, GuardRule::kFlushMark},
      {{ChannelType::kUsbredir, 1}, kFlushMark, GuardRule::kFlushMark},
      {kMain, DataOf(kBlob), GuardRule::kMigrateData},
      {kDisplay, DataOf({}), GuardRule::kMigrateData},
      {kMain, kDoSeamless, GuardRule::kDoSeamless},
      {kMain, Of(proto::kMsgcMainMigrateDstDoSeamless, {1}),
       GuardRule::kDoSeamless},
      {kMain, kMigrateEnd, GuardRule::kMigrateEnd},
      {kDisplay, Init(), GuardRule::kDisplayInit},
      {kDisplay, Of(proto::kMsgcDisplayInit, {1, 2}), GuardRule::kDisplayInit},
      {kMain, Of(proto::kMsgcMainAgentToken, {1, 0, 0, 0}),
       GuardRule::kMessageType},
      {kMain, Of(proto::kMsgcMainQualityIndicator), GuardRule::kMessageType},
      {kMain, Of(proto::kMsgcMainClientInfo, Buffer(8)),
       GuardRule::kMessageType},
  };
}

TEST(GuardTest, KillersAreRefusedOrCountedOrIgnored) {
  for (const Killer& killer : Killers()) {
    GuardedLeg enforced(Plain(killer.key));
    EXPECT_TRUE(enforced.Passes(kAck));
    EXPECT_EQ(enforced.Refusal(killer.message), killer.rule);
    EXPECT_EQ(enforced.host.refused[0].size, killer.message.size() - 6);
    GuardedLeg counted(Plain(killer.key, GuardMode::kCount));
    EXPECT_TRUE(counted.GoesOn(killer.message));
    EXPECT_TRUE(counted.GoesOn(killer.message));
    EXPECT_EQ(counted.host.rules, (Rules{killer.rule, killer.rule}));
    GuardedLeg off(Plain(killer.key, GuardMode::kOff));
    EXPECT_TRUE(off.Passes(killer.message));
    EXPECT_EQ(enforced.host.inits + counted.host.inits + off.host.inits, 0);
    EXPECT_EQ(enforced.host.takeovers + counted.host.takeovers, 0);
  }
}

TEST(GuardTest, IsNeededForMainAndForWhatIsGuardedOrReadOnly) {
  const Policy all;
  const Policy read_only = {.read_only = true};
  EXPECT_TRUE(Guard::IsNeeded(ChannelType::kMain, GuardMode::kOff, all));
  EXPECT_TRUE(Guard::IsNeeded(ChannelType::kCursor, GuardMode::kEnforce, all));
  EXPECT_TRUE(Guard::IsNeeded(ChannelType::kCursor, GuardMode::kCount, all));
  EXPECT_FALSE(Guard::IsNeeded(ChannelType::kCursor, GuardMode::kOff, all));
  EXPECT_FALSE(Guard::IsNeeded(ChannelType::kInputs, GuardMode::kOff, all));
  EXPECT_TRUE(
      Guard::IsNeeded(ChannelType::kInputs, GuardMode::kOff, read_only));
  EXPECT_FALSE(
      Guard::IsNeeded(ChannelType::kRecord, GuardMode::kOff, read_only));
}

// ---- The source of a migration ----

TEST_F(SeamlessGuardTest, FlushMarkOnceAndOnlyWhereItWasAskedFor) {
  migration_.OnSourceMigrate(kMain, kFlush | kData);
  migration_.OnSourceMigrate(kInputs, 0);
  GuardedLeg main(Source(kMain, migration_));
  EXPECT_TRUE(main.Passes(kFlushMark));
  EXPECT_EQ(main.Refusal(kFlushMark), GuardRule::kFlushMark);
  GuardedLeg inputs(Source(kInputs, migration_));
  EXPECT_EQ(inputs.Refusal(kFlushMark), GuardRule::kFlushMark);
  GuardedLeg display(Source(kDisplay, migration_));  // no MIGRATE here yet
  EXPECT_EQ(display.Refusal(kFlushMark), GuardRule::kFlushMark);
}

TEST_F(SeamlessGuardTest, FlushMarkGoesToTheSourceAndHasNoBody) {
  migration_.OnSourceMigrate(kInputs, kFlush);
  GuardedLeg destination(Destination(kInputs, migration_));
  EXPECT_EQ(destination.Refusal(kFlushMark), GuardRule::kFlushMark);
  GuardedLeg source(Source(kInputs, migration_));
  EXPECT_EQ(source.Refusal(Of(proto::kMsgcMigrateFlushMark, {1})),
            GuardRule::kFlushMark);
  GuardedLeg again(Source(kInputs, migration_));
  EXPECT_TRUE(again.Passes(kFlushMark));
}

TEST_F(SeamlessGuardTest, SourceTakesNoData) {
  HandOver(migration_, kMain, kBlob);
  GuardedLeg source(Source(kMain, migration_));
  EXPECT_EQ(source.Refusal(DataOf(kBlob)), GuardRule::kMigrateData);
}

TEST(GuardMigrationTest, RepliesAreToldAndNoted) {
  for (const GuardMode mode :
       {GuardMode::kEnforce, GuardMode::kCount, GuardMode::kOff}) {
    for (const Buffer& reply : {kConnected, kConnectedSeamless}) {
      Migration migration(MigrationKind::kSeamless);
      GuardContext context = Source(kMain, migration);
      context.mode = mode;
      GuardedLeg leg(context);
      EXPECT_TRUE(leg.Passes(reply));
      EXPECT_EQ(leg.host.replies.size(), 1u);
      EXPECT_EQ(migration.phase(), Migration::Phase::kLinked);
    }
  }
  Migration failed(MigrationKind::kSemiSeamless);
  GuardedLeg leg(Source(kMain, failed));
  EXPECT_TRUE(leg.Passes(kConnectError));
  EXPECT_EQ(leg.host.replies,
            (std::vector<uint16_t>{proto::kMsgcMainMigrateConnectError}));
  EXPECT_EQ(failed.phase(), Migration::Phase::kLinking);
}

TEST(GuardMigrationTest, RepliesWithoutAMigrationSayNothing) {
  GuardedLeg leg(Plain(kMain));
  EXPECT_TRUE(leg.Passes(Join({kConnected, kConnectedSeamless})));
  EXPECT_TRUE(leg.host.replies.empty());
}

// ---- The destination ----

TEST(GuardMigrationTest, DoSeamlessOnceAtADestination) {
  Migration migration(MigrationKind::kSeamless);
  GuardedLeg source(Source(kMain, migration));
  EXPECT_EQ(source.Refusal(kDoSeamless), GuardRule::kDoSeamless);
  GuardedLeg leg(Destination(kMain, migration));
  EXPECT_TRUE(leg.Passes(kDoSeamless));
  EXPECT_EQ(leg.Refusal(kDoSeamless), GuardRule::kDoSeamless);
  Migration semi(MigrationKind::kSemiSeamless);
  GuardedLeg other(Destination(kMain, semi));
  EXPECT_EQ(other.Refusal(kDoSeamless), GuardRule::kDoSeamless);
}

TEST_F(SeamlessGuardTest, NothingElseBeforeTheHandOver) {
  const Buffer key = Of(proto::kMsgcInputsKeyDown, {1, 0, 0, 0});
  const Buffer pong = Of(proto::kMsgcPong, Buffer(12));
  const Buffer attach = Of(proto::kMsgcMainAttachChannels);
  const std::vector<std::pair<ChannelKey, Buffer>> early = {
      {kMain, attach}, {kMain, pong},      {kMain, kConnected},
      {kMain, kAck},   {kDisplay, Init()}, {kDisplay, kAck},
      {kInputs, key},  {kInputs, pong},
  };
  for (const auto& [where, message] : early) {
    GuardedLeg enforced(Destination(where, migration_));
    EXPECT_EQ(enforced.Refusal(message), GuardRule::kBeforeHandover);
    GuardedLeg off(Destination(where, migration_, GuardMode::kOff));
    EXPECT_TRUE(off.Passes(message));
  }
  GuardedLeg counted(Destination(kInputs, migration_, GuardMode::kCount));
  EXPECT_TRUE(counted.GoesOn(Join({key, key})));
  EXPECT_EQ(counted.host.rules,
            (Rules{GuardRule::kBeforeHandover, GuardRule::kBeforeHandover}));
}

TEST_F(SeamlessGuardTest, DataMustBeTheSourcesOwn) {
  HandOver(migration_, kMain, kBlob);
  Buffer forged = kBlob;
  forged.back() ^= 1;
  const Buffer shorter(kBlob.begin(), kBlob.end() - 1);
  Buffer longer = kBlob;
  longer.push_back(0);
  for (const Buffer& body : {forged, shorter, longer, Buffer{}}) {
    GuardedLeg leg(Destination(kMain, migration_));
    EXPECT_EQ(leg.Refusal(DataOf(body)), GuardRule::kMigrateData);
    EXPECT_EQ(leg.host.takeovers, 0);
  }
  GuardedLeg other(Destination(kInputs, migration_));
  EXPECT_EQ(other.Refusal(DataOf(kBlob)), GuardRule::kMigrateData);
  GuardedLeg leg(Destination(kMain, migration_));
  EXPECT_TRUE(leg.Passes(DataOf(kBlob)));
  EXPECT_EQ(leg.host.takeovers, 1);
  EXPECT_TRUE(leg.Passes(Of(proto::kMsgcPong, Buffer(12))));
  EXPECT_EQ(leg.Refusal(DataOf(kBlob)), GuardRule::kMigrateData);
}

TEST_F(SeamlessGuardTest, DataIsJudgedWhole) {
  HandOver(migration_, kMain, Buffer(5000, 9));
  GuardedLeg leg(Destination(kMain, migration_));
  const Buffer message = DataOf(Buffer(5000, 9));
  leg.runner.Feed(std::span(message).first(message.size() - 1));
  EXPECT_TRUE(leg.runner.out().empty());
  leg.runner.Feed(std::span(message).last(1));
  EXPECT_EQ(leg.runner.out(), message);
}

// A claim of another size is refused before anything is kept of it.
TEST_F(SeamlessGuardTest, HugeDataIsRefusedByItsHeader) {
  HandOver(migration_, kMain, kBlob);
  GuardedLeg leg(Destination(kMain, migration_));
  EXPECT_EQ(leg.Refusal(ClientMessage(
                HeaderKind::kMini,
                {.type = proto::kMsgcMigrateData, .size = 0xFFFFFFF0}, {})),
            GuardRule::kMigrateData);
}

TEST_F(SeamlessGuardTest, WithTheGuardOffTheMigrationIsFollowed) {
  HandOver(migration_, kMain, kBlob);
  HandOver(migration_, kInputs, kBlob);
  GuardedLeg main(Destination(kMain, migration_, GuardMode::kOff));
  EXPECT_TRUE(main.Passes(DataOf(kBlob)));
  EXPECT_EQ(main.host.takeovers, 1);
  EXPECT_TRUE(migration_.MayTalk(kMain));
  // Counted: wrong, but the channel talks from then on.
  GuardedLeg inputs(Destination(kInputs, migration_, GuardMode::kCount));
  EXPECT_TRUE(inputs.GoesOn(DataOf({1, 2})));
  EXPECT_TRUE(inputs.Passes(kAck));
  EXPECT_EQ(inputs.host.rules, Rules{GuardRule::kMigrateData});
}

TEST_F(SeamlessGuardTest, InitHasNoPlaceBesideData) {
  HandOver(migration_, kMain, kBlob);
  HandOver(migration_, kDisplay, kBlob);
  GuardedLeg waiting(Destination(kDisplay, migration_));
  EXPECT_EQ(waiting.Refusal(Init()), GuardRule::kBeforeHandover);
  GuardedLeg over(Destination(kDisplay, migration_));
  over.guard.set_migration(nullptr, false);
  EXPECT_EQ(over.Refusal(Init()), GuardRule::kDisplayInit);
  GuardedLeg leg(Destination(kDisplay, migration_));
  EXPECT_TRUE(leg.Passes(Join({DataOf(kBlob), kAck})));
  EXPECT_EQ(leg.Refusal(Init()), GuardRule::kDisplayInit);
  EXPECT_EQ(leg.host.takeovers, 0);
}

TEST_F(SemiSeamlessGuardTest, MigrateEndOnceAndBehindTheSources) {
  GuardedLeg early(Destination(kMain, migration_));
  EXPECT_EQ(early.Refusal(kMigrateEnd), GuardRule::kMigrateEnd);
  migration_.OnSourceEnd();
  GuardedLeg source(Source(kMain, migration_));
  EXPECT_EQ(source.Refusal(kMigrateEnd), GuardRule::kMigrateEnd);
  GuardedLeg leg(Destination(kMain, migration_));
  EXPECT_TRUE(leg.Passes(kMigrateEnd));
  EXPECT_EQ(leg.host.takeovers, 1);
  EXPECT_EQ(leg.Refusal(kMigrateEnd), GuardRule::kMigrateEnd);
}

TEST_F(SemiSeamlessGuardTest, InitOnceAndNothingBehindIt) {
  for (const bool is_over : {false, true}) {
    GuardedLeg leg(Destination(kDisplay, migration_));
    migration_.OnSourceEnd();
    if (is_over) {
      leg.guard.set_migration(nullptr, false);
    }
    leg.runner.Feed(Join({Init(), kAck}));
    EXPECT_EQ(leg.host.inits, 1);
    EXPECT_EQ(leg.runner.then(), Then::kHold);
    EXPECT_EQ(leg.runner.out(), Init());
    leg.guard.ReleaseAfterInit();
    leg.runner.Unhold();
    EXPECT_EQ(leg.runner.out(), Join({Init(), kAck}));
    EXPECT_EQ(leg.Refusal(Init()), GuardRule::kDisplayInit);
    EXPECT_EQ(leg.host.inits, 1);
  }
}

TEST_F(SemiSeamlessGuardTest, InitMustBeOneThatTheServerSurvives) {
  migration_.OnSourceEnd();
  const auto body = proto::EncodeDisplayInit({.glz_window_px = -1});
  GuardedLeg leg(Destination(kDisplay, migration_));
  EXPECT_EQ(
      leg.Refusal(Of(proto::kMsgcDisplayInit, {body.begin(), body.end()})),
      GuardRule::kClaimedSize);
  GuardedLeg cut(Destination(kDisplay, migration_));
  EXPECT_EQ(cut.Refusal(Of(proto::kMsgcDisplayInit, Buffer(13))),
            GuardRule::kDisplayInit);
}

TEST_F(SemiSeamlessGuardTest, TheNextMigrationLeadsAwayFromHere) {
  migration_.OnSourceEnd();
  GuardedLeg main(Destination(kMain, migration_));
  EXPECT_TRUE(main.Passes(kMigrateEnd));
  Migration next(MigrationKind::kSemiSeamless);
  main.guard.set_migration(&next, false);
  EXPECT_TRUE(main.Passes(kConnected));
  EXPECT_EQ(next.phase(), Migration::Phase::kLinked);
  EXPECT_EQ(main.host.takeovers, 1);
  EXPECT_EQ(main.Refusal(kDoSeamless), GuardRule::kDoSeamless);
}

}  // namespace
}  // namespace spicegate
