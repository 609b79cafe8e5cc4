// SPDX-License-Identifier: Apache-2.0
//
// Viewers that leave at the worst moment (spice-protocol.md 11.5). A display
// that ends before its INIT, or right behind it, is a dead QEMU; one that is
// kept without INIT is a QEMU that stands still. The synthetic server counts
// both, whatever the viewer does.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proto/messages.h"
#include "tests/peer/gateway_in_process.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/session_client.h"
#include "tests/peer/synthetic_server.h"

namespace spicegate {
namespace {

using proto::ChannelType;

constexpr char kPassword[] = "the-servers-own";

// How a connection is left.
enum class Leave { kFin, kReset, kHalfClose, kStay };

const char* LeaveName(Leave leave) {
  static constexpr const char* kNames[] = {"fin", "reset", "half-close",
                                           "stay"};
  return kNames[static_cast<int>(leave)];
}

void LeaveBy(Leave leave, SpiceClient* client) {
  switch (leave) {
    case Leave::kFin:
      client->Close();
      break;
    case Leave::kReset:
      client->Reset();
      break;
    case Leave::kHalfClose:
      client->HalfClose();
      break;
    case Leave::kStay:
      break;
  }
}

constexpr size_t kInitLen = 20;

// Bytes of the display's first message that are sent before leaving, and what
// follows it in the same write.
struct Moment {
  const char* name;
  bool init_sent;
  size_t init_len;  // Of kInitLen.
  bool intruder;    // A message of unknown type directly behind.
  bool wait_for_first_message;
};

constexpr Moment kMoments[] = {
    {"before INIT", false, 0, false, false},
    {"in the header of INIT", true, 3, false, false},
    {"in the body of INIT", true, 19, false, false},
    {"behind INIT", true, kInitLen, false, false},
    {"behind INIT and a message nobody knows", true, kInitLen, true, false},
    {"behind the first message", true, kInitLen, false, true},
};

class EarlyLeaverTest : public testing::TestWithParam<bool> {
 protected:
  EarlyLeaverTest() {
    thread_.Call([this] {
      SyntheticServerOptions options;
      options.consoles = {{kPassword, 1}};
      options.channels = EveryChannel();
      options.display_window_ms = 20;
      server_ =
          std::make_unique<SyntheticServer>(thread_.loop(), std::move(options));
      address_ = server_->Listen({});
    });
    gateway_ = std::make_unique<GatewayInProcess>(GatewayOptions{
        .consoles = {{.name = "vm",
                      .address = address_,
                      .password = kPassword}},
        .limits = {{"half_close_ms", 500}, {"display_init_ms", 500}}});
  }
  ~EarlyLeaverTest() override {
    gateway_->Stop();
    thread_.Stop();
  }

  PeerEndpoint Endpoint() const {
    return GetParam() ? gateway_->tls() : gateway_->plain();
  }

  std::vector<uint8_t> FirstBytes(const Moment& moment) const {
    std::vector<uint8_t> bytes = {101, 0, 14, 0, 0, 0};
    bytes.resize(kInitLen);
    bytes.resize(moment.init_len);
    if (moment.intruder) {
      const std::vector<uint8_t> unknown = {0xff, 0x7f, 0, 0, 0, 0};
      bytes.insert(bytes.end(), unknown.begin(), unknown.end());
    }
    return bytes;
  }

  // One session: main, a display up to `moment`, then both are left.
  void LeaveAt(const PeerEndpoint& endpoint, const std::string& ticket,
               const Moment& moment, Leave display_leave, Leave main_leave) {
    SpiceClient main(&loop_, endpoint);
    ASSERT_TRUE(main.Link({.password = ticket}).open);
    const auto greeting = loop_.Run(GreetMain(&main));
    ASSERT_TRUE(greeting.has_value());
    SpiceClient display(&loop_, endpoint);
    ASSERT_TRUE(display
                    .Link({.channel = {ChannelType::kDisplay, 0},
                           .connection_id = greeting->init.session_id,
                           .password = ticket})
                    .open);
    if (moment.init_sent) {
      const std::vector<uint8_t> bytes = FirstBytes(moment);
      ASSERT_EQ(loop_.Run(display.stream()->Write(bytes)), 0);
    }
    if (moment.wait_for_first_message) {
      ASSERT_TRUE(display.ReadUntil(proto::kMsgSetAck).has_value());
    }
    LeaveBy(main_leave, &main);
    LeaveBy(display_leave, &display);
    // What is left open ends with the clients' objects.
  }

  // Everything of the last sessions is over, at both sides.
  void WaitForQuiet() {
    gateway_->WaitForMetrics([](const GatewayMetrics& metrics) {
      return metrics.Sum("spicegate_channels_open") == 0 &&
             metrics.Sum("spicegate_sessions_open") == 0;
    });
    loop_.Run(PollUntilServerIsQuiet());
    EXPECT_EQ(server_->Totals().num_channels_open, 0u);
  }
  PeerTask<void> PollUntilServerIsQuiet() {
    for (int i = 0; i < 1000 && server_->Totals().num_channels_open > 0; ++i) {
      co_await loop_.Sleep(10);
    }
  }
  // Nothing else is opened here.
  uint64_t NumDisplaysAtServer() const {
    const ServerTotals totals = server_->Totals();
    return totals.num_channels_opened - totals.num_mains_opened;
  }

  PeerLoop loop_;
  PeerThread thread_;
  std::unique_ptr<SyntheticServer> server_;
  PeerAddress address_;
  std::unique_ptr<GatewayInProcess> gateway_;
};

TEST_P(EarlyLeaverTest, NoMomentHurtsTheServer) {
  uint64_t num_whole = 0;  // Displays that sent their INIT to the end.
  for (const Moment& moment : kMoments) {
    for (const Leave display :
         {Leave::kFin, Leave::kReset, Leave::kHalfClose, Leave::kStay}) {
      for (const Leave main : {Leave::kFin, Leave::kReset, Leave::kStay}) {
        SCOPED_TRACE(std::string("display leaves by ") + LeaveName(display) +
                     " " + moment.name + ", main by " + LeaveName(main));
        LeaveAt(Endpoint(), gateway_->IssueTicket("vm"), moment, display, main);
        EXPECT_EQ(server_->Totals().num_would_have_crashed, 0u);
        // How long the server waits for INIT is never the viewer's choice.
        num_whole += moment.init_len == kInitLen ? 1 : 0;
        EXPECT_LE(NumDisplaysAtServer(), num_whole);
      }
    }
  }
  WaitForQuiet();
  const ServerTotals totals = server_->Totals();
  EXPECT_EQ(totals.num_would_have_crashed, 0u);
  EXPECT_EQ(totals.num_display_intrusions, 0u);
  RecordProperty("max_stall_ms", static_cast<int>(totals.max_stall_ms));
  // Displays did reach the server: those of the last moment for certain.
  EXPECT_GE(NumDisplaysAtServer(), 12u);
  EXPECT_LE(NumDisplaysAtServer(), num_whole);
}

// The same viewers without a gateway between: what the test is about.
TEST_P(EarlyLeaverTest, DirectlyEveryMomentButTheLastHurts) {
  uint64_t expected = 0;
  for (const Moment& moment : kMoments) {
    expected += moment.wait_for_first_message ? 0 : 1;
    LeaveAt({.address = address_}, kPassword, moment, Leave::kReset,
            Leave::kStay);
    loop_.Run(PollUntilServerIsQuiet());
    EXPECT_EQ(server_->Totals().num_would_have_crashed, expected)
        << moment.name;
  }
}

// The gateway's own end is such a moment too: displays in every state of their
// start, then SIGTERM's way of stopping.
TEST_P(EarlyLeaverTest, NorDoesTheGatewaysOwnEnd) {
  std::vector<std::unique_ptr<SpiceClient>> clients;
  for (const Moment& moment : kMoments) {
    const std::string ticket = gateway_->IssueTicket("vm");
    auto main = std::make_unique<SpiceClient>(&loop_, Endpoint());
    ASSERT_TRUE(main->Link({.password = ticket}).open);
    const auto greeting = loop_.Run(GreetMain(main.get()));
    ASSERT_TRUE(greeting.has_value());
    auto display = std::make_unique<SpiceClient>(&loop_, Endpoint());
    ASSERT_TRUE(display
                    ->Link({.channel = {ChannelType::kDisplay, 0},
                            .connection_id = greeting->init.session_id,
                            .password = ticket})
                    .open);
    const std::vector<uint8_t> bytes = FirstBytes(moment);
    ASSERT_EQ(loop_.Run(display->stream()->Write(bytes)), 0);
    clients.push_back(std::move(main));
    clients.push_back(std::move(display));
  }
  gateway_->Stop();
  loop_.Run(PollUntilServerIsQuiet());
  const ServerTotals totals = server_->Totals();
  EXPECT_EQ(totals.num_channels_open, 0u);
  EXPECT_EQ(totals.num_would_have_crashed, 0u);
  EXPECT_LE(NumDisplaysAtServer(), 3u);  // Those whose INIT was whole.
  RecordProperty("max_stall_ms", static_cast<int>(totals.max_stall_ms));
}

// A server that goes away while its displays start hurts nobody but itself.
TEST_P(EarlyLeaverTest, ServerLeavesFirst) {
  const std::string ticket = gateway_->IssueTicket("vm");
  SpiceClient main(&loop_, Endpoint());
  ASSERT_TRUE(main.Link({.password = ticket}).open);
  ASSERT_TRUE(loop_.Run(GreetMain(&main)).has_value());
  thread_.Call([this] { server_->CloseAll(); });
  EXPECT_NE(main.WaitForEnd(), PeerEnd::kTimeout);
  main.Close();
  WaitForQuiet();
}

INSTANTIATE_TEST_SUITE_P(PlainAndTls, EarlyLeaverTest, testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "Tls" : "Plain";
                         });

}  // namespace
}  // namespace spicegate
