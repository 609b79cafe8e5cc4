// SPDX-License-Identifier: Apache-2.0
//
// What one source, or one turn of the loop, may cost; and what is answered
// without a handler.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/base/limits.h"
#include "gateway/http/http_fixture.h"
#include "gateway/http/http_server.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A handshake of steps that somebody counts, for a byte each; 'c' is the last.
class CostlyStream final : public HttpStream {
 public:
  CostlyStream(int fd, int* steps)
      : fd_(fd), steps_(steps), plain_(MakePlainHttpStream(fd)) {}

  int Handshake() override {
    ++*steps_;
    char byte = 0;
    const ssize_t len = recv(fd_, &byte, 1, 0);
    if (len <= 0) {
      return len < 0 ? -errno : -ENODATA;
    }
    return byte == 'c' ? 0 : -EAGAIN;
  }
  short HandshakeEvents() const override { return POLLIN; }
  ssize_t Read(std::span<char> out) override { return plain_->Read(out); }
  ssize_t Write(std::string_view in) override { return plain_->Write(in); }
  int EndWrite() override { return 0; }

 private:
  const int fd_;
  int* const steps_;
  const std::unique_ptr<HttpStream> plain_;
};

class HttpBoundsTest : public HttpServerTest {
 protected:
  void ListenCostly() {
    Listen(
        [this](int fd) { return std::make_unique<CostlyStream>(fd, &steps_); });
  }

  // `num` connections that are between requests.
  std::vector<UniqueFd> ConnectMany(size_t num, const std::string& source) {
    std::vector<UniqueFd> fds;
    for (size_t i = 0; i < num; ++i) {
      fds.push_back(Connect(source));
      Send(fds.back(), kGetNow);
      EXPECT_THAT(Receive(fds.back()), HasSubstr(kNow));
    }
    return fds;
  }

  int steps_ = 0;
};

TEST_F(HttpBoundsTest, ATurnHasFewStepsOfHandshakes) {
  options_.handshakes_per_turn = 2;
  ListenCostly();
  std::vector<UniqueFd> fds;
  for (size_t i = 0; i < 10; ++i) {
    fds.push_back(Connect());
    Send(fds.back(), std::string("abc") + kGetNow);
  }
  TurnUntil(10);
  EXPECT_EQ(steps_, 0);
  for (int turn = 1; turn <= 15; ++turn) {
    Turn();
    EXPECT_EQ(steps_, 2 * turn);
  }
  for (const UniqueFd& fd : fds) {
    EXPECT_THAT(Receive(fd), HasSubstr(kNow));
  }
  EXPECT_EQ(steps_, 30);
}

TEST_F(HttpBoundsTest, WhoWasNotServedIsFirstInTheNextTurn) {
  options_.handshakes_per_turn = 1;
  ListenCostly();
  const UniqueFd busy = Connect();
  Send(busy, "a");
  TurnUntil(1);
  const UniqueFd other = Connect();
  Send(other, std::string("abc") + kGetNow);
  TurnUntil(2);
  // The first one always has something to do, and does not get every turn.
  for (int i = 0; i < 10 && num_requests_ == 0; ++i) {
    Send(busy, "a");
    Turn();
  }
  EXPECT_EQ(num_requests_, 1);
}

TEST_F(HttpBoundsTest, WhoAsksMuchIsNotAlwaysFirst) {
  options_.requests_per_turn = 2;
  Listen();
  const UniqueFd greedy = Connect();
  const UniqueFd other = Connect();
  TurnUntil(2);
  std::string requests;
  for (int i = 0; i < 20; ++i) {
    requests += kGetNow;
  }
  Send(greedy, requests);
  Send(other, kGetNow);
  // One turn it may have for itself.
  Turn();
  Turn();
  EXPECT_THAT(ReadNow(other), HasSubstr(kNow));
  EXPECT_EQ(num_requests_, 4);
}

TEST_F(HttpBoundsTest, NobodyIsKeptByHandshakesThatHaveToWait) {
  options_.handshakes_per_turn = 0;
  ListenCostly();
  const UniqueFd fd = Connect();
  Send(fd, "abc");
  TurnUntil(1);
  now_ms_ = server_->NextDeadlineMs();
  EXPECT_EQ(now_ms_, 1'000 + options_.handshake_ms);
  TurnUntil(0);
  EXPECT_EQ(steps_, 0);
}

TEST_F(HttpBoundsTest, ATurnHasFewRequests) {
  options_.requests_per_turn = 3;
  Listen();
  const UniqueFd first = Connect();
  const UniqueFd second = Connect();
  TurnUntil(2);
  std::string requests;
  for (int i = 0; i < 5; ++i) {
    requests += kGetNow;
  }
  Send(first, requests);
  Send(second, requests);
  for (int turn = 1; turn <= 3; ++turn) {
    Turn();
    EXPECT_EQ(num_requests_, 3 * turn);
    // What has been read is not forgotten when the socket says no more.
    EXPECT_EQ(server_->NextDeadlineMs(), 0);
  }
  QuietTurn();
  EXPECT_EQ(num_requests_, 10);
  EXPECT_GT(server_->NextDeadlineMs(), now_ms_);
}

TEST_F(HttpBoundsTest, ATurnHasFewAccepts) {
  options_.accepts_per_turn = 2;
  Listen();
  std::vector<UniqueFd> fds;
  for (int i = 0; i < 5; ++i) {
    fds.push_back(Connect());
  }
  for (const size_t num : {2U, 4U, 5U}) {
    Turn();
    EXPECT_EQ(server_->num_connections(), num);
  }
}

TEST_F(HttpBoundsTest, WithoutDescriptorsTheLoopDoesNotSpin) {
  Listen();
  const UniqueFd fd = Connect();
  Send(fd, kGetNow);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  UniqueFd next(dup(fd.get()));
  const rlimit none = {static_cast<rlim_t>(next.get()), before.rlim_max};
  next.Reset();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  Turn();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(server_->num_connections(), 0U);
  EXPECT_EQ(server_->NextDeadlineMs(), now_ms_ + kAcceptPauseMs);
  std::vector<pollfd> fds;
  server_->AddPollFds(&fds);
  EXPECT_EQ(fds[0].fd, -1);
  now_ms_ += kAcceptPauseMs;
  EXPECT_THAT(Receive(fd), HasSubstr(kNow));
}

TEST_F(HttpBoundsTest, ASourceLosesItsOwnConnections) {
  options_.max_connections = 10;
  options_.max_per_source = 3;
  Listen();
  const std::vector<UniqueFd> theirs = ConnectMany(2, "127.0.0.3");
  now_ms_ += 1;
  const std::vector<UniqueFd> mine = ConnectMany(4, "127.0.0.2");
  EXPECT_EQ(server_->num_connections(), 5U);
  EXPECT_EQ(ReceiveToEnd(mine[0]), "<end>");
  // The others', older ones stay.
  for (const UniqueFd& fd : theirs) {
    Send(fd, kGetNow);
    EXPECT_THAT(Receive(fd), HasSubstr(kNow));
  }
}

TEST_F(HttpBoundsTest, ASourceWhoseConnectionsAreBusyGetsNoMore) {
  options_.max_connections = 4;
  options_.max_per_source = 2;
  Listen();
  const UniqueFd theirs = Connect("127.0.0.3");
  Ask(theirs, kGetLater, 1);
  const UniqueFd first = Connect("127.0.0.2");
  Ask(first, kGetLater, 2);
  const UniqueFd second = Connect("127.0.0.2");
  Ask(second, kGetLater, 3);
  const UniqueFd third = Connect("127.0.0.2");
  EXPECT_EQ(ReceiveToEnd(third), "<end>");
  held_[1]();
  EXPECT_THAT(Receive(first), HasSubstr("{\"answer\":1}"));
  EXPECT_EQ(server_->num_connections(), 3U);
}

TEST_F(HttpBoundsTest, UntilHalfOfThePlacesAreTakenNobodyIsCounted) {
  options_.max_connections = 10;
  options_.max_per_source = 1;
  Listen();
  const std::vector<UniqueFd> fds = ConnectMany(5, "127.0.0.2");
  EXPECT_EQ(server_->num_connections(), 5U);
  ConnectMany(1, "127.0.0.2");
  TurnUntil(4);  // an old one is dropped, the new one has left
}

TEST_F(HttpBoundsTest, BalancersCountForNoSource) {
  options_.max_connections = 6;
  options_.max_per_source = 1;
  options_.is_proxy = [](const std::string& host) {
    return host == "127.0.0.2";
  };
  Listen();
  const std::vector<UniqueFd> fds = ConnectMany(6, "127.0.0.2");
  EXPECT_EQ(server_->num_connections(), 6U);
}

HttpResponse OwnError(int status, std::string_view text) {
  HttpResponse response;
  response.status = status;
  response.headers.push_back({"X-Own", "yes"});
  response.body = std::string(text);
  return response;
}

TEST_F(HttpBoundsTest, ErrorsAreTheOwnersOwn) {
  options_.error = OwnError;
  options_.late = OwnError(504, "nothing came");
  Listen();
  const auto answer = [this](const std::string& request) {
    const UniqueFd fd = Connect();
    Send(fd, request);
    return ReceiveToEnd(fd);
  };
  EXPECT_THAT(answer("BAD\r\n\r\n"), HasSubstr("400 Bad Request\r\n"));
  EXPECT_THAT(answer("BAD\r\n\r\n"), HasSubstr("X-Own: yes\r\n"));
  EXPECT_THAT(answer("GET / HTTP/1.1\r\nHost: h\r\nX: " +
                     std::string(kMaxHttpHeadBytes, 'x')),
              HasSubstr("431 "));
  EXPECT_THAT(answer("GET /" + std::string(kMaxHttpHeadBytes, 'x')),
              HasSubstr("414 "));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
                     "Expect: 100-continue\r\n\r\n"),
              HasSubstr("417 "));
  EXPECT_THAT(answer("POST / HTTP/1.1\r\nHost: h\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n"),
              HasSubstr("501 "));
  EXPECT_EQ(num_requests_, 0);
}

TEST_F(HttpBoundsTest, LatenessIsTheOwnersOwn) {
  options_.error = OwnError;
  options_.late = OwnError(504, "nothing came");
  Listen();
  const UniqueFd fd = Connect();
  Ask(fd, "GET /later HTTP/1.0\r\n\r\n", 1);
  now_ms_ += options_.answer_ms;
  const std::string late = ReceiveToEnd(fd);
  EXPECT_THAT(late, HasSubstr("HTTP/1.1 504 "));
  EXPECT_THAT(late, HasSubstr("nothing came"));
  const UniqueFd slow = Connect();
  Send(slow, "GET / HTTP/1.0\r\n");
  Turn();
  Turn();
  now_ms_ += options_.request_ms;
  const std::string timeout = ReceiveToEnd(slow);
  EXPECT_THAT(timeout, HasSubstr("408 Request Timeout\r\n"));
  EXPECT_THAT(timeout, HasSubstr("X-Own: yes\r\n"));
  EXPECT_THAT(timeout, Not(HasSubstr("{")));
}

}  // namespace
}  // namespace spicegate
