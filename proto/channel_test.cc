// SPDX-License-Identifier: Apache-2.0
#include "proto/channel.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace spicegate::proto {
namespace {

TEST(ChannelTest, KnowsWhatAGatewayRelays) {
  const std::set<int> known = {1, 2, 3, 4, 5, 6, 8, 9, 10, 11};
  for (int type = 0; type < 256; ++type) {
    EXPECT_EQ(IsKnownChannelType(static_cast<uint8_t>(type)),
              known.count(type) == 1)
        << type;
    EXPECT_EQ(IsKnownChannelType(static_cast<ChannelType>(type)),
              known.count(type) == 1)
        << type;
  }
}

TEST(ChannelTest, NamesAreTheMetricLabels) {
  EXPECT_EQ(ChannelName(ChannelType::kMain), "main");
  EXPECT_EQ(ChannelName(ChannelType::kDisplay), "display");
  EXPECT_EQ(ChannelName(ChannelType::kInputs), "inputs");
  EXPECT_EQ(ChannelName(ChannelType::kCursor), "cursor");
  EXPECT_EQ(ChannelName(ChannelType::kPlayback), "playback");
  EXPECT_EQ(ChannelName(ChannelType::kRecord), "record");
  EXPECT_EQ(ChannelName(ChannelType::kSmartcard), "smartcard");
  EXPECT_EQ(ChannelName(ChannelType::kUsbredir), "usbredir");
  EXPECT_EQ(ChannelName(ChannelType::kPort), "port");
  EXPECT_EQ(ChannelName(ChannelType::kWebdav), "webdav");
}

TEST(ChannelTest, NameOfAnyByteIsBounded) {
  std::set<std::string> names;
  for (int type = 0; type < 256; ++type) {
    names.emplace(ChannelName(static_cast<ChannelType>(type)));
  }
  EXPECT_EQ(names.size(), kNumChannelTypes);
  EXPECT_EQ(ChannelName(static_cast<ChannelType>(0)), "unknown");
  EXPECT_EQ(ChannelName(static_cast<ChannelType>(255)), "unknown");
}

}  // namespace
}  // namespace spicegate::proto
