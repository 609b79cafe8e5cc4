// SPDX-License-Identifier: Apache-2.0
//
// Who may join which session: ticket and connection id together name it, and
// nothing of one desktop is of use at another.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "proto/messages.h"
#include "tests/peer/gateway_in_process.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/session_client.h"
#include "tests/peer/spice_client.h"
#include "tests/peer/synthetic_server.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::LinkError;

// A viewer's main channel, open and greeted.
struct OpenMain {
  std::unique_ptr<SpiceClient> client;
  std::string ticket;
  uint32_t session_id = 0;
};

class IdentityTest : public testing::Test {
 protected:
  IdentityTest() {
    thread_.Call([this] {
      SyntheticServerOptions options;
      options.consoles = {{"password-a", 1}, {"password-b", 2}};
      options.channels = EveryChannel();
      server_ =
          std::make_unique<SyntheticServer>(thread_.loop(), std::move(options));
      address_ = server_->Listen({});
    });
    GatewayOptions options;
    options.consoles = {
        {.name = "a", .address = address_, .password = "password-a"},
        {.name = "b", .address = address_, .password = "password-b"}};
    options.extra_json = ",\"tickets\":{\"first_use_s\":1}";
    gateway_ = std::make_unique<GatewayInProcess>(options);
  }
  ~IdentityTest() override {
    gateway_->Stop();
    thread_.Stop();
  }

  OpenMain Open(const std::string& console) {
    OpenMain main;
    main.ticket = gateway_->IssueTicket(console);
    Reopen(&main);
    return main;
  }
  void Reopen(OpenMain* main) {
    main->client = std::make_unique<SpiceClient>(&loop_, gateway_->plain());
    ASSERT_TRUE(main->client->Link({.password = main->ticket}).open);
    const auto greeting = loop_.Run(GreetMain(main->client.get()));
    ASSERT_TRUE(greeting.has_value());
    main->session_id = greeting->init.session_id;
  }

  // The result of an inputs link; nothing when there was none.
  std::optional<LinkError> Join(const std::string& ticket, uint32_t id) {
    joined_ = std::make_unique<SpiceClient>(&loop_, gateway_->plain());
    return joined_
        ->Link({.channel = {ChannelType::kInputs, 0},
                .connection_id = id,
                .password = ticket})
        .result();
  }

  PeerLoop loop_;
  PeerThread thread_;
  std::unique_ptr<SyntheticServer> server_;
  PeerAddress address_;
  std::unique_ptr<GatewayInProcess> gateway_;
  std::unique_ptr<SpiceClient> joined_;
};

TEST_F(IdentityTest, SecondaryJoinsItsSession) {
  const OpenMain a = Open("a");
  EXPECT_EQ(Join(a.ticket, a.session_id), LinkError::kOk);
}

TEST_F(IdentityTest, TicketAndIdOfTwoSessionsDoNotMix) {
  const OpenMain a = Open("a");
  const OpenMain b = Open("b");
  EXPECT_EQ(Join(a.ticket, b.session_id), LinkError::kBadConnectionId);
  EXPECT_EQ(Join(b.ticket, a.session_id), LinkError::kBadConnectionId);
  EXPECT_EQ(Join(a.ticket, a.session_id), LinkError::kOk);
  EXPECT_EQ(Join(b.ticket, b.session_id), LinkError::kOk);
  // No ticket of that reached a server.
  EXPECT_EQ(server_->Totals().num_bad_connection_ids, 0u);
}

TEST_F(IdentityTest, SecondaryBeforeMain) {
  const std::string ticket = gateway_->IssueTicket("a");
  EXPECT_EQ(Join(ticket, 0x1234), LinkError::kBadConnectionId);
  // The ticket is as good as before.
  SpiceClient main(&loop_, gateway_->plain());
  EXPECT_TRUE(main.Link({.password = ticket}).open);
}

TEST_F(IdentityTest, SecondaryAfterMainHasGone) {
  OpenMain a = Open("a");
  a.client->Close();
  gateway_->WaitForMetrics([](const GatewayMetrics& metrics) {
    return metrics.Sum("spicegate_sessions_open") == 0;
  });
  const auto result = Join(a.ticket, a.session_id);
  EXPECT_TRUE(result == LinkError::kBadConnectionId ||
              result == LinkError::kPermissionDenied);
}

// As at spice-server: the newer main has the desktop.
TEST_F(IdentityTest, SecondMainReplacesTheFirst) {
  OpenMain first = Open("a");
  OpenMain second;
  second.ticket = first.ticket;
  Reopen(&second);
  EXPECT_NE(first.client->WaitForEnd(), PeerEnd::kTimeout);
  EXPECT_EQ(Join(second.ticket, second.session_id), LinkError::kOk);
}

// Its first use is due within a second here. One that was used in time is good
// as long as its session lives.
TEST_F(IdentityTest, TicketExpiresUnlessUsedInTime) {
  const std::string unused = gateway_->IssueTicket("a");
  const OpenMain used = Open("b");
  gateway_->WaitForMetrics([](const GatewayMetrics& metrics) {
    return metrics.Sum("spicegate_tickets") == 1;
  });
  SpiceClient late(&loop_, gateway_->plain());
  EXPECT_EQ(late.Link({.password = unused}).result(),
            LinkError::kPermissionDenied);
  EXPECT_EQ(Join(used.ticket, used.session_id), LinkError::kOk);
}

// A channel may come again after it was closed: its viewer reconnects it, or a
// device was plugged again.
TEST_F(IdentityTest, SecondaryComesAgain) {
  const OpenMain a = Open("a");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Join(a.ticket, a.session_id), LinkError::kOk);
    joined_->Close();
  }
}

TEST_F(IdentityTest, SessionEndsWithItsMain) {
  OpenMain a = Open("a");
  ASSERT_EQ(Join(a.ticket, a.session_id), LinkError::kOk);
  a.client->Close();
  EXPECT_NE(joined_->WaitForEnd(), PeerEnd::kTimeout);
}

}  // namespace
}  // namespace spicegate
