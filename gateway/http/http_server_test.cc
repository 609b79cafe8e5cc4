// SPDX-License-Identifier: Apache-2.0
#include "gateway/http/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "gateway/http/http_fixture.h"

namespace spicegate {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

TEST_F(HttpServerTest, TellsTheAddressItHas) {
  Listen();
  EXPECT_THAT(server_->address(), MatchesRegex("127\\.0\\.0\\.1:[1-9][0-9]*"));
}

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
  Listen();
  const UniqueFd fd = Connect();
  Send(fd, kGetNow);
  EXPECT_THAT(Receive(fd), HasSubstr(kNow));
  Send(fd, "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nword");
  EXPECT_THAT(Receive(fd), HasSubstr("\"body\":\"word\"}"));
  EXPECT_EQ(server_->num_connections(), 1U);
}

TEST_F(HttpServerTest, AnswersRequestsThatComeTogether) {
  Listen();
  const UniqueFd fd = Connect();
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    requests += kGetNow;
  }
  Send(fd, requests);
  const auto count = [](const std::string& text) {
    size_t n = 0;
    for (size_t at = 0; (at = text.find(kNow, at)) != std::string::npos; ++at) {
      ++n;
    }
    return n;
  };
  EXPECT_EQ(
      count(ReceiveUntil(
          fd, [&](const std::string& text) { return count(text) >= 50; })),
      50U);
}

TEST_F(HttpServerTest, ClosesWhenAskedTo) {
  Listen();
  const UniqueFd fd = Connect();
  Send(fd, "GET /now HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(ReceiveToEnd(fd).ends_with("}\n<end>"));
}

TEST_F(HttpServerTest, AnErrorAnswerArrivesInSpiteOfUnreadInput) {
  Listen();
  const UniqueFd fd = Connect();
  Send(fd, "BAD\r\n\r\n" + std::string(20'000, 'x'));
  const std::string answer = ReceiveToEnd(fd);
  EXPECT_THAT(answer, HasSubstr("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_TRUE(answer.ends_with("}\n<end>"));
}

TEST_F(HttpServerTest, SendsLongAnswersAtTheClientsPace) {
  long_body_ = std::string(8'000'000, 'm');
  Listen();
  const UniqueFd slow = Connect();
  Send(slow, "GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n");
  for (int i = 0; i < 20; ++i) {
    Turn();
  }
  // Others are served meanwhile.
  const UniqueFd other = Connect();
  Send(other, kGetNow);
  EXPECT_THAT(Receive(other), HasSubstr(kNow));
  const auto whole = [](const std::string& text) {
    const size_t body = text.find("\r\n\r\n");
    return body != std::string::npos && text.size() - body - 4 >= 8'000'000;
  };
  EXPECT_TRUE(whole(ReceiveUntil(slow, whole)));
}

TEST_F(HttpServerTest, AnUnfinishedRequestHasADeadline) {
  Listen();
  const UniqueFd fd = Connect();
  Send(fd, "GET /now HT");
  TurnUntil(1);
  Turn();
  now_ms_ += options_.request_ms / 2;
  Send(fd, "TP/1.1\r\n");  // a byte now and then gains no time
  Turn();
  EXPECT_EQ(server_->NextDeadlineMs(), 1'000 + options_.request_ms);
  now_ms_ = server_->NextDeadlineMs();
  EXPECT_THAT(ReceiveToEnd(fd), HasSubstr("408 Request Timeout"));
}

TEST_F(HttpServerTest, AnIdleConnectionHasADeadline) {
  Listen();
  const UniqueFd fd = Connect();
  Send(fd, kGetNow);
  Receive(fd);
  EXPECT_EQ(server_->NextDeadlineMs(), now_ms_ + options_.idle_ms);
  now_ms_ += options_.idle_ms - 1;
  Turn();
  EXPECT_EQ(server_->num_connections(), 1U);
  now_ms_ += 1;
  EXPECT_EQ(ReceiveToEnd(fd), "<end>");
  EXPECT_EQ(server_->NextDeadlineMs(), INT64_MAX);
}

TEST_F(HttpServerTest, IdleConnectionsMakeRoomForNewOnes) {
  Listen();
  std::vector<UniqueFd> fds;
  for (size_t i = 0; i < options_.max_connections; ++i) {
    fds.push_back(Connect());
    TurnUntil(i + 1);
  }
  const UniqueFd late = Connect();
  Send(late, kGetNow);
  EXPECT_THAT(Receive(late), HasSubstr(kNow));
  EXPECT_EQ(server_->num_connections(), options_.max_connections);
  EXPECT_EQ(ReceiveToEnd(fds[0]), "<end>");
}

TEST_F(HttpServerTest, BusyConnectionsAreBounded) {
  Listen();
  std::vector<UniqueFd> fds;
  for (size_t i = 0; i < options_.max_connections; ++i) {
    fds.push_back(Connect());
    Send(fds.back(), "G");
    TurnUntil(i + 1);  // connect would wait for a full backlog
  }
  Turn();
  const UniqueFd late = Connect();
  Send(late, kGetNow);
  Turn();
  EXPECT_EQ(server_->num_connections(), options_.max_connections);
  // The loop is not kept busy by the connection that has to wait.
  EXPECT_GT(server_->NextDeadlineMs(), now_ms_);
  fds.pop_back();
  TurnUntil(options_.max_connections - 1);
  now_ms_ = server_->NextDeadlineMs();
  EXPECT_THAT(Receive(late), HasSubstr(kNow));
}

TEST_F(HttpServerTest, AClientThatLeavesIsForgotten) {
  Listen();
  UniqueFd fd = Connect();
  TurnUntil(1);
  fd.Reset();
  TurnUntil(0);
}

TEST_F(HttpServerTest, TheUnixSocketIsForItsOwnerOnly) {
  ListenUnix();
  EXPECT_EQ(server_->address(), "unix:" + path_);
  struct stat info {};
  ASSERT_EQ(lstat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode, mode_t{S_IFSOCK | 0600});
  const UniqueFd fd = ConnectUnix();
  Send(fd, "GET /now HTTP/1.1\r\nHost: spicegate\r\n\r\n");
  EXPECT_THAT(Receive(fd), HasSubstr(kNow));
  server_->Close();
  EXPECT_NE(lstat(path_.c_str(), &info), 0);
}

TEST_F(HttpServerTest, AStaleSocketFileIsReplaced) {
  {
    const UniqueFd old(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(
        bind(old.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)),
        0);
  }
  ListenUnix();
}

TEST_F(HttpServerTest, ALiveSocketIsLeftAlone) {
  ListenUnix();
  HttpServer second(options_, Handler());
  const absl::Status status = second.ListenUnix(path_);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("another process answers there"));
  second.Close();
  struct stat info {};
  EXPECT_EQ(lstat(path_.c_str(), &info), 0);
}

TEST_F(HttpServerTest, NoOtherFileIsReplaced) {
  std::ofstream(path_) << "precious";
  EXPECT_THAT(std::string(MakeServer()->ListenUnix(path_).message()),
              HasSubstr("is no socket"));
  struct stat info {};
  ASSERT_EQ(lstat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_size, 8);
}

TEST_F(HttpServerTest, ASuccessorsSocketIsNotRemoved) {
  ListenUnix();
  // Another process took the name over.
  ASSERT_EQ(unlink(path_.c_str()), 0);
  HttpServer second(options_, Handler());
  ASSERT_TRUE(second.ListenUnix(path_).ok());
  server_->Close();
  struct stat info {};
  EXPECT_EQ(lstat(path_.c_str(), &info), 0);
}

TEST_F(HttpServerTest, ABusyPortIsAnError) {
  Listen();
  BindAddress taken;
  ASSERT_TRUE(ParseBindAddress(server_->address(), &taken));
  HttpServer second(options_, Handler());
  EXPECT_EQ(second.ListenTcp(taken).message(),
            "test address " + server_->address() +
                ": cannot listen: Address already in use");
}

TEST_F(HttpServerTest, ABusySocketIsNoReasonForAnother) {
  ListenUnix();
  HttpServer second(options_, Handler());
  EXPECT_THAT(std::string(second.ListenUnix(path_).message()),
              HasSubstr("test address unix:" + path_ + ": another process"));
}

TEST_F(HttpServerTest, TellsWhoAsks) {
  Listen();
  const UniqueFd fd = Connect("127.0.0.7");
  Send(fd, kGetNow);
  EXPECT_THAT(Receive(fd),
              ContainsRegex("\"peer\":\"127\\.0\\.0\\.7:[1-9][0-9]*\","
                            "\"socket\":\"127\\.0\\.0\\.7:[1-9][0-9]*\","
                            "\"tls\":false"));
}

TEST_F(HttpServerTest, NobodyHasAnAddressOnAUnixSocket) {
  ListenUnix();
  const UniqueFd fd = ConnectUnix();
  Send(fd, kGetNow);
  EXPECT_THAT(Receive(fd), HasSubstr("\"peer\":\"\",\"socket\":\"\""));
}

TEST_F(HttpServerTest, EveryAddressIsIpv4And6) {
  server_ = MakeServer();
  ASSERT_TRUE(server_->ListenTcp({"", 0}).ok());
  EXPECT_THAT(server_->address(), MatchesRegex("\\*:[1-9][0-9]*"));
  const std::string port = server_->address().substr(2);
  const UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  BindAddress address;
  ASSERT_TRUE(ParseBindAddress("127.0.0.1:" + port, &address));
  sockaddr_storage storage;
  const socklen_t len = ToSockaddr(address, &storage);
  ASSERT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), len), 0);
  Send(fd, kGetNow);
  EXPECT_THAT(Receive(fd), HasSubstr("\"peer\":\"127.0.0.1:"));
}

TEST_F(HttpServerTest, AHeadHasNoBodyButItsLength) {
  Listen();
  const UniqueFd fd = Connect();
  long_body_ = std::string(1'234, 'x');
  Send(fd, "HEAD /long HTTP/1.1\r\nHost: h\r\n\r\n");
  const std::string head = ReceiveUntil(
      fd, [](const std::string& text) { return text.ends_with("\r\n\r\n"); });
  EXPECT_THAT(head, HasSubstr("Content-Length: 1234\r\n"));
  // What comes next belongs to the next request.
  Send(fd, kGetNow);
  EXPECT_TRUE(Receive(fd).starts_with("HTTP/1.1 200 OK\r\n"));
}

TEST_F(HttpServerTest, AHeadMayBeAnsweredLater) {
  Listen();
  const UniqueFd fd = Connect();
  Ask(fd, "HEAD /later HTTP/1.0\r\n\r\n", 1);
  held_[0]();
  EXPECT_TRUE(ReceiveToEnd(fd).ends_with("\r\n\r\n<end>"));
}

}  // namespace
}  // namespace spicegate
