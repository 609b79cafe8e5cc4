// SPDX-License-Identifier: Apache-2.0
//
// Legs and the coroutines over them, with every kind of partial IO.
#include "gateway/io/leg.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/base/task.h"
#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"

namespace spicegate {
namespace {

struct World {
  explicit World(const SimOptions& options)
      : network(options), driver(&network) {
    auto connection = network.Connection();
    leg = Leg::Plain(&driver, connection.first);
    peer = std::move(connection.second);
  }
  explicit World(uint64_t seed = 1, const SimFaults& faults = {})
      : World(SimOptions{seed, 4096, faults}) {}

  ~World() {
    leg.Release(Socket::End::kFin);
    for (int i = 0; i < 50; ++i) {
      driver.RunOnce(1);
    }
    EXPECT_EQ(driver.OpsInFlight(), 0u);
    EXPECT_EQ(network.OpenSockets(), 0u);
  }

  SimNetwork network;
  SimDriver driver;
  Leg leg;
  SimPeer peer;
};

Task<> Into(std::optional<int>* result, Task<int> task) {
  *result = co_await std::move(task);
}

std::vector<uint8_t> Pattern(size_t len, uint64_t seed) {
  SimRandom random(seed);
  std::vector<uint8_t> bytes(len);
  for (uint8_t& byte : bytes) {
    byte = static_cast<uint8_t>(random.Next());
  }
  return bytes;
}

SimFaults Ragged(uint64_t seed) {
  SimFaults faults;
  faults.partial_read = 0.6;
  faults.partial_write = 0.6;
  faults.spurious_ready = 0.1;
  faults.spurious_eagain = 0.2;
  faults.max_delay_turns = static_cast<unsigned>(seed % 5);
  return faults;
}

std::string Text(const std::vector<uint8_t>& bytes) {
  return std::string(bytes.begin(), bytes.end());
}

TEST(LegTest, EmptyLegIsHarmless) {
  Leg leg;
  EXPECT_FALSE(leg);
  leg.Release(Socket::End::kReset);
  Leg moved = std::move(leg);
  EXPECT_FALSE(moved);
}

TEST(LegTest, MovingKeepsTheConnectionAndAssigningEndsTheOldOne) {
  World world;
  auto [fd, other_peer] = world.network.Connection();
  Leg other = Leg::Plain(&world.driver, fd);
  EXPECT_TRUE(other);
  world.leg = std::move(other);
  EXPECT_FALSE(other);
  EXPECT_EQ(world.network.OpenSockets(), 1u);
  std::array<uint8_t, 1> out;
  EXPECT_EQ(world.peer.Read(out), 0);
  EXPECT_EQ(other_peer.WriteString("x"), 1u);
  EXPECT_EQ(world.leg.stream->Read(out), 1);
}

TEST(LegTest, DestroyingALegEndsItWithFinAndReleaseAsTold) {
  for (const bool reset : {false, true}) {
    World world;
    std::array<uint8_t, 1> out;
    if (reset) {
      world.leg.Release(Socket::End::kReset);
      EXPECT_EQ(world.peer.Read(out), -ECONNRESET);
    } else {
      { const Leg gone = std::move(world.leg); }
      EXPECT_EQ(world.peer.Read(out), 0);
    }
  }
}

TEST(LegTest, StreamReportsFailuresAsTheSocketHasThem) {
  World world;
  const std::array<uint8_t, 1> in = {'x'};
  EXPECT_EQ(world.leg.stream->ReadWait(), Ready::kReadable);
  EXPECT_EQ(world.leg.stream->WriteWait(), Ready::kWritable);
  EXPECT_EQ(world.leg.stream->ShutdownWrite(), 0);
  EXPECT_EQ(world.leg.stream->Write(in), -EPIPE);
  world.peer.Reset();
  EXPECT_EQ(world.leg.stream->ShutdownWrite(), -ENOTCONN);
}

TEST(ReadExactlyTest, FillsTheWholeBufferAndNoMore) {
  for (uint64_t seed = 0; seed < 1'000; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed, Ragged(seed));
    SimRandom* random = world.network.random();
    const std::vector<uint8_t> sent = Pattern(1 + random->Below(3'000), seed);
    std::vector<uint8_t> received(1 + random->Below(sent.size()));
    std::optional<int> result;
    Spawn(Into(&result, ReadExactly(&world.leg, received)));
    size_t written = 0;
    for (int turn = 0; turn < 10'000 && !result.has_value(); ++turn) {
      const size_t piece =
          std::min(random->Below(200), uint64_t{sent.size() - written});
      if (piece > 0) {
        const ssize_t n =
            world.peer.Write(std::span(sent).subspan(written, piece));
        written += static_cast<size_t>(std::max<ssize_t>(n, 0));
      }
      world.driver.RunOnce(1);
    }
    ASSERT_EQ(result, 0);
    EXPECT_TRUE(std::equal(received.begin(), received.end(), sent.begin()));
    // What lies behind is still there for whoever reads next.
    std::string rest;
    std::array<uint8_t, 512> piece;
    while (rest.size() < written - received.size()) {
      const ssize_t n = world.leg.stream->Read(piece);
      ASSERT_TRUE(n > 0 || n == -EAGAIN);
      rest.append(piece.begin(), piece.begin() + std::max<ssize_t>(n, 0));
    }
    EXPECT_EQ(rest, Text(sent).substr(received.size(), rest.size()));
  }
}

TEST(ReadExactlyTest, EarlyEndIsNoData) {
  World world;
  std::array<uint8_t, 10> out;
  std::optional<int> result;
  Spawn(Into(&result, ReadExactly(&world.leg, out)));
  world.peer.WriteString("123");
  world.driver.RunOnce(0);
  EXPECT_FALSE(result.has_value());
  world.peer.ShutdownWrite();
  world.driver.RunOnce(0);
  EXPECT_EQ(result, -ENODATA);
}

TEST(ReadExactlyTest, ResetIsItsError) {
  World world;
  std::array<uint8_t, 10> out;
  std::optional<int> result;
  Spawn(Into(&result, ReadExactly(&world.leg, out)));
  world.peer.Reset();
  world.driver.RunOnce(0);
  EXPECT_EQ(result, -ECONNRESET);
}

TEST(ReadExactlyTest, InterruptEndsIt) {
  World world;
  std::array<uint8_t, 10> out;
  std::optional<int> result;
  Spawn(Into(&result, ReadExactly(&world.leg, out)));
  world.driver.RunOnce(0);
  world.leg.socket->Interrupt(-ETIMEDOUT);
  EXPECT_FALSE(result.has_value());
  world.driver.RunOnce(0);
  EXPECT_EQ(result, -ETIMEDOUT);
}

TEST(WriteAllTest, WritesEverythingInOrder) {
  for (uint64_t seed = 0; seed < 1'000; ++seed) {
    SCOPED_TRACE(seed);
    SimOptions options{seed, 1 + seed % 700, Ragged(seed)};
    World world(options);
    SimRandom* random = world.network.random();
    const std::vector<uint8_t> sent = Pattern(1 + random->Below(3'000), seed);
    std::optional<int> result;
    Spawn(Into(&result, WriteAll(&world.leg, sent)));
    std::string received;
    for (int turn = 0; turn < 20'000 && received.size() < sent.size(); ++turn) {
      std::array<uint8_t, 64> piece;
      const ssize_t n = world.peer.Read(
          std::span(piece).first(1 + random->Below(piece.size())));
      received.append(piece.begin(), piece.begin() + std::max<ssize_t>(n, 0));
      world.driver.RunOnce(1);
    }
    for (int turn = 0; turn < 20 && !result.has_value(); ++turn) {
      world.driver.RunOnce(1);
    }
    ASSERT_EQ(result, 0);
    EXPECT_EQ(received, Text(sent));
  }
}

TEST(WriteAllTest, InterruptAtAnyMomentLeavesAPrefix) {
  int interrupted = 0;
  for (uint64_t seed = 0; seed < 1'000; ++seed) {
    SCOPED_TRACE(seed);
    SimOptions options{seed, 100, Ragged(seed)};
    World world(options);
    SimRandom* random = world.network.random();
    const std::vector<uint8_t> sent = Pattern(1'000, seed);
    std::optional<int> result;
    std::string received;
    Spawn(Into(&result, WriteAll(&world.leg, sent)));
    const uint64_t moment = random->Below(80);
    for (uint64_t turn = 0; turn < 10'000 && !result.has_value(); ++turn) {
      if (turn == moment) {
        world.leg.socket->Interrupt(-ETIMEDOUT);
      }
      received += world.peer.ReadAll();
      world.driver.RunOnce(1);
    }
    received += world.peer.ReadAll();
    ASSERT_TRUE(result.has_value());
    if (*result == 0) {
      EXPECT_EQ(received, Text(sent));
    } else {
      ++interrupted;
      EXPECT_EQ(*result, -ETIMEDOUT);
      EXPECT_EQ(received, Text(sent).substr(0, received.size()));
    }
  }
  EXPECT_GT(interrupted, 100);
  EXPECT_LT(interrupted, 1'000);
}

TEST(WriteAllTest, ClosedPeerIsAnError) {
  World world;
  world.peer.Close();
  const std::vector<uint8_t> sent(100'000, 'x');
  std::optional<int> result;
  Spawn(Into(&result, WriteAll(&world.leg, sent)));
  for (int turn = 0; turn < 10 && !result.has_value(); ++turn) {
    world.driver.RunOnce(0);
  }
  EXPECT_EQ(result, -EPIPE);
}

}  // namespace
}  // namespace spicegate
