// SPDX-License-Identifier: Apache-2.0
//
// A real QEMU whose links are made before their tickets, and many of them in
// vain: nothing of it may hurt the desktop.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "tests/door/half_link.h"
#include "tests/peer/gateway_in_process.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/qemu_process.h"
#include "tests/peer/spice_client.h"

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;

constexpr char kDials[] = "spicegate_early_dials_total";
constexpr int kRounds = 3;

class EarlyDialQemuTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!QemuProcess::Available() && std::getenv("SPICEGATE_CI") == nullptr) {
      GTEST_SKIP() << "no QEMU";
    }
    qemu_ = std::make_unique<QemuProcess>(
        QemuProcess::Options{.every_device = true});
    gateway_ = std::make_unique<GatewayInProcess>(
        GatewayOptions{.consoles = {{.name = "vm",
                                     .address = {.port = qemu_->port()},
                                     .password = "secret"}}});
  }
  void TearDown() override {
    main_.reset();
    if (gateway_ != nullptr) {
      gateway_->Stop();
      EXPECT_TRUE(qemu_->process()->running());
    }
  }

  // Main, and what it offers; display is the last of them.
  void OpenMain() {
    ticket_ = gateway_->IssueTicket("vm");
    main_ = std::make_unique<SpiceClient>(&loop_, gateway_->plain());
    ASSERT_TRUE(main_->Link({.password = ticket_}).open);
    const auto greeting = loop_.Run(GreetMain(main_.get()));
    ASSERT_TRUE(greeting.has_value());
    ASSERT_GE(greeting->channels.size(), 7u);
    session_id_ = greeting->init.session_id;
    channels_ = greeting->channels;
  }

  // Links of all channels, none with its ticket.
  std::vector<std::unique_ptr<HalfLink>> BeginAll() {
    std::vector<std::unique_ptr<HalfLink>> links;
    for (const ChannelKey key : channels_) {
      links.push_back(std::make_unique<HalfLink>(
          &loop_, HalfLink::Options{.port = gateway_->plain().address.port,
                                    .channel = key,
                                    .connection_id = session_id_}));
    }
    return links;
  }

  double Dials(const std::string& outcome) {
    return gateway_->Metrics().Value(kDials, "outcome=\"" + outcome + "\"");
  }

  PeerLoop loop_;
  std::unique_ptr<QemuProcess> qemu_;
  std::unique_ptr<GatewayInProcess> gateway_;
  std::unique_ptr<SpiceClient> main_;
  std::string ticket_;
  uint32_t session_id_ = 0;
  std::vector<ChannelKey> channels_;
};

TEST_F(EarlyDialQemuTest, EveryChannelOpens) {
  OpenMain();
  const std::vector<std::unique_ptr<HalfLink>> links = BeginAll();
  for (const auto& link : links) {
    EXPECT_EQ(link->Authenticate(ticket_), LinkIsOpen());
  }
  EXPECT_EQ(Dials("used"), static_cast<double>(links.size()));
}

TEST_F(EarlyDialQemuTest, DialsInVainHurtNobody) {
  for (int round = 0; round < kRounds; ++round) {
    OpenMain();
    std::vector<std::unique_ptr<HalfLink>> links = BeginAll();
    // QEMU answers one link after another: when the last one has its result,
    // the others have their replies.
    EXPECT_EQ(links.back()->Authenticate(ticket_), LinkIsOpen());
    links.clear();
    // And now without waiting for anything, and main in the middle of it.
    links = BeginAll();
    main_->Reset();
    links.clear();
  }
  gateway_->WaitForMetrics([](const GatewayMetrics& metrics) {
    return metrics.Sum("spicegate_links_open") == 0;
  });
  EXPECT_GE(Dials("dropped"), kRounds * (channels_.size() - 1.0));
  // The desktop is as good as ever: its display answers.
  OpenMain();
  SpiceClient display(&loop_, gateway_->plain());
  ASSERT_TRUE(display
                  .Link({.channel = {ChannelType::kDisplay, 0},
                         .connection_id = session_id_,
                         .password = ticket_})
                  .open);
  ASSERT_EQ(loop_.Run(SendDisplayInit(&display)), 0);
  EXPECT_TRUE(display.Read().has_value());
}

}  // namespace
}  // namespace spicegate
