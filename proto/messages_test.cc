// SPDX-License-Identifier: Apache-2.0
#include "proto/messages.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace spicegate::proto {
namespace {

constexpr Direction kToServer = Direction::kClientToServer;
constexpr Direction kToClient = Direction::kServerToClient;

// All ids a channel knows in one direction.
std::set<int> Known(ChannelType channel, Direction direction) {
  std::set<int> ids;
  for (int id = 0; id <= 0xffff; ++id) {
    if (IsKnownMessage(channel, direction, static_cast<uint16_t>(id))) {
      ids.insert(id);
    }
  }
  return ids;
}

// The common ids of a direction, then the ranges given as first, last.
std::set<int> Ids(Direction direction,
                  std::initializer_list<std::pair<int, int>> ranges) {
  std::set<int> ids;
  for (int id = 1; id <= (direction == kToClient ? 8 : 6); ++id) {
    ids.insert(id);
  }
  for (const auto& [first, last] : ranges) {
    for (int id = first; id <= last; ++id) {
      ids.insert(id);
    }
  }
  return ids;
}

TEST(MessagesTest, ServerSets) {
  const Direction d = kToClient;
  EXPECT_EQ(Known(ChannelType::kMain, d), Ids(d, {{101, 118}}));
  EXPECT_EQ(Known(ChannelType::kDisplay, d),
            Ids(d, {{101, 108}, {122, 126}, {302, 323}}));
  EXPECT_EQ(Known(ChannelType::kInputs, d), Ids(d, {{101, 102}, {111, 111}}));
  EXPECT_EQ(Known(ChannelType::kCursor, d), Ids(d, {{101, 108}}));
  EXPECT_EQ(Known(ChannelType::kPlayback, d), Ids(d, {{101, 107}}));
  EXPECT_EQ(Known(ChannelType::kRecord, d), Ids(d, {{101, 104}}));
  EXPECT_EQ(Known(ChannelType::kSmartcard, d), Ids(d, {{101, 101}}));
  EXPECT_EQ(Known(ChannelType::kUsbredir, d), Ids(d, {{101, 102}}));
  EXPECT_EQ(Known(ChannelType::kPort, d), Ids(d, {{101, 102}, {201, 202}}));
  EXPECT_EQ(Known(ChannelType::kWebdav, d), Ids(d, {{101, 102}, {201, 202}}));
}

TEST(MessagesTest, ClientSets) {
  const Direction d = kToServer;
  EXPECT_EQ(Known(ChannelType::kMain, d), Ids(d, {{101, 112}}));
  EXPECT_EQ(Known(ChannelType::kDisplay, d), Ids(d, {{101, 105}}));
  EXPECT_EQ(Known(ChannelType::kInputs, d), Ids(d, {{101, 104}, {111, 114}}));
  EXPECT_EQ(Known(ChannelType::kCursor, d), Ids(d, {}));
  EXPECT_EQ(Known(ChannelType::kPlayback, d), Ids(d, {}));
  EXPECT_EQ(Known(ChannelType::kRecord, d), Ids(d, {{101, 103}}));
  EXPECT_EQ(Known(ChannelType::kSmartcard, d), Ids(d, {{101, 101}}));
  EXPECT_EQ(Known(ChannelType::kUsbredir, d), Ids(d, {{101, 102}}));
  EXPECT_EQ(Known(ChannelType::kPort, d), Ids(d, {{101, 102}, {201, 201}}));
  EXPECT_EQ(Known(ChannelType::kWebdav, d), Ids(d, {{101, 102}, {201, 201}}));
}

TEST(MessagesTest, UnknownTypesHaveTheCommonOnes) {
  for (const int type : {0, 7, 12, 255}) {
    const auto channel = static_cast<ChannelType>(type);
    EXPECT_EQ(Known(channel, kToClient), Ids(kToClient, {}));
    EXPECT_EQ(Known(channel, kToServer), Ids(kToServer, {}));
  }
}

TEST(MessagesTest, DirectionDecides) {
  EXPECT_EQ(MessageName(ChannelType::kMain, kToClient, 107),
            "main_agent_connected");
  EXPECT_EQ(MessageName(ChannelType::kMain, kToServer, 107), "main_agent_data");
  EXPECT_EQ(MessageName(ChannelType::kCursor, kToClient, 4), "ping");
  EXPECT_EQ(MessageName(ChannelType::kCursor, kToServer, 4),
            "migrate_flush_mark");
  EXPECT_EQ(MessageName(ChannelType::kDisplay, kToClient, 304),
            "display_draw_copy");
  EXPECT_EQ(MessageName(ChannelType::kWebdav, kToClient, 201), "port_init");
  EXPECT_EQ(MessageName(ChannelType::kMain, kToClient, 100), "unknown");
}

TEST(MessagesTest, NamesOfADirectionDiffer) {
  for (int type = 1; type < 12; ++type) {
    for (const Direction direction : {kToServer, kToClient}) {
      const auto channel = static_cast<ChannelType>(type);
      std::set<std::string> names;
      const std::set<int> ids = Known(channel, direction);
      for (const int id : ids) {
        names.emplace(
            MessageName(channel, direction, static_cast<uint16_t>(id)));
      }
      EXPECT_EQ(names.size(), ids.size()) << type;
    }
  }
}

}  // namespace
}  // namespace spicegate::proto
