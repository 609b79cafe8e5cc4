// SPDX-License-Identifier: Apache-2.0
//
// A session's server is dialled while the client still sends its ticket: for
// the session's own client only, once for each channel, and without a word to
// anybody who has no ticket.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proto/wire.h"
#include "tests/door/half_link.h"
#include "tests/peer/gateway_in_process.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/session_client.h"
#include "tests/peer/spice_client.h"
#include "tests/peer/synthetic_server.h"

namespace spicegate {
namespace {

using proto::LinkError;

constexpr int kPolls = 1000;  // 10 ms each
constexpr char kDials[] = "spicegate_early_dials_total";

class EarlyDialTest : public testing::Test {
 protected:
  EarlyDialTest() {
    thread_.Call([this] {
      SyntheticServerOptions options;
      options.consoles = {{"password", 1}};
      options.channels = EveryChannel();
      options.plan = [](proto::ChannelKey key) { return PlanFor(key, 4096); };
      server_ =
          std::make_unique<SyntheticServer>(thread_.loop(), std::move(options));
      address_ = server_->Listen({});
    });
    GatewayOptions options;
    options.consoles = {
        {.name = "vm", .address = address_, .password = "password"}};
    // No test waits for it: what ends a dial ends it at once.
    options.limits = {{"preauth_deadline_ms", 120'000}};
    gateway_ = std::make_unique<GatewayInProcess>(options);
  }
  ~EarlyDialTest() override {
    links_.clear();
    main_.reset();
    gateway_->Stop();
    thread_.Stop();
  }

  void OpenMain() {
    ticket_ = gateway_->IssueTicket("vm");
    main_ = std::make_unique<SpiceClient>(&loop_, gateway_->plain());
    ASSERT_TRUE(main_->Link({.password = ticket_}).open);
    const auto greeting = loop_.Run(GreetMain(main_.get()));
    ASSERT_TRUE(greeting.has_value());
    session_id_ = greeting->init.session_id;
  }

  // A link that has its reply and no ticket yet.
  HalfLink* BeginLink(uint32_t source, uint32_t connection_id) {
    links_.push_back(std::make_unique<HalfLink>(
        &loop_, HalfLink::Options{.port = gateway_->plain().address.port,
                                  .source = source,
                                  .connection_id = connection_id}));
    return links_.back().get();
  }

  PeerTask<void> Pause() { co_await loop_.Sleep(10); }
  void WaitForLinks(uint64_t num_links) {
    for (int i = 0; i < kPolls && server_->Totals().num_links < num_links;
         ++i) {
      loop_.Run(Pause());
    }
    ASSERT_EQ(server_->Totals().num_links, num_links);
  }

  void WaitForDials(const std::string& outcome, double count) {
    const std::string label = "outcome=\"" + outcome + "\"";
    const auto metrics = gateway_->WaitForMetrics([&](const GatewayMetrics& m) {
      return m.Value(kDials, label) == count;
    });
    EXPECT_EQ(metrics.Value(kDials, label), count) << metrics.NonZero(kDials);
  }

  PeerLoop loop_;
  PeerThread thread_;
  std::unique_ptr<SyntheticServer> server_;
  PeerAddress address_;
  std::unique_ptr<GatewayInProcess> gateway_;
  std::unique_ptr<SpiceClient> main_;
  std::vector<std::unique_ptr<HalfLink>> links_;
  std::string ticket_;
  uint32_t session_id_ = 0;
};

// Several, since links are accepted on any worker and sessions are at home on
// any.
TEST_F(EarlyDialTest, TheServerHasTheLinkBeforeTheTicketComes) {
  for (uint64_t i = 0; i < 8; ++i) {
    SCOPED_TRACE(i);
    OpenMain();
    HalfLink* link = BeginLink(kOwnAddress, session_id_);
    WaitForLinks(2 * i + 2);
    EXPECT_EQ(link->Authenticate(ticket_), LinkIsOpen());
    EXPECT_EQ(server_->Totals().num_links, 2 * i + 2);
    WaitForDials("used", static_cast<double>(i + 1));
  }
}

TEST_F(EarlyDialTest, ASessionNeedsOneServerLinkAChannel) {
  SessionOptions options;
  options.endpoint = gateway_->plain();
  options.password = gateway_->IssueTicket("vm");
  options.console_seed = 1;
  options.plan = [](proto::ChannelKey key) { return PlanFor(key, 4096); };
  const SessionReport report = loop_.Run(RunSession(&loop_, &options));
  EXPECT_EQ(report.error, "");
  EXPECT_EQ(server_->Totals().num_links, 1 + EveryChannel().size());
}

TEST_F(EarlyDialTest, AForeignAddressMakesNoDial) {
  OpenMain();
  HalfLink* link = BeginLink(kForeignAddress, session_id_);
  WaitForDials("refused", 1);
  EXPECT_EQ(server_->Totals().num_links, 1u);
  // With its ticket it is as good as any other.
  EXPECT_EQ(link->Authenticate(ticket_), LinkIsOpen());
  EXPECT_EQ(server_->Totals().num_links, 2u);
}

TEST_F(EarlyDialTest, ABadTicketIsAnsweredAsEverAndEndsTheDial) {
  OpenMain();
  HalfLink* unknown = BeginLink(kOwnAddress, session_id_ + 1);
  const std::vector<uint8_t> answer = unknown->Authenticate("wrong");
  EXPECT_EQ(server_->Totals().num_links, 1u);
  HalfLink* known = BeginLink(kOwnAddress, session_id_);
  WaitForLinks(2);
  EXPECT_EQ(known->Authenticate("wrong"), answer);
  WaitForDials("dropped", 1);
  EXPECT_EQ(server_->Totals().num_tickets_refused, 0u);
}

TEST_F(EarlyDialTest, AClientThatLeavesEndsTheDial) {
  OpenMain();
  BeginLink(kOwnAddress, session_id_);
  WaitForLinks(2);
  links_.back()->stream()->Reset();
  WaitForDials("dropped", 1);
}

TEST_F(EarlyDialTest, AnotherSessionsTicketEndsTheDial) {
  OpenMain();
  const uint32_t first_id = session_id_;
  const std::unique_ptr<SpiceClient> first = std::move(main_);
  OpenMain();
  HalfLink* link = BeginLink(kOwnAddress, first_id);
  WaitForLinks(3);
  const std::vector<uint8_t> answer = link->Authenticate(ticket_);
  EXPECT_EQ(proto::LoadU32(answer.data()),
            static_cast<uint32_t>(LinkError::kBadConnectionId));
  WaitForDials("dropped", 1);
}

TEST_F(EarlyDialTest, AStopEndsTheDial) {
  OpenMain();
  BeginLink(kOwnAddress, session_id_);
  WaitForLinks(2);
  gateway_->Stop();
}

}  // namespace
}  // namespace spicegate
