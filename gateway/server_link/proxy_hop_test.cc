// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/proxy_hop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>

#include "gateway/io/deadline.h"
#include "gateway/server_link/dial_fixture.h"

namespace spicegate {
namespace {

constexpr char kRequest[] =
    "CONNECT pvespiceproxy:1:100:pve2:61001:: HTTP/1.0\r\n"
    "PVEDisableProxy: true\r\n\r\n";
constexpr char kOk[] = "HTTP/1.0 200 OK\r\n\r\n";
constexpr int64_t kTimeMs = 5'000;

class ProxyHopTest : public DialFixture {
 protected:
  void Begin() {
    auto connection = network_.Connection();
    leg_ = Leg::Plain(&driver_, connection.first);
    proxy_ = std::move(connection.second);
    Start(Pass());
    EXPECT_EQ(proxy_.ReadAll(), kRequest);
  }
  // As its caller has it: within a time.
  Task<Failure> Pass() {
    const Deadline deadline(&timers_, leg_.socket.get(),
                            timers_.now_ms() + kTimeMs);
    co_return co_await PassProxy(&leg_, &request_);
  }

  void Say(const std::string& bytes) {
    if (!bytes.empty()) {
      EXPECT_EQ(proxy_.WriteString(bytes), bytes.size());
    }
    Run();
  }

  // The whole of an answer, which decides.
  Failure Answer(const std::string& answer) {
    Begin();
    Say(answer);
    EXPECT_TRUE(done_) << answer;
    return failure_;
  }

  // What the leg gives without waiting.
  std::string ReadLeg() {
    std::string all;
    std::array<uint8_t, 100> bytes;
    for (ssize_t n = 0; (n = leg_.stream->Read(bytes)) > 0;) {
      all.append(bytes.begin(), bytes.begin() + n);
    }
    return all;
  }

  const std::string request_ = kRequest;
  SimPeer proxy_;
};

TEST_F(ProxyHopTest, TakesTheAnswersThatThereAre) {
  for (const char* answer :
       {kOk, "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200\r\n\r\n", "HTTP/1.1 204 \r\n\r\n",
        "HTTP/1.1 200 OK\r\nVia: 1.1 squid\r\nX: \r\n\r\n"}) {
    EXPECT_EQ(Answer(answer), std::nullopt) << answer;
    EXPECT_EQ(ReadLeg(), "") << answer;
  }
}

TEST_F(ProxyHopTest, AnAnswerCutAnywhere) {
  const std::string answer = "HTTP/1.1 200 OK\r\nVia: x\r\n\r\n";
  for (size_t cut = 1; cut < answer.size(); ++cut) {
    Begin();
    Say(answer.substr(0, cut));
    ASSERT_FALSE(done_) << cut;
    Say(answer.substr(cut));
    ASSERT_TRUE(done_) << cut;
    EXPECT_EQ(failure_, std::nullopt) << cut;
  }
}

TEST_F(ProxyHopTest, AnAnswerByteByByte) {
  Begin();
  for (const char c : std::string(kOk)) {
    EXPECT_FALSE(done_);
    Say(std::string(1, c));
  }
  EXPECT_TRUE(done_);
  EXPECT_EQ(failure_, std::nullopt);
}

TEST_F(ProxyHopTest, WhatComesBehindTheAnswerIsTheTunnels) {
  const std::string behind = "server bytes\r\n\r\nand more";
  for (size_t len = 1; len <= behind.size(); ++len) {
    EXPECT_EQ(Answer(kOk + behind.substr(0, len)), std::nullopt);
    Say(behind.substr(len));
    EXPECT_EQ(ReadLeg(), behind) << len;
  }
}

TEST_F(ProxyHopTest, ALongAnswerIsReadInPieces) {
  // The end lies across what one read takes.
  const std::string start = "HTTP/1.1 200 OK\r\nX: ";
  for (size_t len = 1018; len <= 1026; ++len) {
    const std::string answer =
        start + std::string(len - start.size(), 'x') + "\r\n\r\n";
    EXPECT_EQ(Answer(answer + "rest"), std::nullopt) << len;
    EXPECT_EQ(ReadLeg(), "rest") << len;
  }
}

TEST_F(ProxyHopTest, EverythingElseIsARefusal) {
  for (const char* answer :
       {"HTTP/1.0 403 Forbidden\r\n\r\n", "HTTP/1.1 407 Who?\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 302 Found\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2xx OK\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n", "\r\n\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 403 No\r\nHTTP/1.0 200 OK\r\n\r\n"}) {
    EXPECT_EQ(Answer(answer), CloseReason::kServerProxy) << answer;
  }
}

TEST_F(ProxyHopTest, GarbageIsRefusedOnceItIsTooMuch) {
  Begin();
  const std::string garbage(1024, '\0');
  for (size_t len = garbage.size(); len < kMaxProxyAnswerBytes;
       len += garbage.size()) {
    Say(garbage);
    ASSERT_FALSE(done_) << len;
  }
  Say(garbage);
  EXPECT_TRUE(done_);
  EXPECT_EQ(failure_, CloseReason::kServerProxy);
}

TEST_F(ProxyHopTest, HeadersWithoutEndAreRefused) {
  Begin();
  Say("HTTP/1.1 200 OK\r\n");
  std::string header = "X: yes\r\n";
  size_t sent = 0;
  while (!done_ && sent < 2 * kMaxProxyAnswerBytes) {
    Say(header);
    sent += header.size();
  }
  EXPECT_EQ(failure_, CloseReason::kServerProxy);
  EXPECT_LT(sent, kMaxProxyAnswerBytes + 1);
}

TEST_F(ProxyHopTest, AProxyThatHangsUp) {
  Begin();
  Say("HTTP/1.0 200 OK\r\n");
  proxy_.Close();
  Run();
  EXPECT_EQ(failure_, CloseReason::kServerGone);
  Begin();
  proxy_.Reset();
  Run();
  EXPECT_EQ(failure_, CloseReason::kServerGone);
}

TEST_F(ProxyHopTest, AProxyThatSaysNothing) {
  Begin();
  RunFor(kTimeMs - 1);
  EXPECT_FALSE(done_);
  RunFor(1);
  EXPECT_EQ(failure_, CloseReason::kServerTimeout);
}

TEST_F(ProxyHopTest, AStop) {
  Begin();
  leg_.socket->Interrupt(-ECANCELED);
  Run();
  EXPECT_EQ(failure_, CloseReason::kShutdown);
}

}  // namespace
}  // namespace spicegate
