// SPDX-License-Identifier: Apache-2.0
//
// The CONNECT door on the simulated network: what is read, what is put back,
// and who gets which answer. The requests themselves are
// connect_request_test.cc's.
#include "gateway/door/connect_door.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "gateway/base/limits.h"
#include "gateway/io/deadline.h"
#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"

namespace spicegate {
namespace {

constexpr char kRequest[] =
    "CONNECT vm1:5900 HTTP/1.0\r\nHost: vm1:5900\r\n\r\n";
constexpr int64_t kDeadlineMs = 10'000;
constexpr int kTurns = 20;

class ConnectDoorTest : public testing::Test {
 protected:
  void Connect() {
    auto connection = network_.Connection();
    leg_ = Leg::Plain(&driver_, connection.first);
    client_ = std::move(connection.second);
    arrival_ = ConnectArrival{};
    done_ = false;
    Spawn(Serve());
  }

  // As a worker does it: the deadline is over the whole of it.
  Task<void> Serve() {
    const Deadline deadline(&timers_, leg_.socket.get(),
                            timers_.now_ms() + kDeadlineMs);
    arrival_ = co_await ReadConnectRequest(&leg_, &timers_, &counters_);
    done_ = true;
  }

  Task<void> Answer(ConnectStatus status, int minor_version) {
    answer_error_ = co_await AnswerConnect(&leg_, &timers_, &counters_, status,
                                           minor_version);
    answered_ = true;
  }

  void Run() {
    for (int i = 0; i < kTurns; ++i) {
      driver_.Wait(0);
      driver_.Dispatch();
    }
  }

  void Pass(int64_t ms) {
    network_.AdvanceMs(ms);
    timers_.Advance(driver_.NowMs());
    Run();
  }

  void Send(const std::string& bytes) {
    EXPECT_EQ(client_.WriteString(bytes), bytes.size());
    Run();
  }

  // What the leg gives until it would have to wait.
  std::string ReadLeg() {
    std::string all;
    std::array<uint8_t, 256> bytes;
    while (true) {
      const ssize_t n = leg_.stream->Read(bytes);
      if (n <= 0) {
        EXPECT_EQ(n, -EAGAIN);
        return all;
      }
      all.append(bytes.begin(), bytes.begin() + n);
    }
  }

  int64_t Answers(ConnectStatus status) const {
    return counters_.connect_answers[static_cast<size_t>(status)].value();
  }

  SimNetwork network_{SimOptions{}};
  SimDriver driver_{&network_};
  TimerWheel timers_{driver_.NowMs()};
  WorkerCounters counters_;
  Leg leg_;
  SimPeer client_;
  ConnectArrival arrival_;
  bool done_ = false;
  int answer_error_ = 1;
  bool answered_ = false;
};

TEST_F(ConnectDoorTest, ReadsARequestAndSaysNothingYet) {
  Connect();
  Send(kRequest);
  ASSERT_TRUE(done_);
  ASSERT_TRUE(arrival_.request.has_value());
  EXPECT_EQ(arrival_.request->target, (Authority{"vm1", 5900}));
  EXPECT_EQ(client_.ReadAll(), "");
  EXPECT_EQ(ReadLeg(), "");
}

TEST_F(ConnectDoorTest, WhatComesBehindTheRequestIsTheTunnels) {
  const std::string tunnel = "REDQ" + std::string(3'000, 'x');
  const std::string all = kRequest + tunnel;
  const size_t request_len = all.size() - tunnel.size();
  for (size_t cut = 1; cut <= request_len + 8; ++cut) {
    SCOPED_TRACE(cut);
    Connect();
    Send(all.substr(0, cut));
    EXPECT_EQ(done_, cut >= request_len);
    Send(all.substr(cut));
    ASSERT_TRUE(done_);
    ASSERT_TRUE(arrival_.request.has_value());
    EXPECT_EQ(ReadLeg(), tunnel);
  }
}

TEST_F(ConnectDoorTest, ByteByByteIsTheSame) {
  Connect();
  for (const char byte : std::string(kRequest)) {
    EXPECT_FALSE(done_);
    Send(std::string(1, byte));
  }
  ASSERT_TRUE(done_);
  EXPECT_TRUE(arrival_.request.has_value());
}

TEST_F(ConnectDoorTest, MalformedRequestsAreAnsweredAndCounted) {
  const std::vector<std::pair<std::string, ConnectStatus>> kRequests = {
      {"nonsense\r\n", ConnectStatus::kBadRequest},
      {"GET / HTTP/1.1\r\n\r\n", ConnectStatus::kNotImplemented},
      {"CONNECT vm1:5900 HTTP/3.0\r\n\r\n", ConnectStatus::kVersion},
      {std::string(kMaxConnectRequestBytes, 'x'), ConnectStatus::kTooLarge},
      // More is on its way than the parser has looked at.
      {"\n" + std::string(20'000, 'x'), ConnectStatus::kBadRequest},
  };
  for (const auto& [request, status] : kRequests) {
    SCOPED_TRACE(ConnectStatusCode(status));
    const int64_t before = Answers(status);
    Connect();
    Send(request);
    bool ended = false;
    EXPECT_EQ(client_.ReadAll(&ended), ConnectAnswer(status, 1));
    EXPECT_TRUE(ended) << "our direction ends with the answer";
    EXPECT_FALSE(client_.was_reset());
    EXPECT_FALSE(done_) << "the client has a moment to read it";
    client_.ShutdownWrite();
    Run();
    ASSERT_TRUE(done_);
    EXPECT_FALSE(arrival_.request.has_value());
    EXPECT_EQ(arrival_.refusal, CloseReason::kConnectRequest);
    EXPECT_EQ(Answers(status), before + 1);
    leg_.Release(Socket::End::kFin);
  }
}

TEST_F(ConnectDoorTest, AnErrorIsAnsweredInTheClientsVersion) {
  Connect();
  Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(client_.ReadAll(),
            ConnectAnswer(ConnectStatus::kNotImplemented, 0));
  Pass(kRefusalLingerMs);
  EXPECT_TRUE(done_) << "and its moment is over";
}

TEST_F(ConnectDoorTest, SlowSendersMeetTheDeadline) {
  Connect();
  int64_t passed_ms = 0;
  for (const char byte : std::string(kRequest)) {
    if (done_) {
      break;
    }
    Send(std::string(1, byte));
    Pass(1'000);
    passed_ms += 1'000;
  }
  EXPECT_TRUE(done_);
  EXPECT_EQ(passed_ms, kDeadlineMs);
  EXPECT_FALSE(arrival_.request.has_value());
  EXPECT_EQ(arrival_.refusal, CloseReason::kPreauthTimeout);
  EXPECT_EQ(client_.ReadAll(), "");
}

TEST_F(ConnectDoorTest, AClientThatEndsInsideItsRequestIsGone) {
  for (const bool reset : {false, true}) {
    Connect();
    Send("CONNECT vm1:5900 HTTP/1.0\r\n");
    if (reset) {
      client_.Reset();
    } else {
      client_.ShutdownWrite();
    }
    Run();
    ASSERT_TRUE(done_);
    EXPECT_FALSE(arrival_.request.has_value());
    EXPECT_EQ(arrival_.refusal, CloseReason::kClientGone);
  }
}

TEST_F(ConnectDoorTest, ShutdownEndsTheWait) {
  Connect();
  Send("CONNECT");
  leg_.socket->Interrupt(-ECANCELED);
  Run();
  ASSERT_TRUE(done_);
  EXPECT_EQ(arrival_.refusal, CloseReason::kShutdown);
}

TEST_F(ConnectDoorTest, YesLeavesTheConnectionOpen) {
  Connect();
  Send(kRequest);
  Spawn(Answer(ConnectStatus::kOk, 0));
  ASSERT_TRUE(answered_);
  EXPECT_EQ(answer_error_, 0);
  EXPECT_EQ(Answers(ConnectStatus::kOk), 1);
  EXPECT_EQ(client_.ReadAll(), "HTTP/1.0 200 OK\r\n\r\n");
  EXPECT_FALSE(client_.ended());
  Send("REDQ");
  EXPECT_EQ(ReadLeg(), "REDQ");
}

TEST_F(ConnectDoorTest, NoEndsItAndWaitsUntilTheClientHasSeenIt) {
  Connect();
  Send(kRequest);
  Spawn(Answer(ConnectStatus::kForbidden, 1));
  Run();
  EXPECT_FALSE(answered_);
  Send("REDQ and more, sent before the answer was read");
  EXPECT_EQ(client_.ReadAll(), ConnectAnswer(ConnectStatus::kForbidden, 1));
  EXPECT_TRUE(client_.ended());
  client_.Close();
  Run();
  EXPECT_TRUE(answered_);
  EXPECT_EQ(answer_error_, 0);
  EXPECT_EQ(Answers(ConnectStatus::kForbidden), 1);
}

TEST_F(ConnectDoorTest, AnAnswerThatNobodyTakesIsCountedToo) {
  Connect();
  Send(kRequest);
  client_.Reset();
  Run();
  Spawn(Answer(ConnectStatus::kLogin, 1));
  Run();
  EXPECT_TRUE(answered_);
  EXPECT_LT(answer_error_, 0);
  EXPECT_EQ(Answers(ConnectStatus::kLogin), 1);
}

}  // namespace
}  // namespace spicegate
