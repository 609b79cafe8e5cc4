// SPDX-License-Identifier: Apache-2.0
//
// The deadline of the way to an accepted ticket: absolute, whatever the client
// does meanwhile, at every step.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/peer/gateway_in_process.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/spice_client.h"

namespace spicegate {
namespace {

constexpr int64_t kDeadlineMs = 300;
// A client's patience; far behind the deadline.
constexpr int64_t kPatienceMs = 30'000;

class PreauthDeadlineTest : public testing::Test {
 protected:
  PreauthDeadlineTest()
      : gateway_(
            GatewayOptions{.consoles = {{.name = "vm", .address = {.port = 1}}},
                           .limits = {{"preauth_deadline_ms", kDeadlineMs}}}) {}

  // How a link with these bugs ends.
  PeerEnd EndOfLink(const PeerEndpoint& endpoint, const LinkBugs& bugs) {
    SpiceClient client(&loop_, endpoint);
    client.set_timeout_ms(kPatienceMs);
    LinkRequest request = {.password = "whatever"};
    request.bugs = bugs;
    return client.Link(request).end;
  }

  PeerTask<void> Pause() { co_await loop_.Sleep(kDeadlineMs / 10); }

  void ExpectTimeouts(double count) {
    gateway_.WaitForMetrics([count](const GatewayMetrics& metrics) {
      return metrics.Value("spicegate_links_refused_total",
                           "reason=\"preauth_timeout\"") == count;
    });
  }

  PeerLoop loop_;
  GatewayInProcess gateway_;
};

TEST_F(PreauthDeadlineTest, EndsAtEveryStep) {
  double count = 0;
  for (const PeerEndpoint& endpoint : {gateway_.plain(), gateway_.tls()}) {
    for (const size_t cut_len : {0, 1, 4, 16, 30}) {
      LinkBugs bugs;
      bugs.link_cut_len = cut_len;
      EXPECT_NE(EndOfLink(endpoint, bugs), PeerEnd::kTimeout) << cut_len;
      ExpectTimeouts(++count);
    }
    LinkBugs no_ticket;
    no_ticket.no_ticket = true;
    EXPECT_NE(EndOfLink(endpoint, no_ticket), PeerEnd::kTimeout);
    ExpectTimeouts(++count);
    LinkBugs half_a_ticket;
    half_a_ticket.ticket = std::vector<uint8_t>(64);
    EXPECT_NE(EndOfLink(endpoint, half_a_ticket), PeerEnd::kTimeout);
    ExpectTimeouts(++count);
  }
}

TEST_F(PreauthDeadlineTest, EndsATlsHandshakeThatNeverComes) {
  const PeerEndpoint raw = {.address = gateway_.tls().address};
  LinkBugs nothing;
  nothing.link_cut_len = 0;
  EXPECT_NE(EndOfLink(raw, nothing), PeerEnd::kTimeout);
  LinkBugs half_a_hello;
  half_a_hello.raw_link = std::vector<uint8_t>{0x16, 3, 1, 2, 0, 1, 0};
  EXPECT_NE(EndOfLink(raw, half_a_hello), PeerEnd::kTimeout);
  ExpectTimeouts(2);
}

// A byte now and then does not move the deadline.
TEST_F(PreauthDeadlineTest, IsNotMovedByADrip) {
  SpiceClient client(&loop_, gateway_.plain());
  ASSERT_EQ(client.Connect(), 0);
  const std::vector<uint8_t> link = BuildLink({});
  PeerEnd end = PeerEnd::kOpen;
  for (size_t at = 0; at < link.size() && end == PeerEnd::kOpen; ++at) {
    loop_.Run(client.stream()->Write(std::span(link).subspan(at, 1)));
    loop_.Run(Pause());
    bool has_bytes = false;
    end = client.stream()->Peek(&has_bytes);
    EXPECT_FALSE(has_bytes);
  }
  EXPECT_NE(end, PeerEnd::kOpen);
  ExpectTimeouts(1);
}

// Many of them at once: each is ended, and nothing of them stays.
TEST_F(PreauthDeadlineTest, EndsAThousandIdleClients) {
  std::vector<std::unique_ptr<SpiceClient>> idle;
  for (int i = 0; i < 1000; ++i) {
    const PeerEndpoint endpoint = {.address = i % 2 == 0
                                                  ? gateway_.plain().address
                                                  : gateway_.tls().address};
    idle.push_back(std::make_unique<SpiceClient>(&loop_, endpoint));
    idle.back()->set_timeout_ms(kPatienceMs);
    ASSERT_EQ(idle.back()->Connect(), 0);
  }
  for (const auto& client : idle) {
    EXPECT_NE(client->WaitForEnd(), PeerEnd::kTimeout);
  }
  ExpectTimeouts(1000);
  const GatewayMetrics metrics = gateway_.Metrics();
  EXPECT_EQ(metrics.Sum("spicegate_links_open"), 0);
}

}  // namespace
}  // namespace spicegate
