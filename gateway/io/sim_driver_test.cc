// SPDX-License-Identifier: Apache-2.0
//
// What the simulator has beyond driver_conformance_test.cc: chance that can be
// repeated, faults, a clock of its own, and no mercy for broken contracts.
#include "gateway/io/sim_driver.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gateway/io/driver.h"
#include "gateway/io/sim_network.h"

namespace spicegate {
namespace {

class Recorder final : public OpHandler {
 public:
  void OnOp(uint32_t tag, OpResult result) override {
    tags.push_back(tag);
    results.push_back(result);
  }

  std::vector<uint32_t> tags;
  std::vector<OpResult> results;
};

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// A network with one driver.
struct World {
  explicit World(const SimOptions& options)
      : network(options), driver(&network) {}
  explicit World(uint64_t seed, const SimFaults& faults = {})
      : World(SimOptions{seed, 64 * 1024, faults}) {}

  void Run(int turns) {
    for (int i = 0; i < turns; ++i) {
      driver.RunOnce(1);
    }
  }

  OpId Connect(int fd, const sockaddr_in& address, OpHandler* handler) {
    return driver.Connect(fd, reinterpret_cast<const sockaddr*>(&address),
                          sizeof(address), handler, 0);
  }

  SimNetwork network;
  SimDriver driver;
};

// The order in which twenty operations complete.
std::vector<uint32_t> CompletionOrder(uint64_t seed, unsigned max_delay) {
  SimFaults faults;
  faults.max_delay_turns = max_delay;
  World world(seed, faults);
  const auto [a, b] = world.network.SocketPair();
  Recorder recorder;
  for (uint32_t tag = 0; tag < 20; ++tag) {
    world.driver.Poll(a, Ready::kWritable, &recorder, tag);
  }
  world.Run(20);
  EXPECT_EQ(world.driver.OpsInFlight(), 0u);
  world.driver.Close(a, false);
  world.driver.Close(b, false);
  return recorder.tags;
}

TEST(SimDriverTest, SeedDecidesTheOrder) {
  std::set<std::vector<uint32_t>> orders;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const std::vector<uint32_t> order = CompletionOrder(seed, seed % 4);
    EXPECT_EQ(order.size(), 20u);
    EXPECT_EQ(order, CompletionOrder(seed, seed % 4));
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 50u);
}

TEST(SimDriverTest, DelayedCompletionsComeInLaterTurns) {
  SimFaults faults;
  faults.max_delay_turns = 5;
  World world(3, faults);
  const auto [a, b] = world.network.SocketPair();
  Recorder recorder;
  for (uint32_t tag = 0; tag < 60; ++tag) {
    world.driver.Poll(a, Ready::kWritable, &recorder, tag);
  }
  unsigned turns_with_completions = 0;
  unsigned handed_out = 0;
  for (int turn = 0; turn < 6; ++turn) {
    const unsigned n = world.driver.RunOnce(0);
    handed_out += n;
    turns_with_completions += n > 0 ? 1 : 0;
  }
  EXPECT_EQ(handed_out, 60u);
  EXPECT_GE(turns_with_completions, 4u);
  world.driver.Close(a, false);
  world.driver.Close(b, false);
}

TEST(SimDriverTest, TimeMovesOnlyInRunOnce) {
  World world(1);
  const int64_t start_ms = world.driver.NowMs();
  EXPECT_GT(start_ms, 0);
  world.driver.RunOnce(0);
  EXPECT_EQ(world.driver.NowMs(), start_ms);
  world.driver.RunOnce(30'000);
  EXPECT_EQ(world.driver.NowMs(), start_ms + 30'000);
  world.driver.RunOnce(-1);
  EXPECT_EQ(world.driver.NowMs(), start_ms + 30'000);
  world.driver.Wake();
  world.driver.RunOnce(30'000);
  EXPECT_EQ(world.driver.NowMs(), start_ms + 30'000);

  const auto [a, b] = world.network.SocketPair();
  Recorder recorder;
  world.driver.Poll(a, Ready::kWritable, &recorder, 0);
  EXPECT_EQ(world.driver.RunOnce(30'000), 1u);
  EXPECT_EQ(world.driver.NowMs(), start_ms + 30'000);
  world.driver.Close(a, false);
  world.driver.Close(b, false);
}

TEST(SimDriverTest, PartialIoMovesEveryByteOnce) {
  SimFaults faults;
  faults.partial_read = 0.7;
  faults.partial_write = 0.7;
  faults.spurious_eagain = 0.3;
  World world(SimOptions{5, 100, faults});
  const auto [a, b] = world.network.SocketPair();
  std::string sent;
  std::string received;
  std::set<ssize_t> sizes;
  for (int i = 0; i < 3'000; ++i) {
    const std::string piece(1 + i % 40, static_cast<char>('a' + i % 26));
    const ssize_t taken = world.driver.Send(a, Bytes(piece));
    ASSERT_TRUE(taken > 0 || taken == -EAGAIN);
    sent.append(piece, 0, taken > 0 ? static_cast<size_t>(taken) : 0);
    std::array<uint8_t, 50> out;
    const ssize_t got = world.driver.Recv(b, out);
    ASSERT_TRUE(got > 0 || got == -EAGAIN);
    received.append(reinterpret_cast<char*>(out.data()),
                    got > 0 ? static_cast<size_t>(got) : 0);
    sizes.insert(got);
  }
  EXPECT_GT(sizes.size(), 20u);
  EXPECT_EQ(received, sent.substr(0, received.size()));
  EXPECT_LE(sent.size() - received.size(), 100u);
  world.driver.Close(a, false);
  world.driver.Close(b, false);
}

TEST(SimDriverTest, SpuriousReadinessHasNothingBehindIt) {
  SimFaults faults;
  faults.spurious_ready = 1;
  World world(1, faults);
  auto [fd, peer] = world.network.Connection();
  Recorder recorder;
  world.driver.Poll(fd, Ready::kReadable, &recorder, 0);
  world.Run(2);
  ASSERT_EQ(recorder.results.size(), 1u);
  EXPECT_GT(recorder.results[0].value, 0);
  std::array<uint8_t, 1> out;
  EXPECT_EQ(world.driver.Recv(fd, out), -EAGAIN);
  world.driver.Close(fd, false);
}

TEST(SimDriverTest, BrokenConnectionsAreBrokenForBothEnds) {
  for (const bool reading : {false, true}) {
    SimFaults faults;
    (reading ? faults.recv_error : faults.send_error) = 1;
    World world(1, faults);
    auto [fd, peer] = world.network.Connection();
    std::array<uint8_t, 4> out;
    const ssize_t n = reading ? world.driver.Recv(fd, out)
                              : world.driver.Send(fd, Bytes("x"));
    EXPECT_LT(n, 0);
    EXPECT_NE(n, -EAGAIN);
    EXPECT_EQ(world.network.num_broken(), 1u);
    EXPECT_EQ(peer.Read(out), -ECONNRESET);
    // Dead from here on, and without further chance.
    EXPECT_EQ(world.driver.Recv(fd, out), 0);
    EXPECT_EQ(world.driver.Send(fd, Bytes("x")), -EPIPE);
    EXPECT_EQ(world.network.num_broken(), 1u);
    world.driver.Close(fd, false);
  }
}

TEST(SimDriverTest, ConnectFaults) {
  SimFaults failing;
  failing.connect_error = 1;
  World world(1, failing);
  const int listener = world.network.Listen(SimAddress(80));
  const int fd = world.driver.OpenSocket(AF_INET);
  Recorder recorder;
  world.Connect(fd, SimAddress(80), &recorder);
  world.Run(2);
  ASSERT_EQ(recorder.results.size(), 1u);
  EXPECT_LT(recorder.results[0].value, 0);
  world.driver.Close(fd, false);
  world.driver.Close(listener, false);
}

TEST(SimDriverTest, StalledConnectEndsOnlyWhenCancelled) {
  SimFaults faults;
  faults.connect_stall = 1;
  World world(1, faults);
  const int listener = world.network.Listen(SimAddress(80));
  const int fd = world.driver.OpenSocket(AF_INET);
  Recorder recorder;
  const OpId op = world.Connect(fd, SimAddress(80), &recorder);
  world.Run(100);
  EXPECT_TRUE(recorder.results.empty());
  world.driver.Cancel(op);
  world.Run(1);
  ASSERT_EQ(recorder.results.size(), 1u);
  EXPECT_EQ(recorder.results[0].value, -ECANCELED);
  world.driver.Close(fd, false);
  world.driver.Close(listener, false);
}

TEST(SimDriverTest, FullBacklogKeepsConnectWaiting) {
  World world(1);
  const int listener = world.network.Listen(SimAddress(80), /*backlog=*/1);
  SimPeer first = world.network.ConnectPeer(SimAddress(80));
  EXPECT_TRUE(first.open());
  const int fd = world.driver.OpenSocket(AF_INET);
  Recorder recorder;
  world.Connect(fd, SimAddress(80), &recorder);
  world.Run(10);
  EXPECT_TRUE(recorder.results.empty());
  SimPeer server = world.network.AcceptPeer(listener);
  EXPECT_TRUE(server.open());
  world.Run(1);
  ASSERT_EQ(recorder.results.size(), 1u);
  EXPECT_EQ(recorder.results[0].value, 0);
  world.driver.Close(fd, false);
  world.driver.Close(listener, false);
}

TEST(SimDriverTest, AcceptFaultEndsTheOperationAndKeepsTheConnection) {
  SimFaults faults;
  faults.accept_error = 0.5;
  World world(11, faults);
  const int listener = world.network.Listen(SimAddress(80));
  std::vector<SimPeer> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(world.network.ConnectPeer(SimAddress(80)));
  }
  Recorder recorder;
  OpId accept{};
  for (int turn = 0; turn < 300; ++turn) {
    if (world.driver.OpsInFlight() == 0) {
      accept = world.driver.Accept(listener, &recorder, 0);
    }
    world.driver.RunOnce(0);
  }
  world.driver.Cancel(accept);
  world.driver.RunOnce(0);
  int accepted = 0;
  int aborted = 0;
  int out_of_descriptors = 0;
  for (const OpResult& result : recorder.results) {
    EXPECT_EQ(result.more, result.value >= 0);
    aborted += result.value == -ECONNABORTED;
    out_of_descriptors += result.value == -EMFILE || result.value == -ENFILE;
    if (result.value >= 0) {
      ++accepted;
      world.driver.Close(result.value, false);
    }
  }
  EXPECT_EQ(accepted + aborted, 100);
  EXPECT_GT(aborted, 0);
  EXPECT_GT(out_of_descriptors, 0);
  EXPECT_EQ(recorder.results.back().value, -ECANCELED);
  world.driver.Close(listener, false);
  EXPECT_EQ(world.network.OpenSockets(), 0u);
}

TEST(SimDriverTest, OpenFault) {
  SimFaults faults;
  faults.open_error = 1;
  World world(1, faults);
  EXPECT_EQ(world.driver.OpenSocket(AF_INET), -EMFILE);
  EXPECT_EQ(world.network.OpenSockets(), 0u);
}

TEST(SimDriverTest, ResetMayDiscardWhatWasUnderWay) {
  std::set<size_t> kept;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SimFaults faults;
    faults.reset_discards = 0.5;
    World world(seed, faults);
    auto [fd, peer] = world.network.Connection();
    EXPECT_EQ(peer.WriteString("0123456789"), 10u);
    peer.Reset();
    std::array<uint8_t, 16> out;
    ssize_t n = world.driver.Recv(fd, out);
    if (n > 0) {
      EXPECT_EQ(std::string(out.begin(), out.begin() + n),
                std::string("0123456789").substr(0, n));
      kept.insert(static_cast<size_t>(n));
      n = world.driver.Recv(fd, out);
    } else {
      kept.insert(0);
    }
    EXPECT_EQ(n, -ECONNRESET);
    world.driver.Close(fd, false);
  }
  EXPECT_EQ(kept.size(), 11u);  // each length from none to all
}

TEST(SimDriverTest, CancelledOperationMayCompleteAllTheSame) {
  std::set<int> values;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    World world(seed);
    auto [fd, peer] = world.network.Connection();
    Recorder recorder;
    const OpId op = world.driver.Poll(fd, Ready::kWritable, &recorder, 0);
    world.driver.Cancel(op);
    world.Run(1);
    ASSERT_EQ(recorder.results.size(), 1u);
    values.insert(recorder.results[0].value > 0 ? 1
                                                : recorder.results[0].value);
    world.driver.Close(fd, false);
  }
  EXPECT_EQ(values, (std::set<int>{1, -ECANCELED}));
}

TEST(SimDriverTest, DriversShareANetwork) {
  World world(1);
  SimDriver other(&world.network);
  const auto [a, b] = world.network.SocketPair();
  Recorder recorder;
  other.Poll(b, Ready::kReadable, &recorder, 9);
  EXPECT_EQ(world.driver.Send(a, Bytes("x")), 1);
  EXPECT_EQ(world.driver.RunOnce(0), 0u);
  EXPECT_EQ(other.RunOnce(0), 1u);
  EXPECT_EQ(recorder.tags, std::vector<uint32_t>{9});
  world.driver.Close(a, false);
  other.Close(b, false);
}

TEST(SimDriverTest, PeersAreNotCountedAndCloseThemselves) {
  World world(1);
  {
    auto [fd, peer] = world.network.Connection();
    EXPECT_EQ(world.network.OpenSockets(), 1u);
    EXPECT_EQ(peer.WriteString("bye"), 3u);
    SimPeer moved = std::move(peer);
    EXPECT_FALSE(peer.open());
    moved.Close();
    std::array<uint8_t, 8> out;
    EXPECT_EQ(world.driver.Recv(fd, out), 3);
    EXPECT_EQ(world.driver.Recv(fd, out), 0);
    world.driver.Close(fd, false);
  }
  EXPECT_EQ(world.network.OpenSockets(), 0u);
}

TEST(SimDriverTest, AddressesAreTakenOnce) {
  World world(1);
  const int listener = world.network.Listen(SimAddress(80));
  EXPECT_EQ(world.network.Listen(SimAddress(80)), -EADDRINUSE);
  world.driver.Close(listener, false);
  EXPECT_FALSE(world.network.ConnectPeer(SimAddress(80)).open());
  const int again = world.network.Listen(SimAddress(80));
  EXPECT_GE(again, 0);
  world.driver.Close(again, false);
}

TEST(SimDriverDeathTest, ClosingUnderAnOperationBreaksAnInvariant) {
  World world(1);
  const int fd = world.driver.OpenSocket(AF_INET);
  Recorder recorder;
  world.driver.Poll(fd, Ready::kReadable, &recorder, 0);
  EXPECT_DEATH(world.driver.Close(fd, false), "num_ops == 0");
  world.Run(1);
  world.driver.Close(fd, false);
}

TEST(SimDriverDeathTest, UsingAClosedDescriptorBreaksAnInvariant) {
  World world(1);
  const int fd = world.driver.OpenSocket(AF_INET);
  world.driver.Close(fd, false);
  Recorder recorder;
  std::array<uint8_t, 1> out;
  EXPECT_DEATH(world.driver.Close(fd, false), "invariant broken");
  EXPECT_DEATH(world.driver.Recv(fd, out), "invariant broken");
  EXPECT_DEATH(world.driver.Poll(fd, Ready::kReadable, &recorder, 0),
               "invariant broken");
}

void DieWithAnOperationInFlight() {
  World world(1);
  auto [fd, peer] = world.network.Connection();
  Recorder recorder;
  world.driver.Poll(fd, Ready::kReadable, &recorder, 0);
}

TEST(SimDriverDeathTest, DyingWithOperationsInFlightBreaksAnInvariant) {
  EXPECT_DEATH(DieWithAnOperationInFlight(), "num_ops_ == 0");
}

}  // namespace
}  // namespace spicegate
