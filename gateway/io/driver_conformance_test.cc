// SPDX-License-Identifier: Apache-2.0
//
// What driver.h promises, asked of every implementation: io_uring on real
// loopback sockets, and the simulator, so that what is tested on the second
// holds on the first.
#include "gateway/io/driver_conformance.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "gateway/io/driver.h"
#include "gateway/io/sim_network.h"
#include "gateway/io/uring_driver.h"

namespace spicegate {
namespace {

TEST_P(DriverTest, PollReadableWaitsForData) {
  const auto [a, b] = host_->Connection();
  Recorder recorder;
  ASSERT_TRUE(driver().Poll(a, Ready::kReadable, &recorder, 7));
  EXPECT_EQ(driver().OpsInFlight(), 1u);
  Settle();
  EXPECT_TRUE(recorder.events.empty());

  EXPECT_EQ(SendText(b, "hello"), 5);
  ASSERT_TRUE(RunUntilEvents(recorder, 1));
  EXPECT_EQ(recorder.events[0].tag, 7u);
  EXPECT_GT(recorder.events[0].result.value, 0);
  EXPECT_FALSE(recorder.events[0].result.more);
  EXPECT_EQ(RecvText(a, 5), "hello");
  Settle();
  EXPECT_EQ(recorder.events.size(), 1u);
  CloseBoth({a, b});
}

TEST_P(DriverTest, NothingCompletesInsideTheStartingCall) {
  const auto [a, b] = host_->Connection();
  EXPECT_EQ(SendText(b, "x"), 1);
  Recorder recorder;
  driver().Poll(a, Ready::kReadable, &recorder, 1);
  driver().Poll(a, Ready::kWritable, &recorder, 2);
  const OpId cancelled = driver().Poll(b, Ready::kReadable, &recorder, 3);
  driver().Cancel(cancelled);
  EXPECT_TRUE(recorder.events.empty());
  ASSERT_TRUE(RunUntilEvents(recorder, 3));
  EXPECT_EQ(RecvText(a, 1), "x");
  CloseBoth({a, b});
}

TEST_P(DriverTest, PollWritableWaitsForRoom) {
  const auto [a, b] = host_->Connection();
  const size_t sent = Fill(a);
  ASSERT_GT(sent, 0u);
  Recorder recorder;
  driver().Poll(a, Ready::kWritable, &recorder, 1);
  Settle();
  EXPECT_TRUE(recorder.events.empty());
  EXPECT_EQ(RecvText(b, sent).size(), sent);
  ASSERT_TRUE(RunUntilEvents(recorder, 1));
  EXPECT_GT(recorder.events[0].result.value, 0);
  EXPECT_GT(SendText(a, "more"), 0);
  EXPECT_EQ(RecvText(b, 4), "more");
  CloseBoth({a, b});
}

TEST_P(DriverTest, FinComesBehindTheDataAndLeavesTheOtherDirection) {
  const auto [a, b] = host_->Connection();
  EXPECT_EQ(SendText(b, "last words"), 10);
  EXPECT_EQ(driver().ShutdownWrite(b), 0);
  EXPECT_EQ(SendText(b, "x"), -EPIPE);

  ssize_t last = -1;
  EXPECT_EQ(RecvText(a, 100, &last), "last words");
  EXPECT_EQ(last, 0);
  Recorder recorder;
  driver().Poll(a, Ready::kReadable, &recorder, 1);
  ASSERT_TRUE(RunUntilEvents(recorder, 1));  // the end stays readable
  EXPECT_GT(recorder.events[0].result.value, 0);

  EXPECT_EQ(SendText(a, "answer"), 6);
  EXPECT_EQ(RecvText(b, 6), "answer");
  CloseBoth({a, b});
}

TEST_P(DriverTest, CloseIsAFinToo) {
  const auto [a, b] = host_->Connection();
  Recorder recorder;
  driver().Poll(a, Ready::kReadable, &recorder, 1);
  EXPECT_EQ(SendText(b, "bye"), 3);
  driver().Close(b, /*reset=*/false);
  ASSERT_TRUE(RunUntilEvents(recorder, 1));
  ssize_t last = -1;
  EXPECT_EQ(RecvText(a, 100, &last), "bye");
  EXPECT_EQ(last, 0);
  driver().Close(a, false);
}

TEST_P(DriverTest, SendToAClosedPeerBreaksTheConnection) {
  const auto [a, b] = host_->Connection();
  driver().Close(b, false);
  EXPECT_EQ(SendText(a, "x"), 1);  // RST is the answer
  ssize_t n = 0;
  ASSERT_TRUE(RunUntil([&, fd = a] { return (n = SendText(fd, "y")) < 0; }));
  EXPECT_EQ(n, -EPIPE);
  driver().Close(a, false);
}

TEST_P(DriverTest, ResetEndsPollsAndIsToldOnce) {
  const auto [a, b] = host_->Connection();
  Fill(a);
  Recorder recorder;
  driver().Poll(a, Ready::kReadable, &recorder, 1);
  driver().Poll(a, Ready::kWritable, &recorder, 2);
  Settle();
  EXPECT_TRUE(recorder.events.empty());
  driver().Close(b, /*reset=*/true);
  ASSERT_TRUE(RunUntilEvents(recorder, 2));
  EXPECT_GT(recorder.events[0].result.value, 0);
  EXPECT_GT(recorder.events[1].result.value, 0);

  std::array<uint8_t, 16> out;
  EXPECT_EQ(driver().Recv(a, out), -ECONNRESET);
  EXPECT_EQ(driver().Recv(a, out), 0);
  EXPECT_EQ(SendText(a, "x"), -EPIPE);
  EXPECT_EQ(driver().ShutdownWrite(a), -ENOTCONN);
  driver().Close(a, false);
}

TEST_P(DriverTest, ClosingWithUnreadInputIsAReset) {
  const auto [a, b] = host_->Connection();
  EXPECT_EQ(SendText(a, "never read"), 10);
  driver().Close(b, /*reset=*/false);
  ssize_t last = 0;
  RecvText(a, 1, &last);
  EXPECT_EQ(last, -ECONNRESET);
  driver().Close(a, false);
}

TEST_P(DriverTest, HangUpCompletesAPollForWriting) {
  const auto [a, b] = host_->Connection();
  Fill(a);
  Recorder recorder;
  driver().Poll(a, Ready::kWritable, &recorder, 1);
  Settle();
  EXPECT_TRUE(recorder.events.empty());
  EXPECT_EQ(driver().ShutdownWrite(a), 0);
  ASSERT_TRUE(RunUntilEvents(recorder, 1));
  EXPECT_GT(recorder.events[0].result.value, 0);
  CloseBoth({a, b});
}

TEST_P(DriverTest, AcceptsSeveralUntilCancelled) {
  constexpr size_t kNumClients = 5;
  sockaddr_in address{};
  const int listener = host_->Listen(&address);
  Recorder accepted;
  const OpId accept = driver().Accept(listener, &accepted, 1);
  Settle();
  EXPECT_TRUE(accepted.events.empty());

  Recorder connected;
  std::vector<int> clients;
  for (size_t i = 0; i < kNumClients; ++i) {
    clients.push_back(driver().OpenSocket(AF_INET));
    ASSERT_GE(clients[i], 0);
    Connect(clients[i], address, &connected, 10 + static_cast<uint32_t>(i));
  }
  ASSERT_TRUE(RunUntilEvents(connected, kNumClients));
  ASSERT_TRUE(RunUntilEvents(accepted, kNumClients));
  std::set<int> servers;
  for (const Recorder::Event& event : accepted.events) {
    EXPECT_TRUE(event.result.more);
    ASSERT_GE(event.result.value, 0);
    servers.insert(event.result.value);
    std::array<uint8_t, 1> out;
    EXPECT_EQ(driver().Recv(event.result.value, out), -EAGAIN);
  }
  EXPECT_EQ(servers.size(), kNumClients);
  for (const Recorder::Event& event : connected.events) {
    EXPECT_EQ(event.result.value, 0);
  }
  EXPECT_EQ(driver().OpsInFlight(), 1u);

  driver().Cancel(accept);
  ASSERT_TRUE(RunUntilEvents(accepted, kNumClients + 1));
  EXPECT_EQ(accepted.events.back().result.value, -ECANCELED);
  EXPECT_FALSE(accepted.events.back().result.more);
  clients.insert(clients.end(), servers.begin(), servers.end());
  clients.push_back(listener);
  for (const int fd : clients) {
    driver().Close(fd, false);
  }
}

TEST_P(DriverTest, ClosedListenerResetsWhoeverWaits) {
  sockaddr_in address{};
  const int listener = host_->Listen(&address);
  const int client = driver().OpenSocket(AF_INET);
  Recorder recorder;
  Connect(client, address, &recorder, 1);
  ASSERT_TRUE(RunUntilEvents(recorder, 1));
  EXPECT_EQ(recorder.events[0].result.value, 0);
  driver().Close(listener, false);
  ssize_t last = 0;
  RecvText(client, 1, &last);
  EXPECT_EQ(last, -ECONNRESET);
  driver().Close(client, false);
}

TEST_P(DriverTest, ConnectIsRefused) {
  const sockaddr_in address = host_->Nowhere();
  const int fd = driver().OpenSocket(AF_INET);
  Recorder recorder;
  Connect(fd, address, &recorder, 3);
  ASSERT_TRUE(RunUntilEvents(recorder, 1));
  EXPECT_EQ(recorder.events[0].tag, 3u);
  EXPECT_EQ(recorder.events[0].result.value, -ECONNREFUSED);
  driver().Close(fd, false);
}

TEST_P(DriverTest, ConnectCopiesTheAddress) {
  sockaddr_in address{};
  const int listener = host_->Listen(&address);
  const int fd = driver().OpenSocket(AF_INET);
  Recorder recorder;
  Connect(fd, address, &recorder, 1);
  address = sockaddr_in{};
  ASSERT_TRUE(RunUntilEvents(recorder, 1));
  EXPECT_EQ(recorder.events[0].result.value, 0);
  driver().Close(fd, false);
  driver().Close(listener, false);
}

TEST_P(DriverTest, CancelledPollCompletesOnce) {
  const auto [a, b] = host_->Connection();
  Recorder recorder;
  const OpId op = driver().Poll(a, Ready::kReadable, &recorder, 1);
  Settle();
  driver().Cancel(op);
  driver().Cancel(op);
  EXPECT_TRUE(recorder.events.empty());
  ASSERT_TRUE(RunUntilEvents(recorder, 1));
  EXPECT_EQ(recorder.events[0].result.value, -ECANCELED);
  EXPECT_FALSE(recorder.events[0].result.more);
  driver().Cancel(op);
  Settle();
  EXPECT_EQ(recorder.events.size(), 1u);
  CloseBoth({a, b});
}

TEST_P(DriverTest, CancelAgainstReadinessLosesNothing) {
  for (int round = 0; round < 50; ++round) {
    const auto [a, b] = host_->Connection();
    Recorder recorder;
    const OpId op = driver().Poll(a, Ready::kReadable, &recorder, 1);
    if (round % 2 == 0) {
      driver().RunOnce(0);
    }
    EXPECT_EQ(SendText(b, "data"), 4);
    driver().Cancel(op);
    ASSERT_TRUE(RunUntilEvents(recorder, 1));
    const int value = recorder.events[0].result.value;
    EXPECT_TRUE(value > 0 || value == -ECANCELED) << value;
    EXPECT_EQ(RecvText(a, 4), "data");
    Settle();
    EXPECT_EQ(recorder.events.size(), 1u);
    CloseBoth({a, b});
  }
}

TEST_P(DriverTest, StaleAndNullIdsAreHarmless) {
  const auto [a, b] = host_->Connection();
  Recorder recorder;
  const OpId first = driver().Poll(a, Ready::kWritable, &recorder, 1);
  ASSERT_TRUE(RunUntilEvents(recorder, 1));
  // Very likely the same slot; certainly not the same operation.
  driver().Poll(a, Ready::kReadable, &recorder, 2);
  driver().Cancel(first);
  driver().Cancel(OpId{});
  driver().Cancel(OpId{1'000'000, 1});
  Settle();
  EXPECT_EQ(recorder.events.size(), 1u);
  EXPECT_EQ(SendText(b, "x"), 1);
  ASSERT_TRUE(RunUntilEvents(recorder, 2));
  EXPECT_EQ(recorder.events[1].tag, 2u);
  EXPECT_GT(recorder.events[1].result.value, 0);
  RecvText(a, 1);
  CloseBoth({a, b});
}

TEST_P(DriverTest, WakeBeforeTheWaitIsNotLost) {
  const int64_t before_ms = driver().NowMs();
  driver().Wake();
  driver().RunOnce(600'000);
  EXPECT_LT(driver().NowMs() - before_ms, 600'000);
}

TEST_P(DriverTest, WakeFromAnotherThreadEndsTheWait) {
  for (int round = 0; round < 20; ++round) {
    std::thread other([&] { driver().Wake(); });
    driver().RunOnce(-1);
    other.join();
  }
}

TEST_P(DriverTest, WaitsNoLongerThanTheTimeout) {
  const int64_t before_ms = driver().NowMs();
  EXPECT_EQ(driver().RunOnce(0), 0u);
  EXPECT_EQ(driver().RunOnce(15), 0u);
  EXPECT_GE(driver().NowMs() - before_ms, 14);
}

TEST_P(DriverTest, WaitMakesTheClockFreshAndDispatchHandsOut) {
  const auto [a, b] = host_->Connection();
  Recorder recorder;
  const OpId op = driver().Poll(a, Ready::kReadable, &recorder, 1);
  EXPECT_EQ(SendText(b, "x"), 1);
  ASSERT_TRUE(RunUntil([&] {
    driver().Wait(10);
    EXPECT_TRUE(recorder.events.empty());
    const int64_t now_ms = driver().NowMs();
    // Timers fire here, and may cancel what has completed already.
    driver().Cancel(op);
    const unsigned handed_out = driver().Dispatch();
    EXPECT_EQ(handed_out, recorder.events.size());
    EXPECT_EQ(driver().NowMs(), now_ms);
    return handed_out > 0;
  }));
  EXPECT_EQ(recorder.events.size(), 1u);
  EXPECT_EQ(RecvText(a, 1), "x");
  CloseBoth({a, b});
}

TEST_P(DriverTest, ManyOperationsAtOnce) {
  constexpr size_t kNumConnections = 60;
  constexpr size_t kPollsEach = 50;
  constexpr size_t kNumPolls = kNumConnections * kPollsEach;
  std::vector<std::pair<int, int>> connections;
  Recorder recorder;
  std::vector<OpId> ops;
  for (size_t i = 0; i < kNumConnections; ++i) {
    connections.push_back(host_->Connection());
    for (size_t j = 0; j < kPollsEach; ++j) {
      ops.push_back(driver().Poll(connections[i].first, Ready::kReadable,
                                  &recorder,
                                  static_cast<uint32_t>(ops.size())));
    }
  }
  EXPECT_EQ(driver().OpsInFlight(), kNumPolls);
  Settle();
  EXPECT_TRUE(recorder.events.empty());
  // The first half is cancelled, the second becomes ready.
  for (size_t i = 0; i < kNumPolls / 2; ++i) {
    driver().Cancel(ops[i]);
  }
  for (size_t i = kNumConnections / 2; i < kNumConnections; ++i) {
    EXPECT_EQ(SendText(connections[i].second, "x"), 1);
  }
  ASSERT_TRUE(RunUntilEvents(recorder, kNumPolls));
  std::set<uint32_t> told;
  for (const Recorder::Event& event : recorder.events) {
    EXPECT_TRUE(told.insert(event.tag).second);
    if (event.tag < kNumPolls / 2) {
      EXPECT_EQ(event.result.value, -ECANCELED);
    } else {
      EXPECT_GT(event.result.value, 0);
    }
  }
  for (const auto& connection : connections) {
    CloseBoth(connection);
  }
}

TEST_P(DriverTest, HandlersStartOperationsWithoutRecursion) {
  const auto [a, b] = host_->Connection();
  Recorder recorder;
  int depth = 0;
  recorder.on_event = [&, fd = a](Recorder::Event) {
    EXPECT_EQ(++depth, 1);
    if (recorder.events.size() < 300) {
      driver().Poll(fd, Ready::kWritable, &recorder, 1);
    }
    --depth;
  };
  driver().Poll(a, Ready::kWritable, &recorder, 1);
  EXPECT_TRUE(RunUntilEvents(recorder, 300));
  EXPECT_EQ(recorder.events.size(), 300u);
  CloseBoth({a, b});
}

TEST_P(DriverTest, HandlersCancelOthersInTheSameTurn) {
  const auto [a, b] = host_->Connection();
  std::array<Recorder, 2> recorders;
  std::array<OpId, 2> ops;
  for (size_t i = 0; i < 2; ++i) {
    recorders[i].on_event = [&, i](Recorder::Event) {
      driver().Cancel(ops[1 - i]);
    };
    ops[i] = driver().Poll(a, Ready::kWritable, &recorders[i], 1);
  }
  ASSERT_TRUE(RunUntilEvents(recorders[0], 1));
  ASSERT_TRUE(RunUntilEvents(recorders[1], 1));
  Settle();
  EXPECT_EQ(recorders[0].events.size(), 1u);
  EXPECT_EQ(recorders[1].events.size(), 1u);
  CloseBoth({a, b});
}

TEST_P(DriverTest, HandlerMayDestroyItselfInItsLastCompletion) {
  const auto [a, b] = host_->Connection();
  auto recorder = std::make_unique<Recorder>();
  recorder->on_event = [&](Recorder::Event) {
    // Moved out first: the function that runs is a part of the recorder.
    auto keep = std::move(recorder->on_event);
    recorder.reset();
  };
  driver().Poll(a, Ready::kWritable, recorder.get(), 1);
  EXPECT_TRUE(RunUntil([&] { return recorder == nullptr; }));
  CloseBoth({a, b});
}

TEST_P(DriverTest, OpenSocketIsNotConnected) {
  const int fd = driver().OpenSocket(AF_INET);
  ASSERT_GE(fd, 0);
  std::array<uint8_t, 1> out;
  EXPECT_EQ(driver().Recv(fd, out), -ENOTCONN);
  EXPECT_EQ(SendText(fd, "x"), -EPIPE);
  driver().Close(fd, false);
}

INSTANTIATE_TEST_SUITE_P(
    Drivers, DriverTest, testing::ValuesIn(kImplementations),
    [](const testing::TestParamInfo<Implementation>& info) {
      return info.param.name;
    });

}  // namespace
}  // namespace spicegate
