// SPDX-License-Identifier: Apache-2.0
// What real viewers said (proto/testdata) is never refused and passes as it
// is, wherever it is cut: desktops, and both kinds of migration.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "gateway/relay/guard_fixture.h"
#include "proto/common_channel.h"
#include "proto/display_channel.h"
#include "proto/messages.h"
#include "proto/test_capture.h"

namespace spicegate {
namespace {

using Buffer = std::vector<uint8_t>;
using Rules = std::vector<GuardRule>;
using proto::ChannelType;
using proto::Direction;

struct Place {
  const char* channel;
  ChannelType type;
};

constexpr Place kMainPlace = {"main_0", ChannelType::kMain};
constexpr Place kDisplayPlace = {"display_0", ChannelType::kDisplay};
constexpr Place kDesktop[] = {kMainPlace,
                              kDisplayPlace,
                              {"inputs_0", ChannelType::kInputs},
                              {"cursor_0", ChannelType::kCursor}};
constexpr Place kDevices[] = {{"playback_0", ChannelType::kPlayback},
                              {"record_0", ChannelType::kRecord},
                              {"port_0", ChannelType::kPort},
                              {"webdav_0", ChannelType::kWebdav},
                              {"usbredir_0", ChannelType::kUsbredir},
                              {"usbredir_1", ChannelType::kUsbredir}};

// A client's part of a channel, from where a guard sees it. The INIT of a fresh
// display goes to the server before there is a guard.
proto::Stream OpenClient(const std::string& capture, const Place& place,
                         bool fresh) {
  proto::Stream stream =
      proto::Open(capture, place.channel, Direction::kClientToServer);
  if (place.type == ChannelType::kDisplay && fresh) {
    const Buffer init =
        proto::TakeFront(stream.data, proto::DataHeaderLen(stream.kind) +
                                          proto::kDisplayInitLen);
    EXPECT_TRUE(IsGoodDisplayInit(std::span(init).last(14)));
    stream.messages.erase(stream.messages.begin());
  }
  return stream;
}

void ExpectPassesWhereverItIsCut(const std::string& capture, const Place& place,
                                 GuardMode mode) {
  SCOPED_TRACE(capture + '/' + place.channel);
  const proto::Stream stream = OpenClient(capture, place, true);
  for (size_t cut = 0; cut <= stream.data.size(); ++cut) {
    GuardedLeg leg(
        {.key = {place.type, 0}, .header_kind = stream.kind, .mode = mode});
    leg.runner.Feed(std::span(stream.data).first(cut));
    leg.runner.Feed(std::span(stream.data).subspan(cut));
    ASSERT_EQ(leg.runner.out(), stream.data) << cut;
    ASSERT_EQ(leg.host.rules, Rules{}) << cut;
  }
}

TEST(GuardCaptureTest, DesktopsPass) {
  for (const char* capture : {"agent", "all", "full_headers", "keys_and_mouse",
                              "switch_host/source"}) {
    for (const Place& place : kDesktop) {
      ExpectPassesWhereverItIsCut(capture, place, GuardMode::kEnforce);
    }
  }
}

TEST(GuardCaptureTest, DevicesPass) {
  for (const Place& place : kDevices) {
    ExpectPassesWhereverItIsCut("all", place, GuardMode::kEnforce);
    ExpectPassesWhereverItIsCut("all", place, GuardMode::kOff);
  }
}

// The captures have something to say.
TEST(GuardCaptureTest, DesktopsAreNotEmpty) {
  EXPECT_GT(OpenClient("all", kMainPlace, true).messages.size(), 2u);
  EXPECT_GT(OpenClient("agent", kMainPlace, true).messages.size(), 3u);
  EXPECT_GT(OpenClient("keys_and_mouse", kDesktop[2], true).messages.size(),
            5u);
  EXPECT_GT(OpenClient("all", kDevices[4], true).data.size(), 80u);
}

// One channel of a migration: both of its legs.
struct Moving {
  Moving(const std::string& capture, const Place& place, Migration& migration)
      : key{place.type, 0},
        to_source(OpenClient(capture + "/source", place, true)),
        to_target(OpenClient(capture + "/target", place, false)),
        from_source(proto::Open(capture + "/source", place.channel,
                                Direction::kServerToClient)),
        source({.key = key, .migration = &migration}),
        target({.key = key, .migration = &migration, .destination = true}) {}

  // The client's messages to the source up to FLUSH_MARK, or from there.
  Buffer ToSource(bool behind_flush) const {
    Buffer bytes;
    bool behind = false;
    for (const proto::Message& message : to_source.messages) {
      behind |= message.header.type == proto::kMsgcMigrateFlushMark;
      if (behind == behind_flush) {
        const Buffer encoded =
            ClientMessage(to_source.kind, message.header, message.body);
        bytes.insert(bytes.end(), encoded.begin(), encoded.end());
      }
    }
    return bytes;
  }

  const proto::ChannelKey key;
  const proto::Stream to_source;
  const proto::Stream to_target;
  const proto::Stream from_source;
  GuardedLeg source;
  GuardedLeg target;
};

std::vector<std::unique_ptr<Moving>> OpenAll(const std::string& capture,
                                             Migration& migration) {
  std::vector<std::unique_ptr<Moving>> all;
  for (const Place& place : kDesktop) {
    all.push_back(std::make_unique<Moving>(capture, place, migration));
  }
  return all;
}

// What the source said, step by step.
void TellMigrate(Migration& migration, const Moving& channel) {
  if (const auto* message =
          proto::Find(channel.from_source, proto::kMsgMigrate)) {
    migration.OnSourceMigrate(channel.key, *proto::ParseMigrate(message->body));
  }
}

void TellData(Migration& migration, const Moving& channel) {
  if (const auto* message =
          proto::Find(channel.from_source, proto::kMsgMigrateData)) {
    EXPECT_TRUE(
        migration.OnSourceDataBegins(channel.key, message->header.size));
    migration.OnSourceData(channel.key, message->body);
  }
}

TEST(GuardCaptureTest, SeamlessMigrationPasses) {
  Migration migration(MigrationKind::kSeamless);
  const auto all = OpenAll("seamless", migration);
  Moving& main = *all[0];
  const size_t do_seamless_len = proto::kMiniHeaderLen + 4;
  const auto to_target = std::span(main.to_target.data);
  EXPECT_TRUE(main.target.Passes(to_target.first(do_seamless_len)));
  migration.OnSeamlessAnswer(true);
  for (const auto& channel : all) {
    EXPECT_TRUE(channel->source.Passes(channel->ToSource(false)));
  }
  EXPECT_EQ(main.source.host.replies.size(), 1u);
  for (const auto& channel : all) {
    TellMigrate(migration, *channel);
    EXPECT_TRUE(channel->source.Passes(channel->ToSource(true)));
    TellData(migration, *channel);
  }
  EXPECT_EQ(main.target.host.takeovers, 0);
  EXPECT_TRUE(main.target.Passes(to_target.subspan(do_seamless_len)));
  EXPECT_EQ(main.target.host.takeovers, 1);
  for (size_t i = 1; i < all.size(); ++i) {
    EXPECT_TRUE(all[i]->target.Passes(all[i]->to_target.data)) << i;
  }
}

TEST(GuardCaptureTest, SemiSeamlessMigrationPasses) {
  Migration migration(MigrationKind::kSemiSeamless);
  const auto all = OpenAll("semi_seamless", migration);
  for (const auto& channel : all) {
    EXPECT_TRUE(channel->source.Passes(channel->to_source.data));
  }
  EXPECT_EQ(all[0]->source.host.replies.size(), 1u);
  migration.OnSourceEnd();
  EXPECT_TRUE(all[0]->target.Passes(all[0]->to_target.data));
  EXPECT_EQ(all[0]->target.host.takeovers, 1);
  Moving& display = *all[1];
  display.target.runner.Feed(display.to_target.data);
  EXPECT_EQ(display.target.host.inits, 1);
  display.target.guard.ReleaseAfterInit();
  display.target.runner.Unhold();
  EXPECT_EQ(display.target.runner.out(), display.to_target.data);
  EXPECT_EQ(display.target.host.rules, Rules{});
  EXPECT_TRUE(all[2]->target.Passes(all[2]->to_target.data));
  EXPECT_TRUE(all[3]->target.Passes(all[3]->to_target.data));
}

}  // namespace
}  // namespace spicegate
