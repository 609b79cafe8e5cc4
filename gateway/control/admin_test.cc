// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/admin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
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

TEST_F(AdminTest, AnswersRequestsThatComeTogether) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    requests += kGetLive;
  }
  Send(fd, requests);
  const auto count = [](const std::string& text) {
    size_t n = 0;
    for (size_t at = 0; (at = text.find("{\"live\"", at)) != std::string::npos;
         ++at) {
      ++n;
    }
    return n;
  };
  EXPECT_EQ(
      count(ReceiveUntil(
          fd, [&](const std::string& text) { return count(text) >= 50; })),
      50U);
}

TEST_F(AdminTest, ClosesWhenAskedTo) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Send(fd, "GET /livez HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(ReceiveToEnd(fd).ends_with("{\"live\":true}\n<end>"));
}

TEST_F(AdminTest, AnErrorAnswerArrivesInSpiteOfUnreadInput) {
  Listen(Tcp());
  const UniqueFd fd = Connect();
  Send(fd, "BAD\r\n\r\n" + std::string(20'000, 'x'));
  const std::string answer = ReceiveToEnd(fd);
  EXPECT_THAT(answer, HasSubstr("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_TRUE(answer.ends_with("}\n<end>"));
}

TEST_F(AdminTest, SendsLongAnswersAtTheClientsPace) {
  services_.metrics = std::string(8'000'000, 'm');
  Listen(Tcp());
  const UniqueFd slow = Connect();
  Send(slow, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
  for (int i = 0; i < 20; ++i) {
    Turn();
  }
  // Others are served meanwhile.
  const UniqueFd other = Connect();
  Send(other, kGetLive);
  EXPECT_THAT(Receive(other), HasSubstr("live"));
  const auto whole = [](const std::string& text) {
    const size_t body = text.find("\r\n\r\n");
    return body != std::string::npos && text.size() - body - 4 >= 8'000'000;
  };
  EXPECT_TRUE(whole(ReceiveUntil(slow, whole)));
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

TEST_F(AdminTest, BusyConnectionsAreBounded) {
  Listen(Tcp());
  std::vector<UniqueFd> fds;
  for (size_t i = 0; i < kMaxAdminConnections; ++i) {
    fds.push_back(Connect());
    Send(fds.back(), "G");
    TurnUntil(i + 1);  // connect would wait for a full backlog
  }
  Turn();
  const UniqueFd late = Connect();
  Send(late, kGetLive);
  Turn();
  EXPECT_EQ(admin_.num_connections(), kMaxAdminConnections);
  // The loop is not kept busy by the connection that has to wait.
  EXPECT_GT(admin_.NextDeadlineMs(), now_ms_);
  fds.pop_back();
  TurnUntil(kMaxAdminConnections - 1);
  now_ms_ = admin_.NextDeadlineMs();
  EXPECT_THAT(Receive(late), HasSubstr("live"));
}

TEST_F(AdminTest, AClientThatLeavesIsForgotten) {
  Listen(Tcp());
  UniqueFd fd = Connect();
  TurnUntil(1);
  fd.Reset();
  TurnUntil(0);
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

TEST_F(AdminTest, AStaleSocketFileIsReplaced) {
  {
    const UniqueFd old(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(
        bind(old.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)),
        0);
  }
  Listen(Unix());
}

TEST_F(AdminTest, ALiveSocketIsLeftAlone) {
  Listen(Unix());
  AdminServer second(&services_);
  const absl::Status status = second.Listen(Unix());
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("another process answers there"));
  second.Close();
  struct stat info {};
  EXPECT_EQ(lstat(path_.c_str(), &info), 0);
}

TEST_F(AdminTest, NoOtherFileIsReplaced) {
  std::ofstream(path_) << "precious";
  EXPECT_THAT(std::string(admin_.Listen(Unix()).message()),
              HasSubstr("is no socket"));
  struct stat info {};
  ASSERT_EQ(lstat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_size, 8);
}

TEST_F(AdminTest, ASuccessorsSocketIsNotRemoved) {
  Listen(Unix());
  // Another process took the name over.
  ASSERT_EQ(unlink(path_.c_str()), 0);
  AdminServer second(&services_);
  ASSERT_TRUE(second.Listen(Unix()).ok());
  admin_.Close();
  struct stat info {};
  EXPECT_EQ(lstat(path_.c_str(), &info), 0);
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

}  // namespace
}  // namespace spicegate
