// SPDX-License-Identifier: Apache-2.0
// The guard of a usbredir channel: what it cuts the messages' bodies into, and
// how that goes on at a migration's destination.
#include "gateway/relay/usbredir_guard.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "gateway/base/limits.h"
#include "gateway/relay/guard_fixture.h"
#include "gateway/relay/migration.h"
#include "proto/common_channel.h"
#include "proto/messages.h"
#include "proto/test_bytes.h"
#include "proto/wire.h"

namespace spicegate {
namespace {

using Buffer = std::vector<uint8_t>;
using Rules = std::vector<GuardRule>;
using Then = PumpFilter::Then;
using proto::ChannelKey;
using proto::ChannelType;
using proto::HeaderKind;
using proto::Join;
using proto::Prefix;

constexpr ChannelKey kUsb = {ChannelType::kUsbredir, 1};
constexpr ChannelKey kMain = {ChannelType::kMain, 0};
constexpr uint32_t kBothFlags =
    proto::kMigrateNeedFlush | proto::kMigrateNeedDataTransfer;
const Rules kUsbPacket = {GuardRule::kUsbPacket};

Buffer Of(uint16_t type, const Buffer& body = {}) {
  return ClientMessage(
      HeaderKind::kMini,
      {.type = type, .size = static_cast<uint32_t>(body.size())}, body);
}

Buffer Data(const Buffer& body) { return Of(proto::kMsgcSpicevmcData, body); }

// Type and length, then an id of 64 bits, or of 32 in a hello.
Buffer Packet(uint32_t type, const Buffer& body, size_t id_len = 8) {
  Buffer packet(8 + id_len);
  proto::StoreU32(packet.data(), type);
  proto::StoreU32(&packet[4], static_cast<uint32_t>(body.size()));
  return Join({packet, body});
}

Buffer HelloPacket() {
  Buffer body(proto::kUsbredirVersionLen + 4);
  body[proto::kUsbredirVersionLen] = 0xFF;
  return Packet(proto::kUsbredirHello, body, 4);
}

const Buffer kHello = Data(HelloPacket());
const Buffer kStatusPacket =
    Packet(proto::kUsbredirConfigurationStatus, {0, 1});
const Buffer kStatus = Data(kStatusPacket);
const Buffer kGarbage = Data(Buffer(100, 'x'));
const Buffer kFlushMark = Of(proto::kMsgcMigrateFlushMark);
const Buffer kBlob = {1, 2, 3, 4};
const Buffer kMigrateData = Of(proto::kMsgcMigrateData, kBlob);

// What a server says on the channel up to its hello.
Buffer ServerHello() {
  return Join({Of(proto::kMsgPing, Buffer(12)),
               Of(proto::kMsgSpicevmcData, HelloPacket())});
}

GuardContext Context(GuardMode mode = GuardMode::kEnforce) {
  return {.key = kUsb, .mode = mode};
}

// A leg whose server has said its hello, and whose client has.
struct OpenLeg : GuardedLeg {
  explicit OpenLeg(GuardContext context = Context()) : GuardedLeg(context) {
    guard.FromServer(ServerHello());
    runner.Feed(kHello);
  }
};

TEST(UsbredirGuardTest, PassesPackets) {
  OpenLeg leg;
  const Buffer sent =
      Join({kStatus, kStatus, Data(Join({kStatusPacket, kStatusPacket}))});
  leg.runner.Feed(sent);
  EXPECT_EQ(leg.runner.out(), Join({kHello, sent}));
  EXPECT_TRUE(leg.host.rules.empty());
}

TEST(UsbredirGuardTest, RefusesTheMessageOfABadPacket) {
  OpenLeg leg;
  const Buffer bad = Data(Join({kStatusPacket, Buffer(16, 'x')}));
  leg.runner.Feed(Join({kStatus, bad, kStatus}));
  EXPECT_EQ(leg.runner.out(), Join({kHello, kStatus}));
  EXPECT_EQ(leg.runner.then(), Then::kRefuse);
  EXPECT_EQ(leg.host.rules, kUsbPacket);
  EXPECT_EQ(leg.host.refused[0].type, proto::kMsgcSpicevmcData);
  EXPECT_EQ(leg.host.refused[0].size, kStatusPacket.size() + 16);
}

// The bad packet ends with byte `bad_at` of what is sent, and that byte must
// not go on. The pieces before it may.
TEST(UsbredirGuardTest, CutAnywhereTheBadByteNeverPasses) {
  const Buffer sent = Join({kHello, kStatus, Data(Buffer(16, 'x')), kStatus});
  const size_t bad_at = sent.size() - kStatus.size() - 16 + 15;
  for (size_t piece_len = 1; piece_len < sent.size(); ++piece_len) {
    GuardedLeg leg(Context());
    leg.guard.FromServer(ServerHello());
    for (size_t at = 0; at < sent.size(); at += piece_len) {
      leg.runner.Feed(Buffer(sent.begin() + static_cast<ptrdiff_t>(at),
                             sent.begin() + static_cast<ptrdiff_t>(std::min(
                                                at + piece_len, sent.size()))));
    }
    ASSERT_EQ(leg.runner.then(), Then::kRefuse) << piece_len;
    ASSERT_EQ(leg.host.rules, kUsbPacket) << piece_len;
    const Buffer& out = leg.runner.out();
    ASSERT_LE(out.size(), bad_at) << piece_len;
    ASSERT_EQ(out, Prefix(sent, out.size())) << piece_len;
  }
}

TEST(UsbredirGuardTest, PacketsMayBeginAndEndAnywhere) {
  const Buffer stream = Join({kStatusPacket, kStatusPacket, kStatusPacket});
  for (size_t len = 1; len < stream.size(); ++len) {
    OpenLeg leg;
    for (size_t at = 0; at < stream.size(); at += len) {
      const size_t part = std::min(len, stream.size() - at);
      leg.runner.Feed(
          Data({stream.begin() + static_cast<ptrdiff_t>(at),
                stream.begin() + static_cast<ptrdiff_t>(at + part)}));
    }
    EXPECT_EQ(leg.runner.then(), Then::kGoOn) << len;
    leg.runner.Feed(kGarbage);
    EXPECT_EQ(leg.host.rules, kUsbPacket) << len;
  }
}

TEST(UsbredirGuardTest, FollowsTheServerToItsHelloAndNoFurther) {
  const Buffer server = ServerHello();
  for (size_t at = 1; at < server.size(); ++at) {
    GuardedLeg leg(Context());
    ASSERT_TRUE(leg.guard.awaits_hello());
    ASSERT_TRUE(leg.guard.FromServer(Prefix(server, at))) << at;
    ASSERT_FALSE(
        leg.guard.FromServer(Join({std::span(server).subspan(at), kGarbage})));
    EXPECT_FALSE(leg.guard.awaits_hello());
    leg.runner.Feed(Join({kHello, kStatus}));
    EXPECT_TRUE(leg.host.rules.empty());
  }
}

TEST(UsbredirGuardTest, OnlyAHelloBeforeTheServers) {
  GuardedLeg leg(Context());
  leg.runner.Feed(kHello);
  EXPECT_EQ(leg.runner.out(), kHello);
  leg.runner.Feed(kStatus);
  EXPECT_EQ(leg.host.rules, kUsbPacket);
}

TEST(UsbredirGuardTest, CountsOnceAndPasses) {
  OpenLeg leg(Context(GuardMode::kCount));
  leg.runner.Feed(Join({kGarbage, kGarbage, kStatus}));
  EXPECT_EQ(leg.runner.out(), Join({kHello, kGarbage, kGarbage, kStatus}));
  EXPECT_EQ(leg.host.rules, kUsbPacket);
}

TEST(UsbredirGuardTest, OffLooksAtNothing) {
  GuardedLeg leg(Context(GuardMode::kOff));
  EXPECT_FALSE(leg.guard.awaits_hello());
  leg.runner.Feed(Join({kGarbage, kGarbage}));
  EXPECT_EQ(leg.runner.out(), Join({kGarbage, kGarbage}));
  EXPECT_TRUE(leg.host.rules.empty());
}

TEST(UsbredirGuardTest, OtherDevicesSayWhatTheyLike) {
  for (const ChannelType type : {ChannelType::kPort, ChannelType::kWebdav}) {
    GuardedLeg leg(GuardContext{.key = {type, 0}});
    EXPECT_FALSE(leg.guard.awaits_hello());
    leg.runner.Feed(kGarbage);
    EXPECT_EQ(leg.runner.out(), kGarbage);
  }
}

// ---- Migration ----

class MovingTest : public testing::Test {
 protected:
  std::unique_ptr<GuardedLeg> Destination() {
    GuardContext context = Context();
    context.migration = migration_.get();
    context.destination = true;
    return std::make_unique<GuardedLeg>(context);
  }

  void Announce(MigrationKind kind) {
    migration_ = std::make_unique<Migration>(kind);
    source_.guard.set_migration(migration_.get(), false);
    migration_->OnClientLinked();
  }

  // The source asks for flush mark and data, and gets and sends them.
  void LetGoSeamlessly(GuardedLeg& source) {
    migration_->OnSourceMigrate(kMain, kBothFlags);
    migration_->OnSourceMigrate(kUsb, kBothFlags);
    source.runner.Feed(kFlushMark);
    migration_->OnSourceDataBegins(kUsb, static_cast<uint32_t>(kBlob.size()));
    migration_->OnSourceData(kUsb, kBlob);
  }

  // Outlives the guards, as a channel's does.
  std::unique_ptr<Migration> migration_;
  OpenLeg source_;
};

const Buffer kHalf = Prefix(kStatusPacket, 9);
const Buffer kOtherHalf = {kStatusPacket.begin() + 9, kStatusPacket.end()};

TEST_F(MovingTest, SeamlesslyInTheMiddleOfAPacket) {
  Announce(MigrationKind::kSeamless);
  const auto destination = Destination();
  source_.runner.Feed(Data(kHalf));
  LetGoSeamlessly(source_);
  // What the source gets from now on is not taken along.
  source_.runner.Feed(Data(Prefix(kOtherHalf, 1)));
  destination->runner.Feed(Join({kMigrateData, Data(kOtherHalf), kStatus}));
  EXPECT_TRUE(destination->host.rules.empty());
  EXPECT_EQ(destination->runner.out(),
            Join({kMigrateData, Data(kOtherHalf), kStatus}));
  destination->runner.Feed(kGarbage);
  EXPECT_EQ(destination->host.rules, kUsbPacket);
}

TEST_F(MovingTest, ADestinationDoesNotBeginAgain) {
  Announce(MigrationKind::kSeamless);
  const auto destination = Destination();
  LetGoSeamlessly(source_);
  destination->runner.Feed(Join({kMigrateData, kHello}));
  EXPECT_EQ(destination->host.rules, kUsbPacket);
}

TEST_F(MovingTest, AndOnToTheNext) {
  Announce(MigrationKind::kSeamless);
  const auto middle = Destination();
  LetGoSeamlessly(source_);
  middle->runner.Feed(Join({kMigrateData, Data(kHalf)}));
  migration_ = std::make_unique<Migration>(MigrationKind::kSeamless);
  middle->guard.set_migration(migration_.get(), false);
  migration_->OnClientLinked();
  const auto last = Destination();
  LetGoSeamlessly(*middle);
  last->runner.Feed(Join({kMigrateData, Data(kOtherHalf), kStatus}));
  EXPECT_TRUE(last->host.rules.empty());
}

TEST_F(MovingTest, SemiSeamlesslyWithANewStream) {
  Announce(MigrationKind::kSemiSeamless);
  const auto destination = Destination();
  EXPECT_TRUE(destination->guard.awaits_hello());
  source_.runner.Feed(Data(kHalf));
  migration_->OnSourceEnd();
  destination->guard.FromServer(ServerHello());
  destination->runner.Feed(Join({kHello, kStatus}));
  EXPECT_TRUE(destination->host.rules.empty());
  EXPECT_EQ(destination->runner.out(), Join({kHello, kStatus}));
  destination->runner.Feed(kGarbage);
  EXPECT_EQ(destination->host.rules, kUsbPacket);
}

TEST_F(MovingTest, NotSemiSeamlesslyWithTheOldStream) {
  Announce(MigrationKind::kSemiSeamless);
  const auto destination = Destination();
  migration_->OnSourceEnd();
  destination->guard.FromServer(ServerHello());
  destination->runner.Feed(kStatus);
  EXPECT_EQ(destination->host.rules, kUsbPacket);
}

// Before its hello nobody knows whether the server's parser is a new one, and
// viewers do not wait for it.
TEST_F(MovingTest, SemiSeamlesslyTheServerBegins) {
  Announce(MigrationKind::kSemiSeamless);
  const auto destination = Destination();
  migration_->OnSourceEnd();
  destination->runner.Feed(Join({kHello, kStatus}));
  EXPECT_EQ(destination->runner.then(), Then::kHold);
  EXPECT_TRUE(destination->runner.out().empty());
  destination->guard.FromServer(ServerHello());
  destination->runner.Unhold();
  EXPECT_EQ(destination->runner.out(), Join({kHello, kStatus}));
  EXPECT_TRUE(destination->host.rules.empty());
}

TEST_F(MovingTest, NotWithAServerThatBeginsWithSomethingElse) {
  Announce(MigrationKind::kSemiSeamless);
  const auto destination = Destination();
  migration_->OnSourceEnd();
  destination->guard.FromServer(Of(proto::kMsgSpicevmcData, Buffer(100, 'x')));
  destination->runner.Feed(kHello);
  EXPECT_EQ(destination->host.rules, kUsbPacket);
}

// A destination that refused to take it seamlessly.
TEST_F(MovingTest, RefusedSeamlessOnesBeginAnew) {
  Announce(MigrationKind::kSeamless);
  const auto destination = Destination();
  migration_->OnSeamlessAnswer(false);
  migration_->OnSourceEnd();
  destination->guard.FromServer(ServerHello());
  destination->runner.Feed(Join({kHello, kStatus}));
  EXPECT_TRUE(destination->host.rules.empty());
  EXPECT_EQ(destination->runner.out(), Join({kHello, kStatus}));
}

TEST_F(MovingTest, AndOnFromANewStream) {
  Announce(MigrationKind::kSemiSeamless);
  const auto middle = Destination();
  migration_->OnSourceEnd();
  middle->guard.FromServer(ServerHello());
  // Announced before the client has said a word there.
  const std::unique_ptr<Migration> first = std::move(migration_);
  migration_ = std::make_unique<Migration>(MigrationKind::kSeamless);
  middle->guard.set_migration(migration_.get(), false);
  middle->runner.Feed(Join({kHello, Data(kHalf)}));
  migration_->OnClientLinked();
  const auto last = Destination();
  LetGoSeamlessly(*middle);
  last->runner.Feed(Join({kMigrateData, Data(kOtherHalf), kStatus}));
  EXPECT_TRUE(last->host.rules.empty());
}

// What a server says later in the stream is none of its hello.
TEST_F(MovingTest, SeamlesslyTheServersCapabilitiesStay) {
  Announce(MigrationKind::kSeamless);
  const auto destination = Destination();
  destination->guard.FromServer(
      Of(proto::kMsgSpicevmcData, Packet(0, Buffer(68), 4)));
  LetGoSeamlessly(source_);
  destination->runner.Feed(Join({kMigrateData, kStatus, kStatus}));
  EXPECT_TRUE(destination->host.rules.empty());
}

// Only if nobody guards the source, whose stream is then unknown.
TEST_F(MovingTest, NotFromAChannelThatIsUnknown) {
  migration_ = std::make_unique<Migration>(MigrationKind::kSeamless);
  GuardedLeg source(Context(GuardMode::kOff));
  source.guard.set_migration(migration_.get(), false);
  migration_->OnClientLinked();
  const auto destination = Destination();
  LetGoSeamlessly(source);
  destination->runner.Feed(kMigrateData);
  EXPECT_TRUE(destination->host.rules.empty());
  destination->runner.Feed(kHello);
  EXPECT_EQ(destination->host.rules, kUsbPacket);
}

TEST_F(MovingTest, AMigrationThatIsCalledOffChangesNothing) {
  Announce(MigrationKind::kSeamless);
  source_.runner.Feed(Data(kHalf));
  source_.guard.set_migration(nullptr, false);
  migration_.reset();
  source_.runner.Feed(Join({Data(kOtherHalf), kStatus}));
  EXPECT_TRUE(source_.host.rules.empty());
}

}  // namespace
}  // namespace spicegate
