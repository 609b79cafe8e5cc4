// SPDX-License-Identifier: Apache-2.0
//
// The same bytes to a real QEMU and to the gateway in front of it: a client
// cannot tell which of the two it talks to, but for the differences that
// link_cases.cc lists with their reasons.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "tests/door/link_cases.h"
#include "tests/peer/gateway_process.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/qemu_process.h"
#include "tests/peer/spice_client.h"

namespace spicegate {
namespace {

constexpr char kPassword[] = "secret-of-the-hypervisor";

class DifferentialTest : public testing::Test {
 protected:
  static bool MaySkip() { return std::getenv("SPICEGATE_CI") == nullptr; }

  void SetUp() override {
    if (!QemuProcess::Available() && MaySkip()) {
      GTEST_SKIP() << "no QEMU";
    }
  }

  LinkAnswer Ask(const PeerEndpoint& endpoint, const LinkCase& link_case) {
    SpiceClient client(&loop_, endpoint);
    client.set_timeout_ms(link_case.timeout_ms);
    return AnswerOf(client.Link(link_case.request));
  }

  PeerLoop loop_;
  const PeerTlsContext tls_ = PeerTlsContext::Client();
};

// The table is what spice-server really does.
TEST_F(DifferentialTest, QemuAnswersAsTheTableSays) {
  QemuProcess qemu({.password = kPassword});
  const PeerEndpoint plain = {.address = {.port = qemu.port()}};
  const PeerEndpoint tls = {.address = {.port = qemu.tls_port()}, .tls = &tls_};
  for (const LinkCase& link_case : LinkCases(kPassword)) {
    SCOPED_TRACE(link_case.name);
    EXPECT_EQ(Ask(plain, link_case), link_case.expected);
    EXPECT_EQ(Ask(tls, link_case), link_case.expected);
  }
  EXPECT_TRUE(qemu.process()->running());
}

TEST_F(DifferentialTest, GatewayAnswersAsQemuDoes) {
  QemuProcess qemu({.password = kPassword});
  GatewayProcess gateway({.consoles = {{.name = "vm",
                                        .address = {.port = qemu.port()},
                                        .password = kPassword}}});
  const PeerEndpoint qemu_plain = {.address = {.port = qemu.port()}};
  const std::vector<LinkCase> for_qemu = LinkCases(kPassword);
  for (size_t i = 0; i < for_qemu.size(); ++i) {
    SCOPED_TRACE(for_qemu[i].name);
    const LinkAnswer by_qemu = Ask(qemu_plain, for_qemu[i]);
    // A ticket ends with its session, so each link gets one of its own.
    const auto by_gateway = [&](const PeerEndpoint& endpoint) {
      return Ask(endpoint, LinkCases(gateway.IssueTicket("vm"))[i]);
    };
    const LinkAnswer by_plain = by_gateway(gateway.plain());
    const LinkAnswer by_tls = by_gateway(gateway.tls());
    if (!for_qemu[i].gateway_expected.has_value()) {
      EXPECT_EQ(by_plain, by_qemu);
      EXPECT_EQ(by_tls, by_qemu);
      continue;
    }
    EXPECT_EQ(by_plain, *for_qemu[i].gateway_expected);
    EXPECT_EQ(by_tls, *for_qemu[i].gateway_expected);
    EXPECT_FALSE(by_plain == by_qemu)
        << "no difference any more: " << for_qemu[i].difference;
  }
  EXPECT_TRUE(qemu.process()->running());
  gateway.Stop();
}

// The security policy comes before connection id and ticket, in both.
TEST_F(DifferentialTest, NeedSecuredComesWhenQemuSaysIt) {
  QemuProcess qemu({.password = kPassword,
                    .spice_extra = ",tls-channel=main,tls-channel=default"});
  GatewayProcess gateway({.consoles = {}});
  const PeerEndpoint qemu_plain = {.address = {.port = qemu.port()}};
  for (const LinkCase& link_case : LinkCases(kPassword)) {
    // Behind the link message nothing is left to compare.
    const LinkAnswer by_qemu = Ask(qemu_plain, link_case);
    SCOPED_TRACE(link_case.name);
    EXPECT_EQ(Ask(gateway.need_secured(), link_case), by_qemu);
  }
  gateway.Stop();
}

}  // namespace
}  // namespace spicegate
