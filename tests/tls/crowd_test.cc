// SPDX-License-Identifier: Apache-2.0
//
// Many channels at once with TLS on both legs, all of them with traffic both
// ways.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/tls/exchange.h"
#include "tests/tls/tls_world.h"

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;

constexpr uint64_t kNumSessions = 20;
constexpr uint8_t kNumPorts = 9;
constexpr uint64_t kBytes = 64 * 1024;

PeerTask<void> ExchangeOne(ChannelEnds* ends, const ExchangePlan* plan,
                           std::string* error, PeerJoin* join) {
  const std::string result =
      co_await Exchange(ends->viewer(), ends->server.get(), plan);
  if (error->empty()) {
    *error = result;
  }
  join->Done();
}

// On the loop's thread: all exchanges have begun before any of them ends.
PeerTask<std::string> ExchangeAll(
    PeerLoop* loop, const std::vector<std::unique_ptr<ChannelEnds>>* channels,
    const ExchangePlan* plan) {
  PeerJoin join(loop);
  std::string error;
  for (const auto& ends : *channels) {
    join.Add();
    loop->Spawn(ExchangeOne(ends.get(), plan, &error, &join));
  }
  co_await join.Wait();
  co_return error;
}

class CrowdTest : public testing::TestWithParam<bool> {};

TEST_P(CrowdTest, TwoHundredChannelsAtOnce) {
  TlsWorld& world = TlsWorld::For({.splice = GetParam()});
  std::vector<std::unique_ptr<TlsSession>> sessions;
  std::vector<std::unique_ptr<ChannelEnds>> channels;
  for (uint64_t i = 0; i < kNumSessions; ++i) {
    const LegKind& kind = i % 2 == 0 ? kTls13Leg : kTls12Leg;
    sessions.push_back(std::make_unique<TlsSession>(&world, kind, kind));
    ASSERT_NE(sessions.back()->main().client, nullptr);
    for (uint8_t port = 0; port < kNumPorts; ++port) {
      channels.push_back(sessions.back()->Open({ChannelType::kUsbredir, port}));
      ASSERT_NE(channels.back(), nullptr);
    }
  }
  constexpr double kNumChannels = kNumSessions * (kNumPorts + 1.0);
  for (const TlsSide side : {TlsSide::kClient, TlsSide::kServer}) {
    EXPECT_EQ(world.NumRelayed(side, world.ExpectedOffload(side)),
              kNumChannels);
  }
  const ExchangePlan plan = BulkPlan({ChannelType::kUsbredir, 0}, kBytes);
  EXPECT_EQ(world.loop()->Run(ExchangeAll(world.loop(), &channels, &plan)), "");
  channels.clear();
  for (const auto& session : sessions) {
    session->Close();
  }
}

INSTANTIATE_TEST_SUITE_P(Relay, CrowdTest, testing::Bool(),
                         [](const auto& tested) {
                           return tested.param ? "Spliced" : "Copied";
                         });

}  // namespace
}  // namespace spicegate
