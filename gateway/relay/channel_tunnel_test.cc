// SPDX-License-Identifier: Apache-2.0
//
// A tunnel: nothing inside it is looked at, and its server's leg outlives its
// client.
#include <gtest/gtest.h>

#include <string>

#include "gateway/relay/channel_fixture.h"

namespace spicegate {
namespace {

using proto::ChannelType;

// What no channel's guard lets through.
const std::string kFlushMark = Message(4, "");

class TunnelTest : public ChannelTest {
 protected:
  ~TunnelTest() override {
    channel_->Close(CloseReason::kShutdown);
    RunFor(kTunnelBlindLingerMs);
  }

  void Open() { ChannelTest::Open(ChannelType::kTunnel); }

  // So much that it is more than a handshake and a link.
  void MoveMuch() {
    const std::string piece(kTunnelHandshakeBytes / 4, 'x');
    for (int i = 0; i < 5; ++i) {
      server_.WriteString(piece);
      Run();
      client_.ReadAll();
    }
  }

  bool ServerSeesEnd() {
    bool ended = false;
    server_.ReadAll(&ended);
    return ended;
  }
};

TEST_F(TunnelTest, CarriesAnythingAndCountsIt) {
  Open();
  client_.WriteString(kFlushMark);
  server_.WriteString("\x16\x03\x03");
  Run();
  EXPECT_EQ(server_.ReadAll(), kFlushMark);
  EXPECT_EQ(client_.ReadAll(), "\x16\x03\x03");
  const auto tunnel = static_cast<size_t>(ChannelType::kTunnel);
  EXPECT_EQ(counters_.bytes_client_to_server[tunnel].value(), 6);
  EXPECT_EQ(counters_.bytes_server_to_client[tunnel].value(), 3);
}

TEST_F(TunnelTest, KeepsTheServersLegForAWhileWhenItsClientFails) {
  Open();
  MoveMuch();
  client_.Reset();
  Run();
  EXPECT_EQ(closing_, CloseReason::kClientReset);
  EXPECT_FALSE(ended_);
  server_.WriteString("to nobody");
  RunFor(kTunnelLingerMs - 1);
  EXPECT_FALSE(ended_);
  RunFor(2);
  EXPECT_TRUE(ended_);
}

TEST_F(TunnelTest, KeepsItLongerWhileItMayBeADisplayWithoutInit) {
  Open();
  server_.WriteString("a handshake and a link");
  Run();
  client_.Reset();
  Run();
  RunFor(kTunnelBlindLingerMs - 1000);  // its age is kept in seconds
  EXPECT_FALSE(ended_);
  RunFor(1001);
  EXPECT_TRUE(ended_);
}

TEST_F(TunnelTest, WaitsForNoInitInAnOldOne) {
  Open();
  Run();
  RunFor(kTunnelBlindLingerMs);
  client_.Reset();
  Run();
  RunFor(kTunnelLingerMs - 1);
  EXPECT_FALSE(ended_);
  RunFor(2);
  EXPECT_TRUE(ended_);
}

TEST_F(TunnelTest, LingersNoLongerThanItsServer) {
  Open();
  client_.Reset();
  Run();
  server_.ShutdownWrite();
  Run();
  EXPECT_TRUE(ended_);
}

TEST_F(TunnelTest, DoesNotLingerBehindItsServer) {
  Open();
  server_.Reset();
  Run();
  EXPECT_EQ(closing_, CloseReason::kServerReset);
  EXPECT_TRUE(ended_);
}

TEST_F(TunnelTest, PassesTheClientsEndOnLateAndTheRestMeanwhile) {
  Open();
  MoveMuch();
  client_.WriteString("last words");
  client_.ShutdownWrite();
  Run();
  bool ended = false;
  EXPECT_EQ(server_.ReadAll(&ended), "last words");
  EXPECT_FALSE(ended);
  server_.WriteString("still talking");
  Run();
  EXPECT_EQ(client_.ReadAll(), "still talking");
  RunFor(kTunnelLingerMs + 1);
  EXPECT_TRUE(ServerSeesEnd());
  EXPECT_FALSE(closing_.has_value());
  server_.ShutdownWrite();
  Run();
  EXPECT_EQ(closing_, CloseReason::kClientClosed);
  EXPECT_TRUE(ended_);
}

TEST_F(TunnelTest, PassesTheClientsEndOnWhenTheServerHasEnded) {
  Open();
  client_.ShutdownWrite();
  Run();
  EXPECT_FALSE(ServerSeesEnd());
  server_.ShutdownWrite();
  Run();
  EXPECT_EQ(closing_, CloseReason::kClientClosed);
  EXPECT_TRUE(ended_);
}

TEST_F(TunnelTest, PassesTheServersEndOnAtOnce) {
  Open();
  server_.WriteString("bye");
  server_.ShutdownWrite();
  Run();
  bool ended = false;
  EXPECT_EQ(client_.ReadAll(&ended), "bye");
  EXPECT_TRUE(ended);
  client_.WriteString("and more");
  client_.ShutdownWrite();
  Run();
  EXPECT_EQ(server_.ReadAll(), "and more");
  EXPECT_EQ(closing_, CloseReason::kServerClosed);
}

TEST_F(TunnelTest, EndsWhenNothingMovesForTooLong) {
  Open();
  client_.WriteString("x");
  Run();
  RunFor(limits_.tunnel_idle_ms + 1);  // a byte has moved before that look
  server_.WriteString("x");
  Run();
  RunFor(limits_.tunnel_idle_ms);
  EXPECT_FALSE(closing_.has_value());
  RunFor(limits_.tunnel_idle_ms);
  EXPECT_EQ(closing_, CloseReason::kTunnelIdle);
  RunFor(kTunnelBlindLingerMs);
  EXPECT_TRUE(ended_);
}

TEST_F(TunnelTest, StaysForEverWhereThatIsAskedFor) {
  limits_.tunnel_idle_ms = 0;
  Open();
  RunFor(100 * kLongestTunnelIdleMs);
  EXPECT_FALSE(closing_.has_value());
  channel_->Close(CloseReason::kDisconnected);
  RunFor(kTunnelBlindLingerMs);
  EXPECT_TRUE(ended_);
}

}  // namespace
}  // namespace spicegate
