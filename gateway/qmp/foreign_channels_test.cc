// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/foreign_channels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace spicegate {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;
using Family = QmpAddress::Family;

constexpr int64_t kJudgeMs = ForeignChannels::kJudgeAfterMs;

QmpChannel Channel(const std::string& host, int port, int id = 0,
                   Family family = Family::kIpv4) {
  QmpChannel channel;
  channel.peer = {family, host, std::to_string(port)};
  channel.channel_type = 2;
  channel.channel_id = id;
  channel.connection_id = 77;
  return channel;
}

class ForeignChannelsTest : public ::testing::Test {
 protected:
  std::vector<ForeignChannels::Foreign> Judge(int64_t now_ms) {
    return channels_.Judge(now_ms,
                           [this](const std::string& host, uint16_t port) {
                             ++num_asked_;
                             return ours_.contains({host, port});
                           });
  }

  ForeignChannels channels_;
  std::set<std::pair<std::string, uint16_t>> ours_;
  int num_asked_ = 0;
};

TEST_F(ForeignChannelsTest, AChannelIsJudgedASecondAfterItWasSeen) {
  EXPECT_EQ(channels_.deadline_ms(), INT64_MAX);
  channels_.Opened(Channel("192.0.2.1", 4001), 5'000);
  EXPECT_EQ(channels_.deadline_ms(), 5'000 + kJudgeMs);
  EXPECT_THAT(Judge(5'000 + kJudgeMs - 1), IsEmpty());
  EXPECT_EQ(num_asked_, 0);
  const auto foreign = Judge(5'000 + kJudgeMs);
  ASSERT_THAT(foreign, SizeIs(1));
  EXPECT_EQ(foreign[0].host, "192.0.2.1");
  EXPECT_EQ(foreign[0].port, 4001);
  EXPECT_EQ(foreign[0].channel_type, 2);
  EXPECT_EQ(channels_.deadline_ms(), INT64_MAX);
}

TEST_F(ForeignChannelsTest, OursAreNotForeign) {
  ours_.insert({"127.0.0.1", 4001});
  channels_.Listed({Channel("127.0.0.1", 4001), Channel("127.0.0.1", 4002)}, 0);
  const auto foreign = Judge(kJudgeMs);
  ASSERT_THAT(foreign, SizeIs(1));
  EXPECT_EQ(foreign[0].port, 4002);
}

TEST_F(ForeignChannelsTest, EachIsJudgedOnceHoweverOftenItIsToldOf) {
  const QmpChannel channel = Channel("192.0.2.1", 4001);
  channels_.Opened(channel, 0);
  channels_.Listed({channel}, 10);
  EXPECT_THAT(Judge(kJudgeMs), SizeIs(1));
  channels_.Opened(channel, 2'000);
  channels_.Listed({channel}, 30'000);
  EXPECT_THAT(Judge(60'000), IsEmpty());
  EXPECT_EQ(num_asked_, 1);
}

TEST_F(ForeignChannelsTest, AnotherConnectionFromTheSamePortIsAnother) {
  const QmpChannel channel = Channel("192.0.2.1", 4001);
  channels_.Opened(channel, 0);
  EXPECT_THAT(Judge(kJudgeMs), SizeIs(1));
  channels_.Closed(channel.peer);
  EXPECT_EQ(channels_.num_open(), 0u);
  channels_.Opened(channel, 2'000);
  EXPECT_THAT(Judge(2'000 + kJudgeMs), SizeIs(1));
  QmpChannel next = channel;
  next.connection_id = 78;
  channels_.Listed({next}, 4'000);
  EXPECT_EQ(channels_.num_open(), 1u);
  EXPECT_THAT(Judge(4'000 + kJudgeMs), SizeIs(1));
}

TEST_F(ForeignChannelsTest, WhatClosesBeforeItIsJudgedIsJudgedAllTheSame) {
  channels_.Opened(Channel("192.0.2.1", 4001), 0);
  channels_.Opened(Channel("192.0.2.1", 4002), 0);
  channels_.Closed(Channel("192.0.2.1", 4001).peer);
  channels_.Listed({}, 500);
  EXPECT_EQ(channels_.num_open(), 0u);
  EXPECT_THAT(Judge(kJudgeMs), SizeIs(2));
}

TEST_F(ForeignChannelsTest, Ipv4IsTheSameInIpv6) {
  ours_.insert({"127.0.0.1", 4001});
  channels_.Opened(Channel("::ffff:127.0.0.1", 4001, 0, Family::kIpv6), 0);
  channels_.Opened(Channel("::1", 4001, 0, Family::kIpv6), 0);
  const auto foreign = Judge(kJudgeMs);
  ASSERT_THAT(foreign, SizeIs(1));
  EXPECT_EQ(foreign[0].host, "::1");
}

TEST_F(ForeignChannelsTest, PeersOnUnixSocketsAreOpenAndNeverJudged) {
  QmpChannel channel = Channel("localhost", 0, 0, Family::kUnix);
  channel.peer.port = "";
  channels_.Listed({channel, channel}, 0);
  channels_.Opened(channel, 0);
  EXPECT_EQ(channels_.num_open(), 2u);
  EXPECT_THAT(Judge(1'000'000), IsEmpty());
  EXPECT_EQ(num_asked_, 0);
  channels_.Closed(channel.peer);
  channels_.Listed({}, 0);
  EXPECT_EQ(channels_.num_open(), 0u);
}

TEST_F(ForeignChannelsTest, APortThatIsNoneIsPassedOver) {
  for (const char* port : {"", "0", "x", "4001x", "65536", "-1"}) {
    QmpChannel channel = Channel("192.0.2.1", 1);
    channel.peer.port = port;
    channels_.Opened(channel, 0);
  }
  EXPECT_THAT(Judge(1'000'000), IsEmpty());
}

TEST_F(ForeignChannelsTest, AnInventiveServerDoesNotFillTheMemory) {
  for (int i = 0; i < 3 * static_cast<int>(ForeignChannels::kMaxChannels);
       ++i) {
    channels_.Opened(Channel("192.0.2.1", 1 + i % 60'000, i), 0);
  }
  EXPECT_EQ(channels_.num_open(), ForeignChannels::kMaxChannels);
  EXPECT_THAT(Judge(kJudgeMs), SizeIs(ForeignChannels::kMaxChannels));
}

}  // namespace
}  // namespace spicegate
