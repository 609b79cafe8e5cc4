// SPDX-License-Identifier: Apache-2.0
//
// Bytes between BoringSSL peers on every kind of leg: copied and spliced,
// inspected at the start and not, in bulk, in single bytes and towards readers
// that stop. Every direction of offload carries the same.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "gateway/base/limits.h"
#include "tests/tls/exchange.h"
#include "tests/tls/tls_world.h"

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;

constexpr ChannelKey kMain = {};
constexpr ChannelKey kDisplay = {ChannelType::kDisplay, 0};
constexpr ChannelKey kUsb = {ChannelType::kUsbredir, 0};
constexpr uint64_t kNumSingleBytes = 300;
constexpr uint64_t kStalledBytes = 8 << 20;
constexpr uint64_t kSomeBytes = 256 * 1024;
constexpr uint64_t kSplicedBytes = 4 << 20;

struct Legs {
  LegKind viewer;
  LegKind server;

  std::string name() const { return viewer.name() + "To" + server.name(); }
};

const Legs kLegs[] = {{kTls13Leg, kPlainLeg}, {kPlainLeg, kTls13Leg},
                      {kTls13Leg, kTls13Leg}, {kTls12Leg, kPlainLeg},
                      {kPlainLeg, kTls12Leg}, {kTls12Leg, kTls12Leg}};

// A channel over the legs of the test, and its ends.
class TransferFixture : public testing::Test {
 protected:
  void Open(const WorldOptions& options, const Legs& legs, ChannelKey key) {
    world_ = &TlsWorld::For(options);
    session_ = std::make_unique<TlsSession>(world_, legs.viewer, legs.server);
    if (key != kMain) {
      ends_ = session_->Open(key);
      ASSERT_NE(ends_, nullptr);
    }
    ChannelEnds& ends = key == kMain ? session_->main() : *ends_;
    ASSERT_NE(ends.client, nullptr);
    viewer_ = ends.viewer();
    server_ = ends.server.get();
    session_->ExpectOffload(key == kMain ? 1 : 2);
  }
  void TearDown() override {
    ends_.reset();
    session_.reset();
  }

  void ExpectExchange(const ExchangePlan& plan) {
    EXPECT_EQ(world_->loop()->Run(Exchange(viewer_, server_, &plan)), "");
  }

  TlsWorld* world_ = nullptr;
  std::unique_ptr<TlsSession> session_;
  std::unique_ptr<ChannelEnds> ends_;
  PeerStream* viewer_ = nullptr;
  PeerStream* server_ = nullptr;
};

class PathsTest : public TransferFixture,
                  public testing::WithParamInterface<
                      std::tuple<Legs, bool /*splice*/, ChannelKey>> {
 protected:
  void SetUp() override {
    const auto& [legs, splice, key] = GetParam();
    Open({.splice = splice}, legs, key);
  }
};

TEST_P(PathsTest, BulkBothWaysAtOnce) {
  ExpectExchange(
      BulkPlan(std::get<ChannelKey>(GetParam()),
               NumberFromEnvironment("SPICEGATE_TLS_PATH_BYTES", 12 << 20)));
}

std::string PathName(const testing::TestParamInfo<PathsTest::ParamType>& path) {
  const auto& [legs, splice, key] = path.param;
  return legs.name() + (splice ? "Spliced" : "Copied") +
         std::string(proto::ChannelName(key.type));
}

INSTANTIATE_TEST_SUITE_P(
    Paths, PathsTest,
    testing::Combine(testing::ValuesIn(kLegs), testing::Bool(),
                     testing::Values(kMain, kDisplay, kUsb)),
    PathName);

// Where the kernel makes the records bulk is spliced, both ways, and nowhere
// else.
class SpliceTest
    : public TransferFixture,
      public testing::WithParamInterface<std::tuple<Legs, bool /*splice*/>> {
 protected:
  void SetUp() override {
    const auto& [legs, splice] = GetParam();
    Open({.splice = splice}, legs, kUsb);
  }
};

TEST_P(SpliceTest, IsUsedWhereItCanBe) {
  const double before = world_->NumSpliced();
  ExpectExchange(BulkPlan(kUsb, kSplicedBytes));
  const double spliced = world_->NumSpliced() - before;
  if (std::get<bool>(GetParam()) && ExpectsKernelTls()) {
    // More than one direction has, and less than what small reads may take.
    EXPECT_GT(spliced, 1.2 * kSplicedBytes);
  } else {
    EXPECT_EQ(spliced, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Legs, SpliceTest,
    testing::Combine(testing::Values(Legs{kTls13Leg, kPlainLeg},
                                     Legs{kPlainLeg, kTls13Leg},
                                     Legs{kTls12Leg, kTls13Leg}),
                     testing::Bool()),
    [](const auto& path) {
      return std::get<0>(path.param).name() +
             (std::get<1>(path.param) ? "Spliced" : "Copied");
    });

class LegsTest : public TransferFixture,
                 public testing::WithParamInterface<Legs> {
 protected:
  void SetUp() override { Open({}, GetParam(), kUsb); }

  // `from` says 8 MiB while `to` does not read.
  void ExpectBounded(PeerStream* from, PeerStream* to, proto::Direction way);
  PeerTask<void> WaitUntilStill(const TrafficWriter* writer);
};

TEST_P(LegsTest, SingleBytesBothWaysAtOnce) {
  ExpectExchange(SingleBytesPlan(kNumSingleBytes));
}

TEST_P(LegsTest, SingleBytesInTurn) {
  EXPECT_EQ(world_->loop()->Run(PingPong(viewer_, server_, 20)), "");
}

// Bulk makes the relay splice, single bytes make it copy again.
TEST_P(LegsTest, BulkAndSingleBytesByTurns) {
  for (int i = 0; i < 3; ++i) {
    ExpectExchange(BulkPlan(kUsb, kSomeBytes));
    ExpectExchange(SingleBytesPlan(50));
  }
}

// Until everything is said, or everything between the two is full.
PeerTask<void> LegsTest::WaitUntilStill(const TrafficWriter* writer) {
  uint64_t last = 0;
  int num_still = 0;
  while (!writer->done() && num_still < 20) {
    co_await world_->loop()->Sleep(20);
    num_still = writer->body_bytes() == last ? num_still + 1 : 0;
    last = writer->body_bytes();
  }
}

void LegsTest::ExpectBounded(PeerStream* from, PeerStream* to,
                             proto::Direction way) {
  // Less fits into the sockets then, and more would have to be kept by a
  // gateway that reads on. A buffer below a few of loopback's segments of
  // 64 KiB would drop them again and again.
  const int small_len = 256 * 1024;
  setsockopt(to->fd(), SOL_SOCKET, SO_RCVBUF, &small_len, sizeof(small_len));
  const TrafficShape shape = ShapeOf(ChannelType::kUsbredir, way);
  TrafficWriter writer(7, shape, kStalledBytes);
  TrafficReader reader(7, shape, kStalledBytes, {});
  world_->loop()->Spawn(WritePattern(from, &writer));
  world_->loop()->Run(WaitUntilStill(&writer));
  EXPECT_LE(world_->gateway().Metrics().Value("spicegate_relay_buffer_bytes"),
            2 * kPumpBufferBytes);
  EXPECT_EQ(world_->loop()->Run(ReadPatternUntil(to, &reader, kStalledBytes)),
            "");
  EXPECT_TRUE(reader.done()) << reader.error();
}

TEST_P(LegsTest, ViewerThatStopsReading) {
  ExpectBounded(server_, viewer_, proto::Direction::kServerToClient);
  ExpectExchange(BulkPlan(kUsb, kSomeBytes));
}

TEST_P(LegsTest, ServerThatStopsReading) {
  ExpectBounded(viewer_, server_, proto::Direction::kClientToServer);
  ExpectExchange(BulkPlan(kUsb, kSomeBytes));
}

INSTANTIATE_TEST_SUITE_P(Legs, LegsTest, testing::ValuesIn(kLegs),
                         [](const auto& tested) {
                           return tested.param.name();
                         });

struct Directions {
  const char* client;
  const char* server;
};

class DirectionsTest : public TransferFixture,
                       public testing::WithParamInterface<Directions> {
 protected:
  WorldOptions Options(bool splice) const {
    return {.splice = splice,
            .client_offload = GetParam().client,
            .server_offload = GetParam().server};
  }
};

TEST_P(DirectionsTest, CarryEveryByte) {
  for (const Legs& legs :
       {Legs{kTls13Leg, kTls13Leg}, {kTls12Leg, kTls12Leg}}) {
    SCOPED_TRACE(legs.name());
    ASSERT_NO_FATAL_FAILURE(Open(Options(true), legs, kUsb));
    ExpectExchange(BulkPlan(kUsb, kSomeBytes));
    ExpectExchange(SingleBytesPlan(50));
    TearDown();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Offload, DirectionsTest,
    testing::Values(Directions{"none", "none"}, Directions{"send", "send"},
                    Directions{"receive", "receive"},
                    Directions{"send", "receive"},
                    Directions{"receive", "send"}, Directions{"none", "both"},
                    Directions{"both", "none"}),
    [](const auto& tested) {
      return std::string(tested.param.client) + "_" + tested.param.server;
    });

}  // namespace
}  // namespace spicegate
