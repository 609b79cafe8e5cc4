// SPDX-License-Identifier: Apache-2.0
//
// Every row of spice-protocol.md 3.5 and 4 against the gateway's listeners,
// byte for byte, with a synthetic server behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/door/link_cases.h"
#include "tests/peer/gateway_in_process.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/session_client.h"
#include "tests/peer/spice_client.h"
#include "tests/peer/synthetic_server.h"

namespace spicegate {
namespace {

using proto::LinkError;

constexpr char kPassword[] = "secret-of-the-hypervisor";

// No answer is followed by RST, which could overtake and erase it.
void ExpectReadable(const LinkOutcome& outcome) {
  if (!outcome.reply.empty() && !outcome.open) {
    EXPECT_STREQ(PeerEndName(outcome.end), PeerEndName(PeerEnd::kFin));
  }
}

class LinkErrorsTest : public testing::Test {
 protected:
  LinkErrorsTest() {
    thread_.Call([this] {
      SyntheticServerOptions options;
      options.consoles = {{kPassword, 1}};
      options.channels = EveryChannel();
      server_ =
          std::make_unique<SyntheticServer>(thread_.loop(), std::move(options));
      address_ = server_->Listen({});
    });
    gateway_ = std::make_unique<GatewayInProcess>(
        GatewayOptions{.consoles = {{.name = "vm",
                                     .address = address_,
                                     .password = kPassword}},
                       .limits = {{"preauth_deadline_ms", 60'000}}});
    ticket_ = gateway_->IssueTicket("vm");
  }
  ~LinkErrorsTest() override {
    gateway_->Stop();
    thread_.Stop();
  }

  LinkOutcome Ask(const PeerEndpoint& endpoint, const LinkCase& link_case) {
    SpiceClient client(&loop_, endpoint);
    client.set_timeout_ms(link_case.timeout_ms);
    return client.Link(link_case.request);
  }

  void RunCases(const PeerEndpoint& endpoint) {
    const size_t num_cases = LinkCases("ticket").size();
    for (size_t i = 0; i < num_cases; ++i) {
      // A ticket ends with its session, so each link gets one of its own.
      const LinkCase link_case = LinkCases(gateway_->IssueTicket("vm"))[i];
      SCOPED_TRACE(link_case.name);
      const LinkOutcome outcome = Ask(endpoint, link_case);
      EXPECT_EQ(AnswerOf(outcome), link_case.ExpectedOfGateway());
      ExpectReadable(outcome);
    }
  }

  PeerLoop loop_;
  PeerThread thread_;
  std::unique_ptr<SyntheticServer> server_;
  PeerAddress address_;
  std::unique_ptr<GatewayInProcess> gateway_;
  std::string ticket_;
};

TEST_F(LinkErrorsTest, Plain) { RunCases(gateway_->plain()); }

TEST_F(LinkErrorsTest, Tls) { RunCases(gateway_->tls()); }

TEST_F(LinkErrorsTest, NeedSecuredListener) {
  for (const LinkCase& link_case : LinkCases(ticket_)) {
    SCOPED_TRACE(link_case.name);
    LinkAnswer expected = ErrorReply(LinkError::kNeedSecured);
    // What is wrong with header or message is said first.
    const bool about_link =
        link_case.expected.kind == LinkAnswer::Kind::kErrorReply ||
        link_case.name == "MajorZero" ||
        link_case.name.rfind("HalfClose", 0) == 0;
    if (about_link) {
      expected = link_case.expected;
    }
    const LinkOutcome outcome = Ask(gateway_->need_secured(), link_case);
    EXPECT_EQ(AnswerOf(outcome), expected);
    ExpectReadable(outcome);
  }
}

// Refusals are counted under their own reasons.
TEST_F(LinkErrorsTest, ReasonsAreCounted) {
  const auto refusals = [this](const char* reason) {
    return gateway_->Metrics().Value("spicegate_links_refused_total",
                                     std::string("reason=\"") + reason + "\"");
  };
  struct Row {
    const char* name;
    const char* reason;
  };
  const std::vector<Row> rows = {{"MagicWrong", "bad_magic"},
                                 {"Major3", "bad_version"},
                                 {"Size17", "bad_link"},
                                 {"Offset17", "bad_link"},
                                 {"Mechanism7", "bad_mechanism"},
                                 {"TicketWrong", "bad_ticket"},
                                 {"TicketZeros", "bad_ticket"},
                                 {"UnknownConnectionId", "bad_connection_id"}};
  const std::vector<LinkCase> cases = LinkCases(ticket_);
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const auto found =
        std::find_if(cases.begin(), cases.end(),
                     [&row](const LinkCase& c) { return c.name == row.name; });
    ASSERT_NE(found, cases.end());
    const double before = refusals(row.reason);
    Ask(gateway_->plain(), *found);
    const std::string labels = std::string("reason=\"") + row.reason + "\"";
    gateway_->WaitForMetrics([&](const GatewayMetrics& metrics) {
      return metrics.Value("spicegate_links_refused_total", labels) ==
             before + 1;
    });
  }
}

// A client that resets at any point costs nobody anything.
TEST_F(LinkErrorsTest, ResetsLeaveTheGatewayServing) {
  for (const size_t cut_len : {1u, 4u, 15u, 16u, 30u, 42u}) {
    LinkRequest request = {.password = ticket_};
    request.bugs.link_cut_len = cut_len;
    request.bugs.after_link = LinkBugs::Then::kReset;
    SpiceClient client(&loop_, gateway_->plain());
    client.Link(request);
  }
  LinkRequest request = {.password = ticket_};
  request.bugs.after_ticket = LinkBugs::Then::kReset;
  SpiceClient reset(&loop_, gateway_->tls());
  reset.Link(request);
  SpiceClient honest(&loop_, gateway_->plain());
  EXPECT_TRUE(honest.Link({.password = ticket_}).open);
}

// Clients that stop in the middle are ended by the deadline, all at once and
// without holding others up.
TEST_F(LinkErrorsTest, ManyIdleClientsDoNotHoldOthersUp) {
  std::vector<std::unique_ptr<SpiceClient>> idle;
  for (int i = 0; i < 200; ++i) {
    const bool tls = i % 2 == 0;
    idle.push_back(std::make_unique<SpiceClient>(
        &loop_, tls ? PeerEndpoint{.address = gateway_->tls().address}
                    : gateway_->plain()));
    ASSERT_EQ(idle.back()->Connect(), 0);
  }
  SpiceClient honest(&loop_, gateway_->tls());
  EXPECT_TRUE(honest.Link({.password = ticket_}).open);
}

}  // namespace
}  // namespace spicegate
