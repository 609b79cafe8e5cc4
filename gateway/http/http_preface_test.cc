// SPDX-License-Identifier: Apache-2.0
//
// PROXY headers in front of requests: however they are cut, whoever sends
// them, and with TLS behind them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/http/http_fixture.h"
#include "gateway/http/http_server.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kLine =
    "PROXY TCP4 203.0.113.9 10.0.0.1 40000 443\r\n";
// The same in version 2.
constexpr std::string_view kBlock(
    "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xCB\0\x71\x09\x0A\0\0\x01\x9C\x40\x01"
    "\xBB",
    28);
constexpr std::string_view kLocalBlock("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16);
constexpr char kUser[] = "\"peer\":\"203.0.113.9:40000\"";
constexpr char kBalancer[] = "\"socket\":\"127.0.0.1:";

// Demands "HELLO" where TLS would demand its own.
class HelloStream final : public HttpStream {
 public:
  explicit HelloStream(int fd) : fd_(fd), plain_(MakePlainHttpStream(fd)) {}

  int Handshake() override {
    constexpr std::string_view kHello = "HELLO";
    while (taken_ < kHello.size()) {
      char byte = 0;
      const ssize_t len = recv(fd_, &byte, 1, 0);
      if (len < 0 && errno == EAGAIN) {
        return -EAGAIN;
      }
      if (len <= 0 || byte != kHello[taken_]) {
        return -EPROTO;
      }
      ++taken_;
    }
    return 0;
  }
  short HandshakeEvents() const override { return POLLIN; }
  ssize_t Read(std::span<char> out) override { return plain_->Read(out); }
  ssize_t Write(std::string_view in) override { return plain_->Write(in); }
  int EndWrite() override { return 0; }

 private:
  const int fd_;
  const std::unique_ptr<HttpStream> plain_;
  size_t taken_ = 0;
};

std::unique_ptr<HttpStream> MakeHello(int fd) {
  return std::make_unique<HelloStream>(fd);
}

class HttpPrefaceTest : public HttpServerTest {
 protected:
  HttpPrefaceTest() {
    options_.proxy_protocol = true;
    options_.is_proxy = [](const std::string& host) {
      return host == "127.0.0.1";
    };
  }

  // Everything in two pieces, cut at each place.
  void ExpectWholeHoweverCut(const std::string& text, const std::string& what) {
    for (size_t cut = 1; cut < text.size(); ++cut) {
      const UniqueFd fd = Connect();
      Send(fd, text.substr(0, cut));
      Turn();
      Turn();
      Send(fd, text.substr(cut));
      const std::string answer = Receive(fd);
      ASSERT_THAT(answer, HasSubstr(what)) << cut;
      ASSERT_THAT(answer, HasSubstr(kBalancer)) << cut;
    }
  }
};

TEST_F(HttpPrefaceTest, IsReadInFrontOfPlainRequestsHoweverCut) {
  Listen();
  for (const std::string_view header : {kLine, kBlock}) {
    ExpectWholeHoweverCut(std::string(header) + kGetNow, kUser);
  }
}

TEST_F(HttpPrefaceTest, IsReadInFrontOfTlsHoweverCut) {
  Listen(MakeHello);
  for (const std::string_view header : {kLine, kBlock}) {
    ExpectWholeHoweverCut(std::string(header) + "HELLO" + kGetNow, kUser);
  }
}

TEST_F(HttpPrefaceTest, MayComeByteByByte) {
  Listen(MakeHello);
  const UniqueFd fd = Connect();
  for (const char byte : std::string(kBlock) + "HELLO" + kGetNow) {
    Send(fd, std::string(1, byte));
    Turn();
  }
  EXPECT_THAT(Receive(fd), HasSubstr(kUser));
}

TEST_F(HttpPrefaceTest, WithoutAnAddressTheBalancersCounts) {
  Listen();
  for (const std::string_view header :
       {kLocalBlock, std::string_view("PROXY UNKNOWN\r\n")}) {
    const UniqueFd fd = Connect();
    Send(fd, std::string(header) + kGetNow);
    EXPECT_THAT(Receive(fd), HasSubstr("\"peer\":\"127.0.0.1:"));
  }
}

TEST_F(HttpPrefaceTest, StandsInFrontOfAConnectionOnlyOnce) {
  Listen();
  const UniqueFd fd = Connect();
  Send(fd, std::string(kLine) + kGetNow);
  EXPECT_THAT(Receive(fd), HasSubstr(kUser));
  Send(fd, kGetNow);
  EXPECT_THAT(Receive(fd), HasSubstr(kUser));
  Send(fd, std::string(kLine) + "\r\n");
  EXPECT_THAT(ReceiveToEnd(fd), HasSubstr("400 Bad Request"));
}

TEST_F(HttpPrefaceTest, WithoutOneNothingIsAnswered) {
  Listen();
  const UniqueFd fd = Connect();
  Send(fd, kGetNow);
  EXPECT_THAT(ReceiveToEnd(fd), Not(HasSubstr("HTTP")));
  EXPECT_EQ(server_->num_connections(), 0U);
  EXPECT_EQ(num_requests_, 0);
}

TEST_F(HttpPrefaceTest, ABrokenOneEndsTheConnection) {
  Listen();
  const UniqueFd fd = Connect();
  Send(fd, "PROXY TCP4 203.0.113.9 10.0.0.1 0x1 443\r\n");
  Send(fd, kGetNow);
  EXPECT_THAT(ReceiveToEnd(fd), Not(HasSubstr("HTTP")));
  EXPECT_EQ(num_requests_, 0);
}

TEST_F(HttpPrefaceTest, OnlyBalancersMaySendOne) {
  Listen();
  const UniqueFd fd = Connect("127.0.0.2");
  Send(fd, std::string(kLine) + kGetNow);
  EXPECT_THAT(ReceiveToEnd(fd), Not(HasSubstr("HTTP")));
  EXPECT_EQ(num_requests_, 0);
}

TEST_F(HttpPrefaceTest, IsWithinTheHandshakesDeadline) {
  Listen(MakeHello);
  const UniqueFd fd = Connect();
  Send(fd, kLine.substr(0, 20));
  TurnUntil(1);
  now_ms_ += options_.handshake_ms / 2;
  Send(fd, kLine.substr(20));
  Turn();
  EXPECT_EQ(server_->NextDeadlineMs(), 1'000 + options_.handshake_ms);
  now_ms_ = 1'000 + options_.handshake_ms;
  EXPECT_EQ(ReceiveToEnd(fd), "<end>");
}

TEST_F(HttpPrefaceTest, WhoHangsInItMakesRoom) {
  options_.max_connections = 4;
  Listen();
  std::vector<UniqueFd> hanging;
  for (size_t i = 0; i < options_.max_connections; ++i) {
    hanging.push_back(Connect());
    Send(hanging.back(), "PROXY ");
    TurnUntil(i + 1);
  }
  const UniqueFd fd = Connect();
  Send(fd, std::string(kLine) + kGetNow);
  EXPECT_THAT(Receive(fd), HasSubstr(kUser));
  EXPECT_THAT(ReceiveToEnd(hanging[0]), Not(HasSubstr("HTTP")));
}

TEST_F(HttpPrefaceTest, ItsAddressIsTheSourceThatIsCounted) {
  options_.max_connections = 8;
  options_.max_per_source = 2;
  Listen();
  std::vector<UniqueFd> fds;
  const auto ask = [&](const std::string& source) {
    fds.push_back(Connect());
    Send(fds.back(), "PROXY TCP4 " + source + " 10.0.0.1 4000 443\r\n");
    Send(fds.back(), kGetNow);
    return Receive(fds.back());
  };
  // From one balancer all of them; the bound is each user's.
  for (int i = 0; i < 6; ++i) {
    EXPECT_THAT(ask("203.0.113." + std::to_string(i)), HasSubstr(kNow));
  }
  EXPECT_EQ(server_->num_connections(), 6U);
  EXPECT_THAT(ask("203.0.113.1"), HasSubstr(kNow));
  EXPECT_EQ(server_->num_connections(), 7U);
  EXPECT_THAT(ask("203.0.113.1"), HasSubstr(kNow));
  EXPECT_EQ(server_->num_connections(), 7U);
  EXPECT_EQ(ReceiveToEnd(fds[1]), "<end>");
}

}  // namespace
}  // namespace spicegate
