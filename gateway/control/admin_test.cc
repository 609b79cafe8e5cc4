// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/admin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "gateway/control/admin_fixture.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

TEST_F(AdminTest, TellsTheAddressItHas) {
  Listen(Tcp());
  EXPECT_THAT(admin_.address(), MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
}

TEST_F(AdminTest, AnswersAndKeepsTheConnection) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Send(fd, kGetLive);
  EXPECT_THAT(Receive(fd), HasSubstr("{\"live\":true}"));
  Send(fd, kPostTicket);
  EXPECT_THAT(Receive(fd), HasSubstr("\"ticket\":\"TICKET1\""));
  EXPECT_EQ(admin_.num_connections(), 1U);
}

TEST_F(AdminTest, AnUnfinishedRequestHasADeadline) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Send(fd, "GET /livez HT");
  TurnUntil(1);
  Turn();
  now_ms_ += kAdminRequestMs / 2;
  Send(fd, "TP/1.1\r\n");  // a byte now and then gains no time
  Turn();
  EXPECT_EQ(admin_.NextDeadlineMs(), 1'000 + kAdminRequestMs);
  now_ms_ = admin_.NextDeadlineMs();
  EXPECT_THAT(ReceiveToEnd(fd), HasSubstr("408 Request Timeout"));
}

TEST_F(AdminTest, AnIdleConnectionHasADeadline) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Send(fd, kGetLive);
  Receive(fd);
  EXPECT_EQ(admin_.NextDeadlineMs(), now_ms_ + kAdminIdleMs);
  now_ms_ += kAdminIdleMs - 1;
  Turn();
  EXPECT_EQ(admin_.num_connections(), 1U);
  now_ms_ += 1;
  EXPECT_EQ(ReceiveToEnd(fd), "<end>");
  EXPECT_EQ(admin_.NextDeadlineMs(), INT64_MAX);
}

TEST_F(AdminTest, IdleConnectionsMakeRoomForNewOnes) {
  Listen(Tcp());
  std::vector<UniqueFd> fds;
  for (size_t i = 0; i < kMaxAdminConnections; ++i) {
    fds.push_back(Connect());
    TurnUntil(i + 1);
  }
  const UniqueFd late = Connect();
  Send(late, kGetLive);
  EXPECT_THAT(Receive(late), HasSubstr("live"));
  EXPECT_EQ(admin_.num_connections(), kMaxAdminConnections);
  EXPECT_EQ(ReceiveToEnd(fds[0]), "<end>");
}

TEST_F(AdminTest, TheUnixSocketIsForItsOwnerOnly) {
  Listen(Unix());
  EXPECT_EQ(admin_.address(), "unix:" + path_);
  struct stat info {};
  ASSERT_EQ(lstat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode, mode_t{S_IFSOCK | 0600});
  const UniqueFd fd = ConnectUnix();
  Send(fd, "GET /livez HTTP/1.1\r\nHost: spicegate\r\n\r\n");
  EXPECT_THAT(Receive(fd), HasSubstr("live"));
  admin_.Close();
  EXPECT_NE(lstat(path_.c_str(), &info), 0);
}

TEST_F(AdminTest, ABusyPortIsAnError) {
  Listen(Tcp());
  BindAddress taken;
  ASSERT_TRUE(ParseBindAddress(admin_.address(), &taken));
  AdminServer second(&services_);
  EXPECT_EQ(second.Listen({taken, ""}).message(),
            "admin address " + admin_.address() +
                ": cannot listen: Address already in use");
}

TEST_F(AdminTest, AServiceThatIsLateIsNotWaitedFor) {
  services_.hold = true;
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Send(fd, kPostTicket);
  for (int i = 0; i < kMaxTurns && services_.held.empty(); ++i) {
    Turn();
  }
  EXPECT_EQ(admin_.NextDeadlineMs(), now_ms_ + kAdminAnswerMs);
  now_ms_ += kAdminAnswerMs;
  const std::string answer = Receive(fd);
  EXPECT_THAT(answer, HasSubstr("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(answer, HasSubstr("{\"error\":\"no answer in time\"}\n"));
}

// The same Host that a rebinding page would have.
TEST_F(AdminTest, WhatPagesMayNotDoDependsOnTheAddress) {
  constexpr char kForeign[] = "GET /livez HTTP/1.1\r\nHost: a.example\r\n\r\n";
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Send(fd, kForeign);
  EXPECT_THAT(Receive(fd), HasSubstr("403 Forbidden"));
  AdminServer over_unix(&services_);
  ASSERT_TRUE(over_unix.Listen(Unix()).ok());
  const UniqueFd other = ConnectUnix();
  Send(other, kForeign);
  std::string answer;
  for (int i = 0; i < kMaxTurns && !answer.ends_with("}\n"); ++i) {
    std::vector<pollfd> fds;
    over_unix.AddPollFds(&fds);
    ASSERT_GE(poll(fds.data(), fds.size(), /*timeout=*/1), 0);
    over_unix.HandlePollFds(fds, now_ms_);
    char buffer[4096];
    const ssize_t len = recv(other.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    answer.append(buffer, static_cast<size_t>(len > 0 ? len : 0));
  }
  EXPECT_THAT(answer, HasSubstr("200 OK"));
}

}  // namespace
}  // namespace spicegate
