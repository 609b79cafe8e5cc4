// SPDX-License-Identifier: Apache-2.0
//
// What the simulator adds to the contract of pipes: quota, faults, and the
// CHECK failures that make a misuse visible.
#include "gateway/io/sim_pipes.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>
#include <vector>

#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"

namespace spicegate {
namespace {

constexpr size_t kKib = 1024;

struct World {
  explicit World(const SimOptions& options)
      : network(options), driver(&network) {}

  Pipe Open(size_t size_bytes) {
    Pipe pipe;
    EXPECT_EQ(driver.OpenPipe(size_bytes, &pipe), 0);
    return pipe;
  }

  SimNetwork network;
  SimDriver driver;
};

SimOptions WithFaults(const SimFaults& faults) {
  SimOptions options;
  options.faults = faults;
  return options;
}

TEST(SimPipesTest, CountsOpenPipesAndNeverUsesANumberTwice) {
  World world{SimOptions{}};
  std::set<int> numbers;
  for (int i = 0; i < 20; ++i) {
    Pipe first = world.Open(64 * kKib);
    Pipe second = world.Open(64 * kKib);
    EXPECT_EQ(world.network.OpenPipes(), 2u);
    for (const int fd :
         {first.read_fd, first.write_fd, second.read_fd, second.write_fd}) {
      EXPECT_TRUE(numbers.insert(fd).second);
    }
    world.driver.ClosePipe(&first);
    EXPECT_FALSE(first.open());
    EXPECT_EQ(world.network.OpenPipes(), 1u);
    world.driver.ClosePipe(&second);
  }
  EXPECT_EQ(world.network.OpenPipes(), 0u);
  EXPECT_EQ(world.network.OpenSockets(), 0u);
}

TEST(SimPipesTest, TheQuotaMakesPipesSmallerAndComesBack) {
  SimOptions options;
  options.pipe_quota_bytes = 600 * kKib;
  World world(options);
  std::vector<Pipe> pipes;
  std::vector<size_t> capacities;
  for (int i = 0; i < 5; ++i) {
    pipes.push_back(world.Open(256 * kKib));
    capacities.push_back(pipes.back().capacity_bytes);
  }
  EXPECT_EQ(capacities, (std::vector<size_t>{256 * kKib, 256 * kKib, 64 * kKib,
                                             8 * kKib, 8 * kKib}));
  for (Pipe& pipe : pipes) {
    world.driver.ClosePipe(&pipe);
  }
  Pipe again = world.Open(512 * kKib);
  EXPECT_EQ(again.capacity_bytes, 512 * kKib);
  world.driver.ClosePipe(&again);
}

TEST(SimPipesTest, FaultsRefuseAndShrinkPipes) {
  SimFaults faults;
  faults.pipe_error = 0.5;
  faults.small_pipe = 0.5;
  World world(WithFaults(faults));
  std::set<int> results;
  std::set<size_t> capacities;
  for (int i = 0; i < 500; ++i) {
    Pipe pipe;
    results.insert(world.driver.OpenPipe(256 * kKib, &pipe));
    if (pipe.open()) {
      capacities.insert(pipe.capacity_bytes);
      world.driver.ClosePipe(&pipe);
    }
  }
  EXPECT_EQ(results, (std::set<int>{-EMFILE, -ENFILE, 0}));
  EXPECT_EQ(capacities, (std::set<size_t>{8 * kKib, 16 * kKib, 32 * kKib,
                                          64 * kKib, 256 * kKib}));
  EXPECT_EQ(world.network.OpenPipes(), 0u);
}

// As on loopback, where one slot may hold 32 KiB.
TEST(SimPipesTest, OddSegmentsFillAPipeEarlyOrOverfillIt) {
  SimFaults faults;
  faults.odd_segments = 1;
  SimOptions options = WithFaults(faults);
  options.link_capacity_bytes = 1024 * kKib;
  World world(options);
  bool early = false;
  bool beyond = false;
  for (int i = 0; i < 100; ++i) {
    auto [fd, peer] = world.network.Connection();
    peer.WriteString(std::string(options.link_capacity_bytes, 's'));
    Pipe pipe = world.Open(8 * kKib);
    EXPECT_GT(world.driver.SpliceIn(fd, pipe, 64 * kKib), 0);
    EXPECT_EQ(world.driver.SpliceIn(fd, pipe, 64 * kKib), -EAGAIN);
    early |= world.network.PipedBytes(pipe) < pipe.capacity_bytes;
    beyond |= world.network.PipedBytes(pipe) > pipe.capacity_bytes;
    world.driver.ClosePipe(&pipe);
    world.driver.Close(fd, false);
  }
  EXPECT_TRUE(early);
  EXPECT_TRUE(beyond);
}

TEST(SimPipesTest, FaultsDisturbSplicesAndLoseNothing) {
  SimFaults faults;
  faults.partial_read = 0.7;
  faults.partial_write = 0.7;
  faults.spurious_eagain = 0.3;
  faults.odd_segments = 0.5;
  World world(WithFaults(faults));
  auto [in, sender] = world.network.Connection();
  auto [out, receiver] = world.network.Connection();
  std::string text;
  for (int i = 0; i < 20'000; ++i) {
    text.push_back(static_cast<char>(i * 7 + i / 256));
  }
  EXPECT_EQ(sender.WriteString(text), text.size());
  Pipe pipe = world.Open(8 * kKib);
  size_t held = 0;
  int short_reads = 0;
  int eagains = 0;
  std::string received;
  for (int i = 0; i < 10'000 && received.size() < text.size(); ++i) {
    const ssize_t n = world.driver.SpliceIn(in, pipe, 8 * kKib);
    eagains += n == -EAGAIN ? 1 : 0;
    short_reads += n > 0 && n < static_cast<ssize_t>(4 * kKib) ? 1 : 0;
    held += n > 0 ? static_cast<size_t>(n) : 0;
    EXPECT_EQ(world.network.PipedBytes(pipe), held);
    if (held > 0) {
      const ssize_t m = world.driver.SpliceOut(pipe, out, held);
      held -= m > 0 ? static_cast<size_t>(m) : 0;
    }
    received += receiver.ReadAll();
  }
  EXPECT_TRUE(received == text);
  EXPECT_GT(short_reads, 0);
  EXPECT_GT(eagains, 0);
  world.driver.ClosePipe(&pipe);
  world.driver.Close(in, false);
  world.driver.Close(out, false);
}

TEST(SimPipesTest, FaultsBreakTheConnectionNotThePipe) {
  SimFaults faults;
  faults.send_error = 1;
  World world(WithFaults(faults));
  auto [in, sender] = world.network.Connection();
  auto [out, receiver] = world.network.Connection();
  sender.WriteString("inside");
  Pipe pipe = world.Open(8 * kKib);
  EXPECT_EQ(world.driver.SpliceIn(in, pipe, 8 * kKib), 6);
  EXPECT_LT(world.driver.SpliceOut(pipe, out, 6), 0);
  EXPECT_TRUE(receiver.broken());
  EXPECT_EQ(world.network.PipedBytes(pipe), 6u);
  world.driver.ClosePipe(&pipe);
  world.driver.Close(in, false);
  world.driver.Close(out, false);
}

TEST(SimPipesTest, ReadFaultsBreakTheConnectionToo) {
  SimFaults faults;
  faults.recv_error = 1;
  World world(WithFaults(faults));
  auto [in, sender] = world.network.Connection();
  sender.WriteString("lost");
  Pipe pipe = world.Open(8 * kKib);
  EXPECT_LT(world.driver.SpliceIn(in, pipe, 8 * kKib), 0);
  EXPECT_TRUE(sender.broken());
  EXPECT_EQ(world.network.PipedBytes(pipe), 0u);
  world.driver.ClosePipe(&pipe);
  world.driver.Close(in, false);
}

TEST(SimPipesDeathTest, MisuseIsACheckFailure) {
  World world{SimOptions{}};
  auto [fd, peer] = world.network.Connection();
  peer.WriteString("abc");
  Pipe pipe = world.Open(8 * kKib);
  EXPECT_DEATH(world.driver.SpliceOut(pipe, fd, 1), "");
  ASSERT_EQ(world.driver.SpliceIn(fd, pipe, 8 * kKib), 3);
  EXPECT_DEATH(world.driver.SpliceOut(pipe, fd, 4), "");
  EXPECT_DEATH(world.driver.SpliceOut(pipe, fd, 0), "");
  EXPECT_DEATH(world.driver.SpliceIn(fd, pipe, 0), "");
  EXPECT_DEATH(world.driver.SpliceIn(fd + 1'000, pipe, 1), "");
  const Pipe stale = pipe;
  Pipe mixed = world.Open(8 * kKib);
  EXPECT_DEATH(
      world.driver.SpliceIn(fd, Pipe{pipe.read_fd, mixed.write_fd, 8192}, 1),
      "");
  world.driver.ClosePipe(&mixed);
  world.driver.ClosePipe(&pipe);
  EXPECT_DEATH(world.driver.SpliceIn(fd, stale, 1), "");
  EXPECT_DEATH(world.driver.SpliceOut(stale, fd, 1), "");
  EXPECT_DEATH(world.driver.ClosePipe(&pipe), "");
  world.driver.Close(fd, false);
}

}  // namespace
}  // namespace spicegate
