// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/migration.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "gateway/base/limits.h"
#include "proto/common_channel.h"

namespace spicegate {
namespace {

using Buffer = std::vector<uint8_t>;
using Phase = Migration::Phase;
using proto::ChannelKey;
using proto::ChannelType;

constexpr ChannelKey kMain = {ChannelType::kMain, 0};
constexpr ChannelKey kDisplay = {ChannelType::kDisplay, 0};
constexpr ChannelKey kDisplay1 = {ChannelType::kDisplay, 1};
constexpr ChannelKey kCursor = {ChannelType::kCursor, 0};
constexpr uint32_t kFlush = proto::kMigrateNeedFlush;
constexpr uint32_t kData = proto::kMigrateNeedDataTransfer;

// What the source sends on a channel, data in two pieces.
void SendData(Migration& migration, ChannelKey key, const Buffer& data) {
  ASSERT_TRUE(migration.OnSourceDataBegins(key, data.size()));
  const auto bytes = std::span(data);
  migration.OnSourceData(key, bytes.first(data.size() / 2));
  migration.OnSourceData(key, bytes.subspan(data.size() / 2));
}

// A seamless migration up to the hand-over of main.
class SeamlessTest : public testing::Test {
 protected:
  void Link() {
    EXPECT_TRUE(migration_.AllowDoSeamless());
    migration_.OnSeamlessAnswer(true);
    migration_.OnClientLinked();
  }
  void HandOverMain() { migration_.OnSourceMigrate(kMain, kFlush | kData); }

  Migration migration_{MigrationKind::kSeamless};
};

TEST_F(SeamlessTest, GoesThrough) {
  EXPECT_EQ(migration_.phase(), Phase::kLinking);
  Link();
  EXPECT_EQ(migration_.phase(), Phase::kLinked);
  EXPECT_FALSE(migration_.MayTalk(kMain));
  HandOverMain();
  EXPECT_EQ(migration_.phase(), Phase::kHandedOver);
  EXPECT_TRUE(migration_.AllowFlushMark(kMain));
  EXPECT_EQ(migration_.ExpectedDataLen(kMain), std::nullopt);
  SendData(migration_, kMain, {1, 2, 3, 4, 5});
  EXPECT_EQ(migration_.ExpectedDataLen(kMain), 5u);
  EXPECT_FALSE(migration_.MayTalk(kMain));
  EXPECT_TRUE(migration_.AllowData(kMain, Buffer{1, 2, 3, 4, 5}));
  EXPECT_EQ(migration_.phase(), Phase::kTaken);
  EXPECT_TRUE(migration_.MayTalk(kMain));
}

TEST_F(SeamlessTest, NothingIsHandedOverBeforeTheClientHasLinked) {
  HandOverMain();
  migration_.OnSourceMigrate(kDisplay, 0);
  EXPECT_EQ(migration_.phase(), Phase::kLinking);
  EXPECT_FALSE(migration_.MayTalk(kMain));
  EXPECT_FALSE(migration_.MayTalk(kDisplay));
  SendData(migration_, kMain, {1});
  EXPECT_FALSE(migration_.AllowData(kMain, Buffer{1}));
}

TEST_F(SeamlessTest, ChannelsAreHandedOverOneByOne) {
  Link();
  migration_.OnSourceMigrate(kDisplay, kFlush | kData);
  migration_.OnSourceMigrate(kCursor, 0);
  EXPECT_EQ(migration_.phase(), Phase::kLinked);
  EXPECT_FALSE(migration_.MayTalk(kDisplay));
  EXPECT_FALSE(migration_.MayTalk(kDisplay1));
  EXPECT_TRUE(migration_.MayTalk(kCursor));
  SendData(migration_, kDisplay, {9, 9});
  EXPECT_FALSE(migration_.AllowData(kDisplay1, Buffer{9, 9}));
  EXPECT_TRUE(migration_.AllowData(kDisplay, Buffer{9, 9}));
  EXPECT_TRUE(migration_.MayTalk(kDisplay));
  EXPECT_EQ(migration_.phase(), Phase::kLinked);
  EXPECT_FALSE(migration_.MayTalk(kMain));
}

TEST_F(SeamlessTest, FlushMarkOnceAndOnlyWhereAsked) {
  EXPECT_FALSE(migration_.AllowFlushMark(kMain));
  Link();
  HandOverMain();
  migration_.OnSourceMigrate(kCursor, kData);
  EXPECT_FALSE(migration_.AllowFlushMark(kCursor));
  EXPECT_FALSE(migration_.AllowFlushMark(kDisplay));
  EXPECT_TRUE(migration_.AllowFlushMark(kMain));
  EXPECT_FALSE(migration_.AllowFlushMark(kMain));
}

TEST_F(SeamlessTest, DataMustBeTheSources) {
  Link();
  HandOverMain();
  SendData(migration_, kMain, {1, 2, 3});
  for (const Buffer& wrong : {Buffer{}, Buffer{1, 2}, Buffer{1, 2, 4},
                              Buffer{0, 2, 3}, Buffer{1, 2, 3, 4}}) {
    EXPECT_FALSE(migration_.AllowData(kMain, wrong));
  }
  EXPECT_FALSE(migration_.AllowData(kDisplay, Buffer{1, 2, 3}));
  EXPECT_TRUE(migration_.AllowData(kMain, Buffer{1, 2, 3}));
  EXPECT_FALSE(migration_.AllowData(kMain, Buffer{1, 2, 3}));
  EXPECT_EQ(migration_.ExpectedDataLen(kMain), std::nullopt);
}

TEST_F(SeamlessTest, UnfinishedDataIsNone) {
  Link();
  HandOverMain();
  ASSERT_TRUE(migration_.OnSourceDataBegins(kMain, 3));
  EXPECT_FALSE(migration_.AllowData(kMain, Buffer{}));
  migration_.OnSourceData(kMain, Buffer{1, 2});
  EXPECT_FALSE(migration_.AllowData(kMain, Buffer{1, 2}));
  EXPECT_FALSE(migration_.AllowData(kMain, Buffer{1, 2, 0}));
  migration_.OnSourceData(kMain, Buffer{3, 4, 5});
  EXPECT_TRUE(migration_.AllowData(kMain, Buffer{1, 2, 3}));
}

TEST_F(SeamlessTest, EmptyData) {
  Link();
  HandOverMain();
  ASSERT_TRUE(migration_.OnSourceDataBegins(kMain, 0));
  EXPECT_EQ(migration_.ExpectedDataLen(kMain), 0u);
  EXPECT_TRUE(migration_.AllowData(kMain, Buffer{}));
}

TEST_F(SeamlessTest, DataIsBoundedAnnouncedAndOnce) {
  Link();
  EXPECT_FALSE(migration_.OnSourceDataBegins(kMain, 4));
  migration_.OnSourceMigrate(kCursor, kFlush);
  EXPECT_FALSE(migration_.OnSourceDataBegins(kCursor, 4));
  HandOverMain();
  EXPECT_FALSE(
      migration_.OnSourceDataBegins(kMain, kMaxMigrationDataBytes + 1));
  EXPECT_TRUE(migration_.OnSourceDataBegins(kMain, kMaxMigrationDataBytes));
  EXPECT_FALSE(migration_.OnSourceDataBegins(kMain, 4));
}

TEST_F(SeamlessTest, DataThatNobodyAnnouncedIsIgnored) {
  Link();
  HandOverMain();
  migration_.OnSourceData(kMain, Buffer{1});
  migration_.OnSourceData(kDisplay, Buffer{1});
  SendData(migration_, kMain, {7});
  EXPECT_TRUE(migration_.AllowData(kMain, Buffer{7}));
  migration_.OnSourceData(kMain, Buffer{1});
}

TEST_F(SeamlessTest, LaterFlagsCountUntilTheDataBegins) {
  Link();
  migration_.OnSourceMigrate(kCursor, 0);
  EXPECT_TRUE(migration_.MayTalk(kCursor));
  migration_.OnSourceMigrate(kDisplay, 0);
  EXPECT_FALSE(migration_.MayTalk(kDisplay)) << "a display has data";
  migration_.OnSourceMigrate(kDisplay, kFlush | kData);
  EXPECT_FALSE(migration_.MayTalk(kDisplay));
  ASSERT_TRUE(migration_.OnSourceDataBegins(kDisplay, 1));
  migration_.OnSourceMigrate(kDisplay, 0);
  EXPECT_FALSE(migration_.MayTalk(kDisplay));
}

TEST_F(SeamlessTest, DoSeamlessOnceAndWhileLinking) {
  EXPECT_TRUE(migration_.AllowDoSeamless());
  EXPECT_FALSE(migration_.AllowDoSeamless());
  Migration linked(MigrationKind::kSeamless);
  linked.OnClientLinked();
  EXPECT_FALSE(linked.AllowDoSeamless());
}

TEST_F(SeamlessTest, MigrateEndIsNotForOne) {
  Link();
  migration_.OnSourceEnd();
  EXPECT_EQ(migration_.phase(), Phase::kLinked);
  EXPECT_FALSE(migration_.AllowMigrateEnd());
  HandOverMain();
  EXPECT_FALSE(migration_.AllowMigrateEnd());
}

TEST_F(SeamlessTest, RefusedByItsDestinationEndsAsSemiSeamless) {
  EXPECT_TRUE(migration_.AllowDoSeamless());
  migration_.OnSeamlessAnswer(false);
  migration_.OnSeamlessAnswer(true);  // the first one counts
  migration_.OnClientLinked();
  EXPECT_TRUE(migration_.is_seamless());
  migration_.OnSourceEnd();
  EXPECT_FALSE(migration_.is_seamless());
  EXPECT_EQ(migration_.phase(), Phase::kHandedOver);
  EXPECT_TRUE(migration_.MayTalk(kDisplay));
  EXPECT_FALSE(migration_.MayTalk(kMain));
  EXPECT_TRUE(migration_.AllowMigrateEnd());
  EXPECT_TRUE(migration_.MayTalk(kMain));
}

TEST_F(SeamlessTest, MigrateEndWaitsForTheAnswer) {
  EXPECT_TRUE(migration_.AllowDoSeamless());
  migration_.OnClientLinked();
  migration_.OnSourceEnd();
  EXPECT_FALSE(migration_.AllowMigrateEnd());
  migration_.OnSeamlessAnswer(false);
  EXPECT_TRUE(migration_.AllowMigrateEnd());
}

TEST(SemiSeamlessTest, GoesThrough) {
  Migration migration(MigrationKind::kSemiSeamless);
  EXPECT_FALSE(migration.AllowDoSeamless());
  migration.OnSourceEnd();
  EXPECT_EQ(migration.phase(), Phase::kLinking);
  migration.OnClientLinked();
  EXPECT_FALSE(migration.AllowMigrateEnd());
  EXPECT_FALSE(migration.MayTalk(kDisplay));
  migration.OnSourceEnd();
  EXPECT_EQ(migration.phase(), Phase::kHandedOver);
  EXPECT_TRUE(migration.MayTalk(kDisplay));
  EXPECT_FALSE(migration.MayTalk(kMain));
  EXPECT_TRUE(migration.AllowMigrateEnd());
  EXPECT_EQ(migration.phase(), Phase::kTaken);
  EXPECT_TRUE(migration.MayTalk(kMain));
  EXPECT_FALSE(migration.AllowMigrateEnd());
}

TEST(SemiSeamlessTest, MigrateHandsNothingOver) {
  Migration migration(MigrationKind::kSemiSeamless);
  migration.OnClientLinked();
  migration.OnSourceMigrate(kMain, 0);
  migration.OnSourceMigrate(kDisplay, 0);
  EXPECT_FALSE(migration.MayTalk(kDisplay));
  EXPECT_EQ(migration.phase(), Phase::kLinked);
  EXPECT_FALSE(migration.MayTalk(kMain));
}

TEST(SemiSeamlessTest, LinkedOnce) {
  Migration migration(MigrationKind::kSemiSeamless);
  migration.OnClientLinked();
  migration.OnSourceEnd();
  migration.OnClientLinked();
  EXPECT_EQ(migration.phase(), Phase::kHandedOver);
}

}  // namespace
}  // namespace spicegate
