// SPDX-License-Identifier: Apache-2.0
//
// The door's reads on the simulated network: however a client's bytes are cut,
// the link is the same, and nothing behind the ticket is taken. What is
// answered to wrong links is tests/door's.
#include "gateway/door/client_link.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "gateway/auth/link_key.h"
#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"

namespace spicegate {
namespace {

constexpr char kTicket[] = "a ticket";
constexpr char kData[] = "the channel's first message";
constexpr int64_t kDeadlineMs = 10'000;
constexpr uint32_t kConnectionId = 77;
constexpr uint32_t kSelection = 1u << proto::kCommonCapAuthSelection;
constexpr uint32_t kMiniHeader = 1u << proto::kCommonCapMiniHeader;

const std::shared_ptr<const LinkKey>& Key() {
  static const auto* key =
      new std::shared_ptr<const LinkKey>(LinkKey::Generate());
  return *key;
}

std::string LinkMessage(bool selects, size_t num_channel_caps) {
  const std::vector<uint32_t> common = {kMiniHeader |
                                        (selects ? kSelection : 0)};
  const std::vector<uint32_t> channel(num_channel_caps, 0x5A5A5A5A);
  proto::LinkMessFields fields;
  fields.connection_id = kConnectionId;
  fields.channel = {proto::ChannelType::kInputs, 3};
  fields.common_caps = common;
  fields.channel_caps = channel;
  std::array<uint8_t, proto::kLinkHeaderLen + proto::kMaxLinkMessLen> out;
  const size_t len = proto::EncodeLinkMess(fields, out);
  EXPECT_GT(len, 0u);
  return std::string(out.begin(), out.begin() + len);
}

std::string Ticket(bool selects) {
  std::array<uint8_t, proto::kTicketLen> ticket;
  EXPECT_TRUE(EncryptTicket(Key()->public_key_der(), kTicket, ticket));
  std::string out;
  if (selects) {
    const auto mechanism =
        proto::EncodeAuthMechanism(proto::kAuthMechanismSpice);
    out.assign(mechanism.begin(), mechanism.end());
  }
  return out.append(ticket.begin(), ticket.end());
}

class ClientLinkTest : public testing::Test {
 protected:
  // A new connection in the door.
  void Connect() {
    auto connection = network_.Connection();
    leg_ = Leg::Plain(&driver_, connection.first);
    client_ = std::move(connection.second);
    result_ = DoorResult{};
    done_ = false;
    num_told_ = 0;
    Spawn(Serve());
  }

  Task<void> Serve() {
    DoorContext context;
    context.timers = &timers_;
    context.counters = &counters_;
    context.link_key = Key();
    context.deadline_ms = timers_.now_ms() + kDeadlineMs;
    context.before_ticket = [this](const ClientLink& link,
                                   int64_t deadline_ms) {
      ++num_told_;
      told_ = link;
      EXPECT_EQ(deadline_ms, timers_.now_ms() + kDeadlineMs);
    };
    result_ = co_await RunClientLink(&leg_, std::move(context));
    done_ = true;
  }

  void Run() {
    for (int i = 0; i < 20; ++i) {
      driver_.Wait(0);
      driver_.Dispatch();
    }
  }

  void Send(const std::string& bytes) {
    EXPECT_EQ(client_.WriteString(bytes), bytes.size());
    Run();
  }

  // The link is complete and what follows it is still in the connection.
  void ExpectLink(size_t num_channel_caps) {
    ASSERT_TRUE(done_);
    ASSERT_TRUE(result_.link.has_value());
    EXPECT_EQ(result_.link->connection_id, kConnectionId);
    EXPECT_EQ(result_.link->channel.id, 3);
    EXPECT_EQ(result_.link->channel_caps.words().size(),
              std::min(num_channel_caps, proto::CapsWords::kMaxWords));
    EXPECT_EQ(result_.link->ticket, TicketVault::DigestOf(kTicket));
    std::array<uint8_t, 256> rest;
    const ssize_t n = leg_.stream->Read(rest);
    ASSERT_GT(n, 0);
    EXPECT_EQ(std::string(rest.begin(), rest.begin() + n), kData);
  }

  SimNetwork network_{SimOptions{}};
  SimDriver driver_{&network_};
  TimerWheel timers_{driver_.NowMs()};
  WorkerCounters counters_;
  Leg leg_;
  SimPeer client_;
  DoorResult result_;
  bool done_ = false;
  int num_told_ = 0;
  ClientLink told_;
};

// With few capabilities link and ticket come in one read; with more the first
// read ends inside the ticket, at its edge, or before the message does.
TEST_F(ClientLinkTest, AllAtOnceLeavesTheChannelsBytes) {
  for (const bool selects : {true, false}) {
    for (const size_t num_caps : {0, 1, 2, 30, 31, 32, 33, 64, 1000}) {
      SCOPED_TRACE(num_caps);
      Connect();
      Send(LinkMessage(selects, num_caps) + Ticket(selects) + kData);
      ExpectLink(num_caps);
      EXPECT_EQ(num_told_, 0) << "the ticket was here already";
    }
  }
}

TEST_F(ClientLinkTest, ByteByByteIsTheSame) {
  for (const bool selects : {true, false}) {
    Connect();
    const std::string link = LinkMessage(selects, 2) + Ticket(selects);
    for (const char byte : link) {
      EXPECT_FALSE(done_);
      Send(std::string(1, byte));
    }
    Send(kData);
    ExpectLink(2);
    EXPECT_EQ(num_told_, 1);
  }
}

TEST_F(ClientLinkTest, WhatIsAskedForIsToldBeforeTheTicketComes) {
  Connect();
  const std::string link = LinkMessage(/*selects=*/true, 1);
  Send(link.substr(0, link.size() - 1));
  EXPECT_EQ(num_told_, 0);
  EXPECT_EQ(client_.ReadAll(), "");
  Send(link.substr(link.size() - 1));
  EXPECT_EQ(num_told_, 1);
  EXPECT_EQ(told_.connection_id, kConnectionId);
  EXPECT_EQ(told_.channel.type, proto::ChannelType::kInputs);
  EXPECT_EQ(told_.ticket, TicketDigest{});
  EXPECT_NE(client_.ReadAll(), "") << "the reply comes first";
  Send(Ticket(/*selects=*/true) + kData);
  ExpectLink(1);
  EXPECT_EQ(num_told_, 1);
}

TEST_F(ClientLinkTest, AClientThatEndsInsideItsTicketIsGone) {
  Connect();
  std::string ticket = Ticket(/*selects=*/true);
  ticket.pop_back();
  Send(LinkMessage(/*selects=*/true, 1) + ticket);
  EXPECT_FALSE(done_);
  client_.ShutdownWrite();
  Run();
  ASSERT_TRUE(done_);
  EXPECT_FALSE(result_.link.has_value());
  EXPECT_EQ(result_.refusal, CloseReason::kClientGone);
}

}  // namespace
}  // namespace spicegate
