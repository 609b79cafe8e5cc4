// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/migration_watch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gateway/base/limits.h"
#include "gateway/relay/filter_runner.h"
#include "proto/common_channel.h"
#include "proto/messages.h"
#include "proto/test_bytes.h"
#include "proto/wire.h"

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;
using proto::FromHex;
using proto::HeaderKind;
using proto::Join;

using Buffer = std::vector<uint8_t>;

constexpr ChannelKey kDisplay = {ChannelType::kDisplay, 0};
constexpr uint32_t kFlush = proto::kMigrateNeedFlush;
constexpr uint32_t kData = proto::kMigrateNeedDataTransfer;

Buffer Message(HeaderKind kind, uint16_t type, const Buffer& body,
               uint64_t serial = 0x0807060504030201) {
  Buffer header(proto::DataHeaderLen(kind));
  proto::EncodeDataHeader(kind,
                          {.type = type,
                           .size = static_cast<uint32_t>(body.size()),
                           .serial = serial},
                          header);
  return Join({header, body});
}

Buffer Migrate(HeaderKind kind, uint32_t flags) {
  Buffer body(4);
  proto::StoreU32(body.data(), flags);
  return Message(kind, proto::kMsgMigrate, body);
}

Buffer Data(HeaderKind kind, const Buffer& body) {
  return Message(kind, proto::kMsgMigrateData, body);
}

// What the migration has learned of the display.
struct Learned {
  bool flush = false;
  std::optional<uint32_t> data_len = std::nullopt;
  bool data_as_expected = false;

  bool operator==(const Learned&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Learned& learned) {
  return out << "flush " << learned.flush << ", data "
             << (learned.data_len ? int64_t{*learned.data_len} : -1)
             << (learned.data_as_expected ? " as expected" : "");
}

// One that listens to a display in pieces, as its channel has it done.
template <typename Filter>
class Listening;

template <>
class Listening<MigrationWatch> {
 public:
  explicit Listening(HeaderKind kind) : filter(&migration, kDisplay, kind) {
    migration.OnClientLinked();
  }
  Migration migration{MigrationKind::kSeamless};
  MigrationWatch filter;
};

template <>
class Listening<ServerFollower> {
 public:
  explicit Listening(HeaderKind kind) : filter(kDisplay, kind) {
    migration.OnClientLinked();
    filter.set_migration(&migration);
  }
  Migration migration{MigrationKind::kSeamless};
  ServerFollower filter;
};

template <typename Filter>
Learned ListenTo(HeaderKind kind, const std::vector<Buffer>& pieces,
                 const Buffer& expected_data) {
  Listening<Filter> listening(kind);
  // Data is believed behind FLUSH_MARK: here it has passed before.
  Listening<Filter> flushed(kind);
  flushed.migration.OnSourceMigrate(kDisplay, kFlush);
  EXPECT_TRUE(flushed.migration.AllowFlushMark(kDisplay));
  FilterRunner runner(&listening.filter);
  FilterRunner flushed_runner(&flushed.filter);
  Buffer all;
  for (const Buffer& piece : pieces) {
    runner.Feed(piece);
    flushed_runner.Feed(piece);
    all = Join({all, piece});
  }
  EXPECT_EQ(proto::ToHex(runner.out()), proto::ToHex(all));
  EXPECT_EQ(runner.then(), PumpFilter::Then::kGoOn);
  Learned learned;
  learned.data_len = flushed.migration.ExpectedDataLen(kDisplay);
  learned.data_as_expected =
      flushed.migration.AllowData(kDisplay, expected_data);
  learned.flush = learned.data_len.has_value() ||
                  listening.migration.AllowFlushMark(kDisplay);
  return learned;
}

// What it learns from the whole at once, after showing that no cut changes it.
template <typename Filter>
Learned Hear(HeaderKind kind, const Buffer& stream,
             const Buffer& expected_data = {}) {
  const Learned whole = ListenTo<Filter>(kind, {stream}, expected_data);
  for (size_t cut = 1; cut < stream.size(); ++cut) {
    const auto middle = stream.begin() + static_cast<ptrdiff_t>(cut);
    EXPECT_EQ(ListenTo<Filter>(
                  kind, {{stream.begin(), middle}, {middle, stream.end()}},
                  expected_data),
              whole)
        << "cut at " << cut;
  }
  std::vector<Buffer> bytes;
  for (const uint8_t byte : stream) {
    bytes.push_back({byte});
  }
  EXPECT_EQ(ListenTo<Filter>(kind, bytes, expected_data), whole);
  return whole;
}

constexpr Learned kNothing = {};

class WatchTest : public testing::TestWithParam<HeaderKind> {
 protected:
  HeaderKind kind() const { return GetParam(); }
  Buffer Migrate(uint32_t flags) const {
    return spicegate::Migrate(kind(), flags);
  }
  Buffer Data(const Buffer& body) const {
    return spicegate::Data(kind(), body);
  }
  Learned Watch(const Buffer& stream, const Buffer& expected_data = {}) const {
    return Hear<MigrationWatch>(kind(), stream, expected_data);
  }
  // MIGRATE from its type on, as far as it says nothing else.
  Buffer Pattern() const {
    return kind() == HeaderKind::kMini ? FromHex("0100 04000000")
                                       : FromHex("0100 04000000 00000000");
  }
};

INSTANTIATE_TEST_SUITE_P(BothHeaders, WatchTest,
                         testing::Values(HeaderKind::kMini, HeaderKind::kFull),
                         [](const auto& info) {
                           return info.param == HeaderKind::kMini ? "Mini"
                                                                  : "Full";
                         });

TEST_P(WatchTest, FindsMigrateAmidstWhatItDoesNotKnow) {
  // The tail of a message that nobody has seen the head of.
  const Buffer before = FromHex("ff 01 00 e5 0100 0400 2a");
  for (const uint32_t flags : {0u, kFlush, kData, kFlush | kData}) {
    EXPECT_EQ(Watch(Join({before, Migrate(flags)})),
              (Learned{.flush = (flags & kFlush) != 0}));
  }
}

TEST_P(WatchTest, CapturesTheDataWhole) {
  const Buffer data = FromHex("4d444953 01000000 0100 0200 03 04 05");
  EXPECT_EQ(
      Watch(Join({FromHex("0123"), Migrate(kFlush | kData), Data(data)}), data),
      (Learned{true, 15, true}));
}

TEST_P(WatchTest, CapturesEmptyData) {
  EXPECT_EQ(Watch(Join({Migrate(kFlush | kData), Data({})})),
            (Learned{true, 0, true}));
}

TEST_P(WatchTest, DataThatIsCutOffIsNone) {
  Buffer stream = Join({Migrate(kFlush | kData), Data(FromHex("010203"))});
  stream.pop_back();
  EXPECT_EQ(Watch(stream), (Learned{.flush = true}));
}

TEST_P(WatchTest, WhatMigrateDidNotAnnounceIsNoData) {
  EXPECT_EQ(Watch(Join({Migrate(kFlush), Data(FromHex("010203"))})),
            (Learned{.flush = true}));
}

TEST_P(WatchTest, DataWithoutMigrateIsNothing) {
  EXPECT_EQ(Watch(Data(FromHex("010203"))), kNothing);
}

TEST_P(WatchTest, MessagesMayComeBetweenMigrateAndItsData) {
  const Buffer data = FromHex("aabb");
  EXPECT_EQ(
      Watch(Join({Migrate(kFlush | kData),
                  Message(kind(), proto::kMsgPing, Buffer(12, 0xee)),
                  Message(kind(), proto::kMsgDisplayMark, {}), Data(data)}),
            data),
      (Learned{true, 2, true}));
}

TEST_P(WatchTest, WhatLooksLikeMigrateInsideTheDataIsData) {
  const Buffer data = Join({FromHex("77"), Migrate(0), Pattern(), Pattern()});
  EXPECT_EQ(Watch(Join({Migrate(kFlush | kData), Data(data)}), data),
            (Learned{true, static_cast<uint32_t>(data.size()), true}));
}

TEST_P(WatchTest, SearchesAgainBehindTheData) {
  // The first match was a picture's, which went on to look like data; flags
  // count until data begins, and what is captured is kept.
  const Buffer stream = Join({Migrate(kData), Data(FromHex("01")),
                              Migrate(kFlush | kData), Data(FromHex("0203"))});
  EXPECT_EQ(Watch(stream, FromHex("01")), (Learned{true, 1, true}));
}

TEST_P(WatchTest, PassesOverPrefixes) {
  // Fronts of the pattern that break off, each before the real one.
  const Buffer whole = Join({Pattern(), FromHex("01000000")});
  for (size_t len = 1; len < whole.size(); ++len) {
    const Buffer front = proto::Prefix(whole, len);
    SCOPED_TRACE("behind " + std::to_string(len) + " bytes of it");
    EXPECT_EQ(Watch(Join({front, FromHex("ee"), Migrate(kFlush)})),
              (Learned{.flush = true}));
    // And where the front runs into the real one.
    const Buffer real = Join({Pattern(), FromHex("03000000")});
    EXPECT_EQ(Watch(Join({front, real})), (Learned{.flush = true}));
    EXPECT_EQ(Watch(Join({front, front, real})), (Learned{.flush = true}));
  }
}

TEST_P(WatchTest, FlagsMayBeTheFrontOfTheRealOne) {
  const Buffer pattern = Pattern();
  const Buffer real = Join({pattern, FromHex("03000000")});
  // 01 00 04 00 00 00 [01 00 04 00 00 00 03 00 00 00], twice over as well.
  EXPECT_EQ(Watch(Join({pattern, real})), (Learned{.flush = true}));
  EXPECT_EQ(Watch(Join({pattern, pattern, real})), (Learned{.flush = true}));
  EXPECT_EQ(Watch(Join({pattern, FromHex("01"), real})),
            (Learned{.flush = true}));
  EXPECT_EQ(Watch(Join({pattern, FromHex("0100"), real})),
            (Learned{.flush = true}));
  EXPECT_EQ(Watch(Join({pattern, FromHex("010000"), real})),
            (Learned{.flush = true}));
}

TEST_P(WatchTest, OtherFlagsAreNoMigrate) {
  for (const char* flags : {"04000000", "05000000", "ff000000", "01000001",
                            "01000100", "01010000", "00000001"}) {
    EXPECT_EQ(Watch(Join({Pattern(), FromHex(flags), FromHex("0000")})),
              kNothing)
        << flags;
  }
}

TEST_P(WatchTest, AFalseMatchDoesNotHideTheRealOne) {
  const Buffer data = FromHex("00112233");
  const Buffer real = Join({Migrate(kFlush | kData), Data(data)});
  const Buffer false_match = Join({Pattern(), FromHex("00000000")});
  const Learned expected = {true, 4, true};
  EXPECT_EQ(Watch(Join({false_match, real}), data), expected);
  // Behind bytes that are no header, of every length that may cut one.
  for (size_t len = 0; len < 40; ++len) {
    EXPECT_EQ(Watch(Join({false_match, Buffer(len, 0xee), real}), data),
              expected)
        << len;
  }
  // Behind bytes that look like a message, which would swallow it.
  Buffer swallows = Message(kind(), proto::kMsgDisplayDrawCopy, {});
  const size_t size_at = kind() == HeaderKind::kMini ? 2 : 10;
  proto::StoreU32(swallows.data() + size_at, 1000);
  EXPECT_EQ(Watch(Join({false_match, swallows, real}), data), expected);
  EXPECT_EQ(Watch(Join({false_match, swallows, FromHex("01"), real}), data),
            expected);
  // Behind what looks like data that was not announced.
  EXPECT_EQ(Watch(Join({false_match, Data(FromHex("010203")), real}), data),
            expected);
  // Behind the type of such data, so that the real one begins in its header.
  const Buffer serial(proto::DataHeaderLen(kind()) == 6 ? 0 : 8, 0xee);
  EXPECT_EQ(Watch(Join({false_match, serial, FromHex("0200"), Pattern(),
                        FromHex("03000000"), Data(data)}),
                  data),
            expected);
  // The header behind the match is itself the front of the real one.
  EXPECT_EQ(Watch(Join({false_match, false_match, real}), data), expected);
}

TEST_P(WatchTest, DataBehindWhatCannotBeMessagesIsNone) {
  const Buffer no_header = Message(kind(), 0xeeee, {});
  EXPECT_EQ(
      Watch(Join({Migrate(kFlush | kData), no_header, Data(FromHex("01"))})),
      (Learned{.flush = true}));
}

TEST_P(WatchTest, MoreDataThanThereMayBeIsNotKept) {
  Listening<MigrationWatch> listening(kind());
  FilterRunner runner(&listening.filter);
  runner.Feed(Migrate(kFlush | kData));
  Buffer header = Message(kind(), proto::kMsgMigrateData, {});
  const size_t size_at = kind() == HeaderKind::kMini ? 2 : 10;
  proto::StoreU32(header.data() + size_at,
                  static_cast<uint32_t>(kMaxMigrationDataBytes + 1));
  runner.Feed(header);
  runner.Feed(Buffer(kMaxMigrationDataBytes + 1, 0));
  EXPECT_EQ(listening.migration.ExpectedDataLen(kDisplay), std::nullopt);
  EXPECT_EQ(runner.out().size(),
            Migrate(0).size() + header.size() + kMaxMigrationDataBytes + 1);
}

TEST_P(WatchTest, ALargeFloodPassesInOneStep) {
  Listening<MigrationWatch> listening(kind());
  FilterRunner runner(&listening.filter);
  runner.Feed(Buffer(64 * 1024, 1));
  runner.Feed(Buffer(64 * 1024, 0));
  EXPECT_EQ(runner.num_steps(), 2u);
  EXPECT_EQ(runner.out().size(), 128u * 1024);
}

class FollowerTest : public WatchTest {
 protected:
  Learned Follow(const Buffer& stream, const Buffer& expected_data = {}) const {
    return Hear<ServerFollower>(kind(), stream, expected_data);
  }
};

INSTANTIATE_TEST_SUITE_P(BothHeaders, FollowerTest,
                         testing::Values(HeaderKind::kMini, HeaderKind::kFull),
                         [](const auto& info) {
                           return info.param == HeaderKind::kMini ? "Mini"
                                                                  : "Full";
                         });

TEST_P(FollowerTest, FindsMigrateAndItsData) {
  const Buffer data = FromHex("5652414d 01000000 2a00");
  EXPECT_EQ(
      Follow(
          Join({Message(kind(), proto::kMsgInputsKeyModifiers, FromHex("0700")),
                Migrate(kFlush | kData), Data(data)}),
          data),
      (Learned{true, 10, true}));
  EXPECT_EQ(Follow(Migrate(0)), kNothing);
  EXPECT_EQ(Follow(Migrate(kFlush)), (Learned{.flush = true}));
}

TEST_P(FollowerTest, IsNotDeceivedByBodies) {
  const Buffer body = Join({Migrate(kFlush | kData), Data(FromHex("01"))});
  EXPECT_EQ(Follow(Message(kind(), proto::kMsgNotify, body)), kNothing);
}

TEST_P(FollowerTest, LetsAMigrateOfAnotherLengthPass) {
  EXPECT_EQ(Follow(Message(kind(), proto::kMsgMigrate, FromHex("0100"))),
            kNothing);
  EXPECT_EQ(Follow(Message(kind(), proto::kMsgMigrate, FromHex("0300000000"))),
            kNothing);
}

TEST_P(FollowerTest, DataThatWasNotAnnouncedIsNotKept) {
  EXPECT_EQ(Follow(Data(FromHex("0102"))), kNothing);
}

TEST_P(FollowerTest, ListensOnlyWhileAMigrationIsPending) {
  Listening<ServerFollower> listening(kind());
  FilterRunner runner(&listening.filter);
  listening.filter.set_migration(nullptr);
  runner.Feed(Migrate(kFlush | kData));
  EXPECT_FALSE(listening.migration.AllowFlushMark(kDisplay));
  listening.filter.set_migration(&listening.migration);
  runner.Feed(Migrate(kFlush | kData));
  EXPECT_TRUE(listening.migration.AllowFlushMark(kDisplay));
  EXPECT_EQ(runner.out().size(), 2 * Migrate(0).size());
}

TEST_P(FollowerTest, PutsOwnMessagesBetweenTheOthers) {
  Listening<ServerFollower> listening(kind());
  FilterRunner runner(&listening.filter);
  const Buffer message = Migrate(kFlush);
  runner.Feed(std::span(message).first(message.size() - 1));
  listening.filter.Insert(proto::kMsgInputsMouseMotionAck, {});
  runner.Run();
  runner.Feed(std::span(message).last(1));
  const Buffer ack = Message(kind(), proto::kMsgInputsMouseMotionAck, {});
  // Before or behind it, never inside.
  EXPECT_TRUE(std::ranges::equal(runner.out(), Join({message, ack})) ||
              std::ranges::equal(runner.out(), Join({ack, message})))
      << proto::ToHex(runner.out());
  EXPECT_TRUE(listening.migration.AllowFlushMark(kDisplay));
}

}  // namespace
}  // namespace spicegate
