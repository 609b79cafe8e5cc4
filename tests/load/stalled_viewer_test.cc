// SPDX-License-Identifier: Apache-2.0
//
// A gigabyte towards a viewer that has stopped reading: the gateway keeps what
// its budget allows and no more, other sessions notice nothing, and when the
// viewer goes on it gets every byte. The same towards a server.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/base/limits.h"
#include "proto/messages.h"
#include "tests/load/load_environment.h"
#include "tests/peer/gateway_process.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/session_client.h"
#include "tests/peer/synthetic_server.h"

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;

constexpr ChannelKey kDisplay = {ChannelType::kDisplay, 0};
constexpr ChannelKey kWebdav = {ChannelType::kWebdav, 0};
constexpr uint64_t kStalledSeed = 77;
constexpr uint64_t kOtherBytes = 65'536;
constexpr size_t kNumOthers = 10;
// Main, display and webdav of the stalled viewer, both directions.
constexpr uint64_t kBudgetBytes = 3 * 2 * kPumpBufferBytes;
// Sessions of the others, allocator slack, TLS states.
constexpr uint64_t kSlackBytes = 4 << 20;
// What the kernel's socket buffers can take on two connections in a row.
constexpr uint64_t kKernelBytes = 64 << 20;
constexpr int64_t kPatience = 120'000;
constexpr int64_t kFullPollMs = 50;

class StalledViewerTest : public testing::TestWithParam<bool> {
 protected:
  StalledViewerTest()
      : total_bytes_(NumberFromEnv("SPICEGATE_STALL_BYTES", 1ull << 30)) {
    thread_.Call([this] {
      SyntheticServerOptions options;
      options.consoles = {{"stalled", kStalledSeed}};
      options.channels = {kDisplay, kWebdav};
      options.plan = [this](ChannelKey key) { return StalledPlan(key); };
      stalled_server_ =
          std::make_unique<SyntheticServer>(thread_.loop(), options);
      SyntheticServerOptions others;
      for (size_t i = 0; i < kNumOthers; ++i) {
        others.consoles.push_back({"other" + std::to_string(i), i + 1});
      }
      others.channels = EveryChannel();
      others.plan = OtherPlan;
      other_server_ =
          std::make_unique<SyntheticServer>(thread_.loop(), std::move(others));
      stalled_address_ = stalled_server_->Listen({});
      other_address_ = other_server_->Listen({});
    });
    StartGateway();
  }
  ~StalledViewerTest() override { thread_.Stop(); }

  TrafficPlan StalledPlan(ChannelKey key) const {
    const uint64_t display = key == kDisplay ? total_bytes_ / 4 * 3 : 0;
    const uint64_t webdav = key == kWebdav ? total_bytes_ / 4 : 0;
    if (to_server_) {
      return {.to_client_bytes = 0, .to_server_bytes = webdav};
    }
    return {.to_client_bytes = display + webdav, .to_server_bytes = 0};
  }
  static TrafficPlan OtherPlan(ChannelKey key) {
    return PlanFor(key, kOtherBytes);
  }

  void StartGateway() {
    GatewayOptions options;
    options.limits = {{"preauth_deadline_ms", kPatience}};
    options.consoles = {{.name = "stalled",
                         .address = stalled_address_,
                         .password = "stalled"}};
    for (size_t i = 0; i < kNumOthers; ++i) {
      const std::string name = "other" + std::to_string(i);
      options.consoles.push_back(
          {.name = name, .address = other_address_, .password = name});
    }
    gateway_ = std::make_unique<GatewayProcess>(options);
  }

  uint64_t WrittenToStalled() {
    ServerTotals totals = stalled_server_->Totals();
    return totals.Of(ChannelType::kDisplay).to_client +
           totals.Of(ChannelType::kWebdav).to_client;
  }

  // True once `count` has not grown for a while: everything between the one
  // who offers and the one who does not read is full. False when it goes on.
  PeerTask<bool> WaitUntilFull(std::function<uint64_t()> count) {
    uint64_t last = 0;
    int still = 0;
    for (int64_t ms = 0; ms < kPatience && still < 20; ms += kFullPollMs) {
      co_await loop_.Sleep(kFullPollMs);
      const uint64_t now = count();
      still = now == last && now > 0 ? still + 1 : 0;
      last = now;
      SampleMemory();
    }
    co_return still == 20;
  }

  // The channels of the viewer that will not read, or that writes to a server
  // that does not.
  void OpenStalled(const PeerEndpoint& endpoint) {
    const std::string ticket = gateway_->IssueTicket("stalled");
    main_ = std::make_unique<SpiceClient>(&loop_, endpoint);
    ASSERT_TRUE(main_->Link({.password = ticket}).open);
    const auto greeting = loop_.Run(GreetMain(main_.get()));
    ASSERT_TRUE(greeting.has_value());
    for (const ChannelKey key : {kDisplay, kWebdav}) {
      auto client = std::make_unique<SpiceClient>(&loop_, endpoint);
      client->set_timeout_ms(kPatience);
      ASSERT_TRUE(client
                      ->Link({.channel = key,
                              .connection_id = greeting->init.session_id,
                              .password = ticket})
                      .open);
      (key == kDisplay ? display_ : webdav_) = std::move(client);
    }
    ASSERT_EQ(loop_.Run(SendDisplayInit(display_.get())), 0);
  }

  // Whether memory has stayed within its budget since `before`.
  void ExpectWithinBudget(uint64_t before) {
    SampleMemory();
    EXPECT_LT(max_resident_, before + kBudgetBytes + kSlackBytes);
    EXPECT_LE(gateway_->Metrics().Sum("spicegate_relay_buffer_bytes"),
              kBudgetBytes);
  }

  PeerTask<void> RunOther(const SessionOptions* options, SessionReport* report,
                          PeerJoin* join) {
    *report = co_await RunSession(&loop_, options);
    SampleMemory();
    join->Done();
  }

  void RunOthers() {
    std::vector<SessionOptions> options(kNumOthers);
    std::vector<SessionReport> reports(kNumOthers);
    PeerJoin join(&loop_);
    for (size_t i = 0; i < kNumOthers; ++i) {
      options[i].endpoint = i % 2 == 0 ? gateway_->plain() : gateway_->tls();
      options[i].password = gateway_->IssueTicket("other" + std::to_string(i));
      options[i].console_seed = i + 1;
      options[i].plan = OtherPlan;
      join.Add();
    }
    for (size_t i = 0; i < kNumOthers; ++i) {
      loop_.Spawn(RunOther(&options[i], &reports[i], &join));
    }
    loop_.Run(join.Wait());
    for (const SessionReport& report : reports) {
      EXPECT_EQ(report.error, "");
      EXPECT_EQ(report.num_channels, 1 + EveryChannel().size());
    }
  }

  void SampleMemory() {
    max_resident_ =
        std::max(max_resident_, gateway_->process()->resident_bytes());
  }

  PeerTask<void> Resume(SpiceClient* client, ChannelKey key, std::string* error,
                        PeerJoin* join) {
    *error = co_await RunTraffic(client, key, kStalledSeed, StalledPlan(key));
    join->Done();
  }

  const uint64_t total_bytes_;
  std::atomic<bool> to_server_ = false;  // The direction of the stalled bytes.
  PeerLoop loop_;
  PeerThread thread_;
  std::unique_ptr<SyntheticServer> stalled_server_;
  std::unique_ptr<SyntheticServer> other_server_;
  PeerAddress stalled_address_;
  PeerAddress other_address_;
  std::unique_ptr<GatewayProcess> gateway_;
  std::unique_ptr<SpiceClient> main_;
  std::unique_ptr<SpiceClient> display_;
  std::unique_ptr<SpiceClient> webdav_;
  uint64_t max_resident_ = 0;
};

TEST_P(StalledViewerTest, CostsItsBudgetAndLosesNothing) {
  // Once through everything, so that what is allocated for good is.
  RunOthers();
  const uint64_t before = gateway_->process()->resident_bytes();
  max_resident_ = 0;
  OpenStalled(GetParam() ? gateway_->tls() : gateway_->plain());

  // Nobody reads. The server stops at what buffers take.
  EXPECT_TRUE(loop_.Run(WaitUntilFull([this] { return WrittenToStalled(); })));
  RecordProperty("stalled_at_bytes", static_cast<int>(WrittenToStalled()));
  EXPECT_LT(WrittenToStalled(), kKernelBytes + kBudgetBytes);
  RunOthers();
  ExpectWithinBudget(before);

  std::string display_error;
  std::string webdav_error;
  PeerJoin join(&loop_);
  join.Add();
  join.Add();
  loop_.Spawn(Resume(display_.get(), kDisplay, &display_error, &join));
  loop_.Spawn(Resume(webdav_.get(), kWebdav, &webdav_error, &join));
  loop_.Run(join.Wait());
  EXPECT_EQ(display_error, "");
  EXPECT_EQ(webdav_error, "");
  ExpectWithinBudget(before);
  EXPECT_GE(WrittenToStalled(), total_bytes_);
  RecordProperty("resident_bytes_before", static_cast<int>(before));
  RecordProperty("resident_bytes_max", static_cast<int>(max_resident_));
  gateway_->Stop();
}

TEST_P(StalledViewerTest, SoDoesAStalledServer) {
  to_server_ = true;
  RunOthers();
  const uint64_t before = gateway_->process()->resident_bytes();
  max_resident_ = 0;
  OpenStalled(GetParam() ? gateway_->tls() : gateway_->plain());
  thread_.Call([this] { stalled_server_->set_reading_paused(true); });

  std::string error;
  PeerJoin join(&loop_);
  join.Add();
  loop_.Spawn(Resume(webdav_.get(), kWebdav, &error, &join));
  const auto offered = [this] { return webdav_->stream()->bytes_written(); };
  EXPECT_TRUE(loop_.Run(WaitUntilFull(offered)));
  EXPECT_LT(offered(), kKernelBytes + kBudgetBytes);
  RunOthers();
  ExpectWithinBudget(before);

  thread_.Call([this] { stalled_server_->set_reading_paused(false); });
  loop_.Run(join.Wait());
  EXPECT_EQ(error, "");
  EXPECT_EQ(stalled_server_->Totals().num_pattern_errors, 0u);
  EXPECT_GE(stalled_server_->Totals().Of(ChannelType::kWebdav).to_server,
            total_bytes_ / 4);
  ExpectWithinBudget(before);
  gateway_->Stop();
}

INSTANTIATE_TEST_SUITE_P(PlainAndTls, StalledViewerTest, testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "Tls" : "Plain";
                         });

}  // namespace
}  // namespace spicegate
