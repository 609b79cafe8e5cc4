// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/returning_clients.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "gateway/base/limits.h"

namespace spicegate {
namespace {

class ReturningClientsTest : public testing::Test {
 protected:
  static constexpr int64_t kStartMs = 1'000;

  // A ticket whose session is over: only what is awaited keeps it.
  ReturningClient Client(const std::string& to) {
    ReturningClient client;
    tickets_.push_back(
        TicketVault::DigestOf(*vault_.Issue("vm", "", kStartMs)));
    client.ticket = vault_.Claim(tickets_.back(), kStartMs);
    client.ticket.MarkUsed();
    client.console = "vm";
    client.departure.to = to;
    client.departure.started_ms = kStartMs;
    return client;
  }

  bool IsValid(size_t number) {
    return static_cast<bool>(vault_.Claim(tickets_[number], kStartMs));
  }

  TicketVault vault_{TicketVault::Options{}};
  TimerWheel timers_{kStartMs};
  std::vector<TicketDigest> tickets_;
  std::vector<std::string> late_;  // where they were to go
  ReturningClients returning_{&timers_, [this](const ReturningClient& client) {
                                late_.push_back(client.departure.to);
                              }};
};

TEST_F(ReturningClientsTest, OneThatIsBackInTime) {
  returning_.Await(Client("hv2:5900"));
  timers_.Advance(kStartMs + kSwitchHostMs - 1);
  EXPECT_TRUE(IsValid(0));
  const Departure* departure = returning_.Find(tickets_[0]);
  ASSERT_NE(departure, nullptr);
  EXPECT_EQ(departure->to, "hv2:5900");
  {
    const auto client = returning_.Take(tickets_[0]);
    ASSERT_TRUE(client.has_value());
    EXPECT_EQ(client->console, "vm");
    EXPECT_TRUE(IsValid(0)) << "it is the claim's that was taken";
  }
  EXPECT_FALSE(IsValid(0));
  EXPECT_EQ(returning_.Find(tickets_[0]), nullptr);
  timers_.Advance(kStartMs + 2 * kSwitchHostMs);
  EXPECT_TRUE(late_.empty());
}

TEST_F(ReturningClientsTest, OneThatIsLate) {
  returning_.Await(Client("hv2:5900"));
  timers_.Advance(kStartMs + 10);
  returning_.Await(Client("hv3:5900"));
  timers_.Advance(kStartMs + kSwitchHostMs);
  EXPECT_EQ(late_, std::vector<std::string>{"hv2:5900"});
  EXPECT_FALSE(IsValid(0));
  EXPECT_EQ(returning_.Find(tickets_[0]), nullptr);
  EXPECT_FALSE(returning_.Take(tickets_[0]).has_value());
  EXPECT_TRUE(IsValid(1));
  EXPECT_NE(returning_.Find(tickets_[1]), nullptr);
  timers_.Advance(kStartMs + kSwitchHostMs + 10);
  EXPECT_EQ(late_, (std::vector<std::string>{"hv2:5900", "hv3:5900"}));
}

TEST_F(ReturningClientsTest, OneOfATicket) {
  returning_.Await(Client("hv2:5900"));
  ReturningClient again;
  again.ticket = vault_.Claim(tickets_[0], kStartMs);
  again.departure.to = "hv3:5900";
  timers_.Advance(kStartMs + 10);
  returning_.Await(std::move(again));
  EXPECT_EQ(returning_.Find(tickets_[0])->to, "hv3:5900");
  timers_.Advance(kStartMs + kSwitchHostMs);
  EXPECT_TRUE(late_.empty()) << "the first one's time";
  EXPECT_TRUE(IsValid(0));
  timers_.Advance(kStartMs + kSwitchHostMs + 10);
  EXPECT_EQ(late_, std::vector<std::string>{"hv3:5900"});
  EXPECT_FALSE(IsValid(0));
}

TEST_F(ReturningClientsTest, StrangersAreNotAwaited) {
  returning_.Await(Client("hv2:5900"));
  const TicketDigest stranger = TicketVault::DigestOf("stranger");
  EXPECT_EQ(returning_.Find(stranger), nullptr);
  EXPECT_FALSE(returning_.Take(stranger).has_value());
  EXPECT_NE(returning_.Find(tickets_[0]), nullptr);
}

}  // namespace
}  // namespace spicegate
