// SPDX-License-Identifier: Apache-2.0
//
// Socket, Leg and Deadline on the simulator: whatever the order of waits,
// completions, interrupts and the release, each wait is told once and the
// descriptor is closed once, after its last operation.
#include "gateway/io/socket.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "gateway/base/timer_wheel.h"
#include "gateway/io/deadline.h"
#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"

namespace spicegate {
namespace {

class Recorder final : public Waiter {
 public:
  void OnReady(Ready ready, int error) override {
    told.push_back({ready, error});
    if (on_ready) {
      on_ready();
    }
  }

  std::vector<std::pair<Ready, int>> told;
  std::function<void()> on_ready;
};

// A socket of the product and its peer.
class World {
 public:
  explicit World(const SimOptions& options)
      : network(options), driver(&network) {
    auto connection = network.Connection();
    socket.reset(new Socket(&driver, connection.first));
    peer = std::move(connection.second);
  }
  explicit World(uint64_t seed = 1, const SimFaults& faults = {})
      : World(SimOptions{seed, 64 * 1024, faults}) {}

  ~World() {
    if (socket != nullptr) {
      Socket::Release(std::move(socket), Socket::End::kFin);
    }
    Run(100);
    EXPECT_EQ(driver.OpsInFlight(), 0u);
    EXPECT_EQ(network.OpenSockets(), 0u);
  }

  void Run(int turns) {
    for (int i = 0; i < turns; ++i) {
      driver.RunOnce(1);
    }
  }

  SimNetwork network;
  SimDriver driver;
  std::unique_ptr<Socket> socket;
  SimPeer peer;
};

TEST(SocketTest, WaitIsToldOnceAndNotInsideTheCall) {
  World world;
  Recorder recorder;
  world.peer.WriteString("x");
  world.socket->Wait(Ready::kReadable, &recorder);
  EXPECT_TRUE(recorder.told.empty());
  EXPECT_TRUE(world.socket->waiting(Ready::kReadable));
  EXPECT_FALSE(world.socket->waiting(Ready::kWritable));
  world.Run(3);
  ASSERT_EQ(recorder.told.size(), 1u);
  EXPECT_EQ(recorder.told[0], std::make_pair(Ready::kReadable, 0));
  EXPECT_FALSE(world.socket->waiting(Ready::kReadable));
}

TEST(SocketTest, BothKindsAreApart) {
  World world;
  Recorder reader;
  Recorder writer;
  world.socket->Wait(Ready::kReadable, &reader);
  world.socket->Wait(Ready::kWritable, &writer);
  world.Run(3);
  EXPECT_TRUE(reader.told.empty());
  ASSERT_EQ(writer.told.size(), 1u);
  EXPECT_EQ(writer.told[0].first, Ready::kWritable);
  world.peer.WriteString("x");
  world.Run(3);
  EXPECT_EQ(reader.told.size(), 1u);
}

TEST(SocketTest, InterruptEndsAWait) {
  World world;
  Recorder recorder;
  world.socket->Wait(Ready::kReadable, &recorder);
  world.Run(2);
  world.socket->Interrupt(-ETIMEDOUT);
  EXPECT_TRUE(recorder.told.empty());
  world.Run(2);
  ASSERT_EQ(recorder.told.size(), 1u);
  EXPECT_EQ(recorder.told[0].second, -ETIMEDOUT);
}

TEST(SocketTest, InterruptWinsOverReadiness) {
  World world;
  Recorder recorder;
  world.peer.WriteString("x");
  world.socket->Wait(Ready::kReadable, &recorder);
  world.socket->Interrupt(-ETIMEDOUT);
  world.Run(2);
  ASSERT_EQ(recorder.told.size(), 1u);
  EXPECT_EQ(recorder.told[0].second, -ETIMEDOUT);
}

TEST(SocketTest, InterruptHoldsForWaitsToComeUntilCleared) {
  World world;
  Recorder recorder;
  world.socket->Interrupt(-ETIMEDOUT);
  for (size_t i = 1; i <= 2; ++i) {
    world.socket->Wait(Ready::kReadable, &recorder);
    EXPECT_EQ(recorder.told.size(), i - 1);
    world.Run(2);
    ASSERT_EQ(recorder.told.size(), i);
    EXPECT_EQ(recorder.told.back().second, -ETIMEDOUT);
  }
  world.socket->ClearInterrupt();
  world.socket->Wait(Ready::kReadable, &recorder);
  world.Run(2);
  EXPECT_EQ(recorder.told.size(), 2u);
  world.peer.WriteString("x");
  world.Run(2);
  ASSERT_EQ(recorder.told.size(), 3u);
  EXPECT_EQ(recorder.told.back().second, 0);
}

TEST(SocketTest, InterruptClearedAtOnceLeavesTheWait) {
  World world;
  Recorder recorder;
  world.socket->Wait(Ready::kReadable, &recorder);
  world.Run(1);
  world.socket->Interrupt(-ETIMEDOUT);
  world.socket->ClearInterrupt();
  world.Run(5);
  EXPECT_TRUE(recorder.told.empty());
  world.peer.WriteString("x");
  world.Run(2);
  ASSERT_EQ(recorder.told.size(), 1u);
  EXPECT_EQ(recorder.told[0].second, 0);
}

TEST(SocketTest, ForgottenWaiterIsNotTold) {
  World world;
  Recorder recorder;
  world.socket->Wait(Ready::kReadable, &recorder);
  world.Run(1);
  world.socket->Forget(Ready::kReadable);
  world.socket->Forget(Ready::kReadable);
  world.peer.WriteString("x");
  world.Run(3);
  EXPECT_TRUE(recorder.told.empty());
}

TEST(SocketTest, ForgetAndWaitAgain) {
  World world;
  Recorder first;
  Recorder second;
  world.socket->Wait(Ready::kReadable, &first);
  world.Run(1);
  world.socket->Forget(Ready::kReadable);
  world.socket->Wait(Ready::kReadable, &second);
  world.Run(1);
  EXPECT_TRUE(second.told.empty());
  world.peer.WriteString("x");
  world.Run(2);
  EXPECT_TRUE(first.told.empty());
  EXPECT_EQ(second.told.size(), 1u);
}

TEST(SocketTest, ForgetThenInterruptThenWaitAgain) {
  World world;
  Recorder recorder;
  world.socket->Wait(Ready::kReadable, &recorder);
  world.Run(1);
  world.socket->Forget(Ready::kReadable);
  world.socket->Interrupt(-ETIMEDOUT);
  world.socket->Wait(Ready::kReadable, &recorder);
  world.Run(2);
  ASSERT_EQ(recorder.told.size(), 1u);
  EXPECT_EQ(recorder.told[0].second, -ETIMEDOUT);
}

TEST(SocketTest, ReleaseWithOperationsInFlightInEveryOrder) {
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SimFaults faults;
    faults.max_delay_turns = 4;
    World world(seed, faults);
    Recorder recorder;
    // Bits: which waits, what is ready, when; forgotten or not.
    if ((seed & 1) != 0) {
      world.socket->Wait(Ready::kReadable, &recorder);
    }
    if ((seed & 2) != 0) {
      world.socket->Wait(Ready::kWritable, &recorder);
    }
    if ((seed & 4) != 0) {
      world.peer.WriteString("x");
    }
    world.Run(static_cast<int>(seed >> 5) % 3);
    if ((seed & 8) != 0) {
      world.socket->Forget(Ready::kReadable);
    }
    const size_t told = recorder.told.size();
    const bool reset = (seed & 16) != 0;
    const bool idle = world.driver.OpsInFlight() == 0;
    Socket::Release(std::move(world.socket),
                    reset ? Socket::End::kReset : Socket::End::kFin);
    EXPECT_EQ(world.network.OpenSockets(), idle ? 0u : 1u);
    world.Run(20);
    EXPECT_EQ(recorder.told.size(), told);
    EXPECT_EQ(world.network.OpenSockets(), 0u);
    std::array<uint8_t, 1> out;
    // Unread input makes the kernel send RST for a plain close, too.
    const bool rst = reset || (seed & 4) != 0;
    EXPECT_EQ(world.peer.Read(out), rst ? -ECONNRESET : 0);
  }
}

TEST(SocketTest, ReleaseFromInsideOnReady) {
  for (const bool both : {false, true}) {
    World world;
    Recorder recorder;
    recorder.on_ready = [&] {
      Socket::Release(std::move(world.socket), Socket::End::kFin);
    };
    if (both) {
      world.socket->Wait(Ready::kReadable, &recorder);
    }
    world.socket->Wait(Ready::kWritable, &recorder);
    world.Run(5);
    EXPECT_EQ(recorder.told.size(), 1u);
    EXPECT_EQ(world.network.OpenSockets(), 0u);
  }
}

TEST(SocketTest, ConnectTellsTheResult) {
  World world;
  const int listener = world.network.Listen(SimAddress(80));
  for (const uint16_t port : {80, 81}) {
    const sockaddr_in address = SimAddress(port);
    std::unique_ptr<Socket> socket(
        new Socket(&world.driver, world.driver.OpenSocket(AF_INET)));
    Recorder recorder;
    socket->Connect(reinterpret_cast<const sockaddr*>(&address),
                    sizeof(address), &recorder);
    world.Run(3);
    ASSERT_EQ(recorder.told.size(), 1u);
    EXPECT_EQ(recorder.told[0],
              std::make_pair(Ready::kWritable, port == 80 ? 0 : -ECONNREFUSED));
    Socket::Release(std::move(socket), Socket::End::kFin);
  }
  world.driver.Close(listener, false);
}

TEST(SocketTest, InterruptEndsAStalledConnect) {
  SimFaults faults;
  faults.connect_stall = 1;
  World world(1, faults);
  const sockaddr_in address = SimAddress(80);
  std::unique_ptr<Socket> socket(
      new Socket(&world.driver, world.driver.OpenSocket(AF_INET)));
  Recorder recorder;
  socket->Connect(reinterpret_cast<const sockaddr*>(&address), sizeof(address),
                  &recorder);
  world.Run(10);
  EXPECT_TRUE(recorder.told.empty());
  socket->Interrupt(-ETIMEDOUT);
  world.Run(2);
  ASSERT_EQ(recorder.told.size(), 1u);
  EXPECT_EQ(recorder.told[0].second, -ETIMEDOUT);
  Socket::Release(std::move(socket), Socket::End::kReset);
}

TEST(SocketTest, RebindMovesToAnotherDriver) {
  World world;
  SimDriver other(&world.network);
  world.socket->Rebind(&other);
  Recorder recorder;
  world.peer.WriteString("x");
  world.socket->Wait(Ready::kReadable, &recorder);
  EXPECT_EQ(world.driver.OpsInFlight(), 0u);
  EXPECT_EQ(other.OpsInFlight(), 1u);
  other.RunOnce(0);
  EXPECT_EQ(recorder.told.size(), 1u);
  Socket::Release(std::move(world.socket), Socket::End::kFin);
}

// Everything at random, against what the header promises.
class StormTest : public testing::Test {
 protected:
  struct Side {
    Recorder recorder;
    size_t expected = 0;  // waits begun and not forgotten, told or not
    bool waiting = false;
  };

  void OneStep(World* world, std::array<Side, 2>* sides) {
    SimRandom* random = world->network.random();
    const size_t which = random->Below(2);
    const Ready ready = static_cast<Ready>(which);
    Side& side = (*sides)[which];
    switch (random->Below(8)) {
      case 0:
      case 1:
        if (!side.waiting) {
          side.waiting = true;
          ++side.expected;
          world->socket->Wait(ready, &side.recorder);
        }
        break;
      case 2:
        if (side.waiting) {
          side.waiting = false;
          --side.expected;
        }
        world->socket->Forget(ready);
        break;
      case 3:
        world->socket->Interrupt(-ETIMEDOUT);
        break;
      case 4:
        world->socket->ClearInterrupt();
        break;
      case 5:
        world->peer.WriteString("x");
        break;
      default:
        world->driver.RunOnce(static_cast<int64_t>(random->Below(2)));
        break;
    }
    for (Side& s : *sides) {
      ASSERT_LE(s.recorder.told.size(), s.expected);
      ASSERT_EQ(s.waiting, s.recorder.told.size() < s.expected);
    }
  }
};

TEST_F(StormTest, EachWaitIsToldOnceOrForgotten) {
  for (uint64_t seed = 0; seed < 1'000; ++seed) {
    SCOPED_TRACE(seed);
    SimFaults faults;
    faults.max_delay_turns = static_cast<unsigned>(seed % 4);
    faults.spurious_ready = 0.05;
    World world(seed, faults);
    std::array<Side, 2> sides;
    for (Side& side : sides) {
      side.recorder.on_ready = [&side] { side.waiting = false; };
    }
    for (int step = 0; step < 100; ++step) {
      ASSERT_NO_FATAL_FAILURE(OneStep(&world, &sides));
    }
    // An interrupt reaches whoever waits.
    world.socket->Interrupt(-ETIMEDOUT);
    world.Run(20);
    EXPECT_FALSE(sides[0].waiting);
    EXPECT_FALSE(sides[1].waiting);
    EXPECT_FALSE(world.socket->waiting(Ready::kReadable));
    EXPECT_FALSE(world.socket->waiting(Ready::kWritable));
  }
}

TEST(DeadlineTest, InterruptsWhenItPassesAndNotAfterwards) {
  World world;
  TimerWheel timers(world.driver.NowMs());
  Recorder recorder;
  {
    const Deadline met(&timers, world.socket.get(), timers.now_ms() + 10);
    EXPECT_FALSE(met.passed());
  }
  world.socket->Wait(Ready::kReadable, &recorder);
  timers.Advance(timers.now_ms() + 100);
  world.Run(2);
  EXPECT_TRUE(recorder.told.empty());
  {
    const Deadline missed(&timers, world.socket.get(), timers.now_ms() + 10);
    timers.Advance(timers.now_ms() + 10);
    EXPECT_TRUE(missed.passed());
    world.Run(2);
  }
  ASSERT_EQ(recorder.told.size(), 1u);
  EXPECT_EQ(recorder.told[0].second, -ETIMEDOUT);
}

}  // namespace
}  // namespace spicegate
