// SPDX-License-Identifier: Apache-2.0
//
// Answers that services give later than inside the call, or never.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/control/admin.h"
#include "gateway/control/admin_fixture.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// "Connection: keep-alive" is not it.
constexpr char kLive[] = "{\"live\":true}";

class LateAnswerTest : public AdminTest {
 protected:
  LateAnswerTest() { services_.hold = true; }

  // Sends and turns the loop until services have been asked `num_held` times.
  void Ask(const UniqueFd& fd, std::string_view request, size_t num_held) {
    Send(fd, request);
    for (int i = 0; i < kMaxTurns && services_.held.size() < num_held; ++i) {
      Turn();
    }
    ASSERT_EQ(services_.held.size(), num_held);
  }

  // A turn in which no descriptor is ready.
  void QuietTurn() {
    std::vector<pollfd> fds;
    admin_.AddPollFds(&fds);
    admin_.HandlePollFds(fds, now_ms_);
  }

  static std::string ReadNow(const UniqueFd& fd) {
    char buffer[16384];
    const ssize_t len = recv(fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    return len <= 0 ? "" : std::string(buffer, static_cast<size_t>(len));
  }
};

TEST_F(LateAnswerTest, IsWrittenWithoutAnyDescriptorsHelp) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Ask(fd, kPostTicket, 1);
  EXPECT_EQ(admin_.NextDeadlineMs(), now_ms_ + kAdminAnswerMs);
  QuietTurn();
  EXPECT_EQ(ReadNow(fd), "");
  services_.held[0]();
  // The loop that hears of it elsewhere does not go to sleep over it.
  EXPECT_LE(admin_.NextDeadlineMs(), now_ms_);
  QuietTurn();
  EXPECT_THAT(ReadNow(fd), HasSubstr("\"ticket\":\"TICKET1\""));
  EXPECT_EQ(admin_.NextDeadlineMs(), now_ms_ + kAdminIdleMs);
  services_.hold = false;
  Send(fd, kGetLive);
  EXPECT_THAT(Receive(fd), HasSubstr(kLive));
}

TEST_F(LateAnswerTest, NothingIsAskedOfPollMeanwhile) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Ask(fd, kPostTicket, 1);
  Send(fd, kGetLive);
  std::vector<pollfd> fds;
  admin_.AddPollFds(&fds);
  ASSERT_EQ(fds.size(), 2U);
  EXPECT_EQ(fds[1].events, 0);
  EXPECT_EQ(poll(fds.data(), fds.size(), /*timeout=*/1), 0);
}

TEST_F(LateAnswerTest, OthersAreServedMeanwhile) {
  Listen(Tcp());
  const UniqueFd first = Connect();
  Ask(first, kPostTicket, 1);
  const UniqueFd second = Connect();
  Ask(second, kPostTicket, 2);
  const UniqueFd third = Connect();
  Send(third, kGetLive);
  EXPECT_THAT(Receive(third), HasSubstr(kLive));
  services_.held[1]();
  EXPECT_THAT(Receive(second), HasSubstr("TICKET1"));
  EXPECT_EQ(ReadNow(first), "");
  services_.held[0]();
  EXPECT_THAT(Receive(first), HasSubstr("TICKET2"));
}

TEST_F(LateAnswerTest, RequestsBehindItWait) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  const std::string ticket = kPostTicket;
  Ask(fd, kGetLive + ticket + ticket + kGetLive, 1);
  EXPECT_THAT(Receive(fd), HasSubstr(kLive));
  for (int i = 0; i < 5; ++i) {
    Turn();
  }
  EXPECT_EQ(services_.held.size(), 1U);
  services_.held[0]();
  EXPECT_THAT(Receive(fd), HasSubstr("TICKET1"));
  ASSERT_EQ(services_.held.size(), 2U);
  EXPECT_EQ(ReadNow(fd), "");
  services_.held[1]();
  const std::string rest = ReceiveUntil(fd, [](const std::string& text) {
    return text.find(kLive) != std::string::npos;
  });
  EXPECT_THAT(rest, HasSubstr("TICKET2"));
  EXPECT_LT(rest.find("TICKET2"), rest.find(kLive));
}

TEST_F(LateAnswerTest, HasADeadline) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Ask(fd, std::string(kPostTicket) + kGetLive, 1);
  now_ms_ += kAdminAnswerMs - 1;
  QuietTurn();
  EXPECT_EQ(ReadNow(fd), "");
  now_ms_ += 1;
  const std::string answers = ReceiveUntil(fd, [](const std::string& text) {
    return text.find(kLive) != std::string::npos;
  });
  EXPECT_THAT(answers, HasSubstr("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(answers, HasSubstr("{\"error\":\"no answer in time\"}\n"));
  EXPECT_THAT(answers, HasSubstr(kLive));
  // Too late: it belongs to no request any more, least of all to the next.
  Ask(fd, kPostTicket, 2);
  services_.held[0]();
  Turn();
  EXPECT_EQ(ReadNow(fd), "");
  services_.held[1]();
  EXPECT_THAT(Receive(fd), HasSubstr("TICKET2"));
}

TEST_F(LateAnswerTest, AServiceThatForgetsIsLikeOneThatIsLate) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Ask(fd, kPostTicket, 1);
  services_.held.clear();
  now_ms_ = admin_.NextDeadlineMs();
  EXPECT_THAT(Receive(fd), HasSubstr("503 Service Unavailable"));
}

TEST_F(LateAnswerTest, OnlyTheFirstWordCounts) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Ask(fd, kPostTicket, 1);
  services_.held[0]();
  services_.held[0]();
  EXPECT_THAT(Receive(fd), HasSubstr("TICKET1"));
  services_.held[0]();
  for (int i = 0; i < 5; ++i) {
    Turn();
  }
  EXPECT_EQ(ReadNow(fd), "");
}

TEST_F(LateAnswerTest, AClientThatIsGoneIsForgottenAtOnce) {
  Listen(Unix());
  UniqueFd fd = ConnectUnix();
  Ask(fd, kPostTicket, 1);
  fd.Reset();
  TurnUntil(0);
  services_.held[0]();
  EXPECT_EQ(admin_.NextDeadlineMs(), INT64_MAX);
  Turn();
}

TEST_F(LateAnswerTest, AResetIsNoticed) {
  Listen(Tcp());
  UniqueFd fd = Connect();
  Ask(fd, kPostTicket, 1);
  const linger reset = {1, 0};
  ASSERT_EQ(setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)),
            0);
  fd.Reset();
  TurnUntil(0);
}

// As with "nc -N", and as RFC 9112 9.6 has it.
TEST_F(LateAnswerTest, AClientMayEndItsDirection) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Ask(fd, kPostTicket, 1);
  ASSERT_EQ(shutdown(fd.get(), SHUT_WR), 0);
  for (int i = 0; i < 5; ++i) {
    Turn();
  }
  EXPECT_EQ(admin_.num_connections(), 1U);
  services_.held[0]();
  EXPECT_TRUE(ReceiveToEnd(fd).ends_with("\"expires_s\":60}\n<end>"));
}

TEST_F(LateAnswerTest, NobodyIsThereAfterClose) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Ask(fd, kPostTicket, 1);
  admin_.Close();
  services_.held[0]();
  EXPECT_EQ(admin_.NextDeadlineMs(), INT64_MAX);
  char byte = 0;
  EXPECT_LE(recv(fd.get(), &byte, 1, 0), 0);
}

TEST_F(LateAnswerTest, MayComeAfterTheServersLife) {
  auto admin = std::make_unique<AdminServer>(&services_);
  ASSERT_TRUE(admin->Listen(Unix()).ok());
  const UniqueFd fd = ConnectUnix();
  Send(fd, kPostTicket);
  for (int i = 0; i < kMaxTurns && services_.held.empty(); ++i) {
    std::vector<pollfd> fds;
    admin->AddPollFds(&fds);
    ASSERT_GE(poll(fds.data(), fds.size(), /*timeout=*/1), 0);
    admin->HandlePollFds(fds, now_ms_);
  }
  ASSERT_EQ(services_.held.size(), 1U);
  admin.reset();
  services_.held[0]();
  EXPECT_EQ(services_.issued.size(), 1U);
}

TEST_F(LateAnswerTest, ComesBeforeRetirement) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Ask(fd, std::string(kPostTicket) + kGetLive, 1);
  admin_.RetireConnections(now_ms_);
  EXPECT_EQ(admin_.num_connections(), 1U);
  services_.held[0]();
  const std::string answer = ReceiveToEnd(fd);
  EXPECT_THAT(answer, HasSubstr("TICKET1"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr(kLive)));
}

TEST_F(LateAnswerTest, WhoWaitsForItMakesNoRoom) {
  Listen(Tcp());
  const UniqueFd waiting = Connect();
  Ask(waiting, kPostTicket, 1);
  std::vector<UniqueFd> fds;
  for (size_t i = 1; i < kMaxAdminConnections; ++i) {
    fds.push_back(Connect());
    TurnUntil(i + 1);
  }
  const UniqueFd late = Connect();
  Send(late, kGetLive);
  EXPECT_THAT(Receive(late), HasSubstr(kLive));
  EXPECT_EQ(ReceiveToEnd(fds[0]), "<end>");
  services_.held[0]();
  EXPECT_THAT(Receive(waiting), HasSubstr("TICKET1"));
}

}  // namespace
}  // namespace spicegate
