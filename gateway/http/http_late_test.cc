// SPDX-License-Identifier: Apache-2.0
//
// Answers that a handler gives later than inside the call, or never.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/http/http_fixture.h"
#include "gateway/http/http_server.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kFirst[] = "{\"answer\":1}";
constexpr char kSecond[] = "{\"answer\":2}";

using LateAnswerTest = HttpServerTest;

TEST_F(LateAnswerTest, IsWrittenWithoutAnyDescriptorsHelp) {
  Listen();
  const UniqueFd fd = Connect();
  Ask(fd, kGetLater, 1);
  EXPECT_EQ(server_->NextDeadlineMs(), now_ms_ + options_.answer_ms);
  QuietTurn();
  EXPECT_EQ(ReadNow(fd), "");
  held_[0]();
  // The loop that hears of it elsewhere does not go to sleep over it.
  EXPECT_LE(server_->NextDeadlineMs(), now_ms_);
  QuietTurn();
  EXPECT_THAT(ReadNow(fd), HasSubstr(kFirst));
  EXPECT_EQ(server_->NextDeadlineMs(), now_ms_ + options_.idle_ms);
  Send(fd, kGetNow);
  EXPECT_THAT(Receive(fd), HasSubstr(kNow));
}

TEST_F(LateAnswerTest, NothingIsAskedOfPollMeanwhile) {
  Listen();
  const UniqueFd fd = Connect();
  Ask(fd, kGetLater, 1);
  Send(fd, kGetNow);
  std::vector<pollfd> fds;
  server_->AddPollFds(&fds);
  ASSERT_EQ(fds.size(), 2U);
  EXPECT_EQ(fds[1].events, 0);
  EXPECT_EQ(poll(fds.data(), fds.size(), /*timeout=*/1), 0);
}

TEST_F(LateAnswerTest, OthersAreServedMeanwhile) {
  Listen();
  const UniqueFd first = Connect();
  Ask(first, kGetLater, 1);
  const UniqueFd second = Connect();
  Ask(second, kGetLater, 2);
  const UniqueFd third = Connect();
  Send(third, kGetNow);
  EXPECT_THAT(Receive(third), HasSubstr(kNow));
  held_[1]();
  EXPECT_THAT(Receive(second), HasSubstr(kFirst));
  EXPECT_EQ(ReadNow(first), "");
  held_[0]();
  EXPECT_THAT(Receive(first), HasSubstr(kSecond));
}

TEST_F(LateAnswerTest, RequestsBehindItWait) {
  Listen();
  const UniqueFd fd = Connect();
  const std::string ticket = kGetLater;
  Ask(fd, kGetNow + ticket + ticket + kGetNow, 1);
  EXPECT_THAT(Receive(fd), HasSubstr(kNow));
  for (int i = 0; i < 5; ++i) {
    Turn();
  }
  EXPECT_EQ(held_.size(), 1U);
  held_[0]();
  EXPECT_THAT(Receive(fd), HasSubstr(kFirst));
  ASSERT_EQ(held_.size(), 2U);
  EXPECT_EQ(ReadNow(fd), "");
  held_[1]();
  const std::string rest = ReceiveUntil(fd, [](const std::string& text) {
    return text.find(kNow) != std::string::npos;
  });
  EXPECT_THAT(rest, HasSubstr(kSecond));
  EXPECT_LT(rest.find(kSecond), rest.find(kNow));
}

TEST_F(LateAnswerTest, HasADeadline) {
  Listen();
  const UniqueFd fd = Connect();
  Ask(fd, std::string(kGetLater) + kGetNow, 1);
  now_ms_ += options_.answer_ms - 1;
  QuietTurn();
  EXPECT_EQ(ReadNow(fd), "");
  now_ms_ += 1;
  const std::string answers = ReceiveUntil(fd, [](const std::string& text) {
    return text.find(kNow) != std::string::npos;
  });
  EXPECT_THAT(answers, HasSubstr("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(answers, HasSubstr("{\"error\":\"no answer in time\"}\n"));
  EXPECT_THAT(answers, HasSubstr(kNow));
  // Too late: it belongs to no request any more, least of all to the next.
  Ask(fd, kGetLater, 2);
  held_[0]();
  Turn();
  EXPECT_EQ(ReadNow(fd), "");
  held_[1]();
  EXPECT_THAT(Receive(fd), HasSubstr(kSecond));
}

TEST_F(LateAnswerTest, AHandlerThatForgetsIsLikeOneThatIsLate) {
  Listen();
  const UniqueFd fd = Connect();
  Ask(fd, kGetLater, 1);
  held_.clear();
  now_ms_ = server_->NextDeadlineMs();
  EXPECT_THAT(Receive(fd), HasSubstr("503 Service Unavailable"));
}

TEST_F(LateAnswerTest, OnlyTheFirstWordCounts) {
  Listen();
  const UniqueFd fd = Connect();
  Ask(fd, kGetLater, 1);
  held_[0]();
  held_[0]();
  EXPECT_THAT(Receive(fd), HasSubstr(kFirst));
  held_[0]();
  for (int i = 0; i < 5; ++i) {
    Turn();
  }
  EXPECT_EQ(ReadNow(fd), "");
}

TEST_F(LateAnswerTest, AClientThatIsGoneIsForgottenAtOnce) {
  ListenUnix();
  UniqueFd fd = ConnectUnix();
  Ask(fd, kGetLater, 1);
  fd.Reset();
  TurnUntil(0);
  held_[0]();
  EXPECT_EQ(server_->NextDeadlineMs(), INT64_MAX);
  Turn();
}

TEST_F(LateAnswerTest, AResetIsNoticed) {
  Listen();
  UniqueFd fd = Connect();
  Ask(fd, kGetLater, 1);
  const linger reset = {1, 0};
  ASSERT_EQ(setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)),
            0);
  fd.Reset();
  TurnUntil(0);
}

// As with "nc -N", and as RFC 9112 9.6 has it.
TEST_F(LateAnswerTest, AClientMayEndItsDirection) {
  Listen();
  const UniqueFd fd = Connect();
  Ask(fd, kGetLater, 1);
  ASSERT_EQ(shutdown(fd.get(), SHUT_WR), 0);
  for (int i = 0; i < 5; ++i) {
    Turn();
  }
  EXPECT_EQ(server_->num_connections(), 1U);
  held_[0]();
  EXPECT_TRUE(ReceiveToEnd(fd).ends_with("{\"answer\":1}\n<end>"));
}

TEST_F(LateAnswerTest, NobodyIsThereAfterClose) {
  Listen();
  const UniqueFd fd = Connect();
  Ask(fd, kGetLater, 1);
  server_->Close();
  held_[0]();
  EXPECT_EQ(server_->NextDeadlineMs(), INT64_MAX);
  char byte = 0;
  EXPECT_LE(recv(fd.get(), &byte, 1, 0), 0);
}

TEST_F(LateAnswerTest, MayComeAfterTheServersLife) {
  auto server = MakeServer();
  ASSERT_TRUE(server->ListenUnix(path_).ok());
  const UniqueFd fd = ConnectUnix();
  Send(fd, kGetLater);
  for (int i = 0; i < kMaxTurns && held_.empty(); ++i) {
    std::vector<pollfd> fds;
    server->AddPollFds(&fds);
    ASSERT_GE(poll(fds.data(), fds.size(), /*timeout=*/1), 0);
    server->HandlePollFds(fds, now_ms_);
  }
  ASSERT_EQ(held_.size(), 1U);
  server.reset();
  held_[0]();
  EXPECT_EQ(num_answered_, 1);
}

TEST_F(LateAnswerTest, ComesBeforeRetirement) {
  Listen();
  const UniqueFd fd = Connect();
  Ask(fd, std::string(kGetLater) + kGetNow, 1);
  server_->RetireConnections(now_ms_);
  EXPECT_EQ(server_->num_connections(), 1U);
  held_[0]();
  const std::string answer = ReceiveToEnd(fd);
  EXPECT_THAT(answer, HasSubstr(kFirst));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr(kNow)));
}

TEST_F(LateAnswerTest, WhoWaitsForItMakesNoRoom) {
  Listen();
  const UniqueFd waiting = Connect();
  Ask(waiting, kGetLater, 1);
  std::vector<UniqueFd> fds;
  for (size_t i = 1; i < options_.max_connections; ++i) {
    fds.push_back(Connect());
    TurnUntil(i + 1);
  }
  const UniqueFd late = Connect();
  Send(late, kGetNow);
  EXPECT_THAT(Receive(late), HasSubstr(kNow));
  EXPECT_EQ(ReceiveToEnd(fds[0]), "<end>");
  held_[0]();
  EXPECT_THAT(Receive(waiting), HasSubstr(kFirst));
}

}  // namespace
}  // namespace spicegate
