// SPDX-License-Identifier: Apache-2.0
//
// CONNECT and the end of a console's sessions through a whole gateway in this
// process, on loopback. What viewers make of it: tests/proxmox.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/unique_fd.h"
#include "gateway/io/listen.h"
#include "gateway/server.h"
#include "gateway/tls/self_signed.h"

namespace spicegate {
namespace {

constexpr char kOk[] = "HTTP/1.0 200 OK\r\n\r\n";
constexpr char kRecord[] = "\x16\x03\x01 and what TLS says";

// A connection that waits for no longer than ten seconds.
class TestSocket {
 public:
  explicit TestSocket(int fd) : fd_(fd) {
    const timeval limit{10, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  }
  static TestSocket To(const SocketAddress& address) {
    const int fd =
        socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, /*protocol=*/0);
    EXPECT_EQ(connect(fd, address.get(), address.len), 0);
    return TestSocket(fd);
  }

  void Say(const std::string& text) {
    EXPECT_EQ(send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  // So many bytes, or fewer where the end comes first.
  std::string Read(size_t len) {
    std::string text(len, '\0');
    size_t have = 0;
    while (have < len) {
      const ssize_t n = read(fd_.get(), &text[have], len - have);
      if (n < 0 && errno == EINTR) {
        continue;  // a wait with a limit is not begun again by itself
      }
      if (n <= 0) {
        break;
      }
      have += static_cast<size_t>(n);
    }
    text.resize(have);
    return text;
  }
  std::string ReadToEnd() { return Read(64 * 1024); }

 private:
  UniqueFd fd_;
};

class ServerConnectTest : public testing::Test {
 protected:
  ServerConnectTest() {
    char dir[] = "/tmp/spicegate-server-test.XXXXXX";
    CHECK(mkdtemp(dir) != nullptr);
    dir_ = dir;
    // A server that takes whatever TLS says.
    absl::StatusOr<UniqueFd> listener = ListenTcp("127.0.0.1", 0);
    CHECK(listener.ok());
    desktop_ = *std::move(listener);
    CHECK(fcntl(desktop_.get(), F_SETFL, 0) == 0);  // it may wait here
    config_.workers = 2;
    ListenerConfig connect;
    connect.address = {"127.0.0.1", 0};
    connect.protocol = ListenerProtocol::kConnect;
    config_.listeners = {connect};
    config_.admin.unix_path = dir_ + "/admin";
    config_.consoles_path = dir_ + "/consoles.json";
    config_.state_dir = dir_;
    config_.limits.max_links = 100;
    const auto ca = MakeSelfSigned({"ca"}, 1'800'000'000);
    CHECK(ca.ok());
    std::ofstream(dir_ + "/ca.pem") << ca->certificate_pem;
    std::ofstream(config_.consoles_path)
        << R"({"consoles": [{"name": "vm1", "host": "127.0.0.1",)"
        << R"("tls_port": )" << DesktopPort() << R"(, "ca_file": ")" << dir_
        << R"(/ca.pem"}]})";
  }

  ~ServerConnectTest() override {
    if (server_ != nullptr) {
      server_->RequestStop();
      control_.join();
      server_.reset();
    }
    std::filesystem::remove_all(dir_);
  }

  uint16_t DesktopPort() const {
    const std::string text = AddressText(LocalAddress(desktop_.get()));
    return static_cast<uint16_t>(std::atoi(text.c_str() + text.rfind(':') + 1));
  }

  void Allow(std::pair<uint16_t, uint16_t> ports) {
    AllowList::Rule rule;
    rule.hosts = {"127.0.0.1"};
    rule.ports = {ports};
    config_.connect.allow = *AllowList::Parse({rule});
  }

  void Start() {
    server_ = std::make_unique<Server>(config_);
    const absl::Status status = server_->Start();
    ASSERT_TRUE(status.ok()) << status;
    server_->IssueTicket({"vm1", "", "", ""},
                         [this](const absl::StatusOr<IssuedTicket>& ticket) {
                           ASSERT_TRUE(ticket.ok()) << ticket.status();
                           ticket_ = ticket->ticket;
                         });
    control_ = std::thread([this] { server_->Run(-1); });
  }

  uint16_t Port() const { return server_->listeners()[0].address.port; }

  TestSocket Client() {
    SocketAddress address;
    EXPECT_TRUE(NumericAddress("127.0.0.1", Port(), &address));
    return TestSocket::To(address);
  }

  TestSocket Connect(const std::string& target) {
    TestSocket client = Client();
    client.Say("CONNECT " + target + " HTTP/1.0\r\n\r\n");
    return client;
  }

  // The first line of what is not 200, once the connection has ended.
  std::string Refusal(const std::string& target) {
    const std::string answer = Connect(target).ReadToEnd();
    return answer.substr(0, answer.find("\r\n"));
  }

  // The desktop's end of the newest connection.
  TestSocket Accept() {
    const timeval limit{10, 0};
    setsockopt(desktop_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    int fd = -1;
    do {
      fd = accept4(desktop_.get(), nullptr, nullptr, SOCK_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    EXPECT_GE(fd, 0) << errno;
    return TestSocket(fd);
  }

  std::string Admin(const std::string& method, const std::string& path) {
    TestSocket client = TestSocket::To(*UnixAddress(config_.admin.unix_path));
    client.Say(method + " " + path +
               " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
               "Connection: close\r\n\r\n");
    return client.ReadToEnd();
  }

  // A tunnel to the desktop that has moved bytes both ways.
  std::pair<TestSocket, TestSocket> Tunnel(const std::string& target) {
    TestSocket client = Connect(target);
    EXPECT_EQ(client.Read(sizeof(kOk) - 1), kOk);
    client.Say(kRecord);
    TestSocket server = Accept();
    EXPECT_EQ(server.Read(sizeof(kRecord) - 1), kRecord);
    server.Say("an answer");
    EXPECT_EQ(client.Read(9), "an answer");
    return {std::move(client), std::move(server)};
  }

  std::string dir_;
  UniqueFd desktop_;
  Config config_;
  std::unique_ptr<Server> server_;
  std::thread control_;
  std::string ticket_;
};

TEST_F(ServerConnectTest, ATicketLeadsToItsConsole) {
  Start();
  auto [client, server] = Tunnel(ticket_ + ":5900");
  const std::string metrics = Admin("GET", "/metrics");
  EXPECT_NE(
      metrics.find("\nspicegate_channels_opened_total{channel=\"tunnel\"} 1\n"),
      std::string::npos);
  EXPECT_NE(metrics.find("\nspicegate_connect_answers_total{code=\"200\"} 1\n"),
            std::string::npos);
}

TEST_F(ServerConnectTest, WhatNobodyAllowsIsForbidden) {
  Start();
  const std::string forbidden = "HTTP/1.0 403 Forbidden";
  EXPECT_EQ(Refusal("127.0.0.1:" + std::to_string(DesktopPort())), forbidden);
  EXPECT_EQ(Refusal(std::string(48, 'a') + ":5900"), forbidden);
  EXPECT_EQ(Refusal("vm1:5900"), forbidden);
}

TEST_F(ServerConnectTest, WhatTheListAllowsIsReached) {
  Allow({DesktopPort(), DesktopPort()});
  Start();
  Tunnel("127.0.0.1:" + std::to_string(DesktopPort()));
}

TEST_F(ServerConnectTest, TheGatewayItselfIsNeverReached) {
  Allow({1, 65535});
  Start();
  EXPECT_EQ(Refusal("127.0.0.1:" + std::to_string(Port())),
            "HTTP/1.0 403 Forbidden");
  Tunnel("127.0.0.1:" + std::to_string(DesktopPort()));
}

TEST_F(ServerConnectTest, AServerThatIsNotThereIsUnreachable) {
  Allow({DesktopPort(), DesktopPort()});
  Start();
  const std::string target = "127.0.0.1:" + std::to_string(DesktopPort());
  desktop_.Reset();
  EXPECT_EQ(Refusal(target), "HTTP/1.0 502 Bad Gateway");
}

TEST_F(ServerConnectTest, SomethingElseInATunnelEndsIt) {
  Start();
  TestSocket client = Connect(ticket_ + ":5900");
  EXPECT_EQ(client.Read(sizeof(kOk) - 1), kOk);
  client.Say("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(client.ReadToEnd(), "");
}

TEST_F(ServerConnectTest, OneTooManyIsToldSo) {
  config_.limits.max_links = 1;
  Start();
  auto [client, server] = Tunnel(ticket_ + ":5900");
  EXPECT_EQ(Refusal(ticket_ + ":5900"), "HTTP/1.0 503 Service Unavailable");
  // The one that was there is unhurt.
  client.Say("still there");
  EXPECT_EQ(server.Read(11), "still there");
}

TEST_F(ServerConnectTest, DisconnectEndsTheSessionsOfAConsole) {
  Allow({DesktopPort(), DesktopPort()});
  Start();
  auto ours = Tunnel(ticket_ + ":5900");
  auto other = Tunnel("127.0.0.1:" + std::to_string(DesktopPort()));
  const std::string path = "/v1/consoles/vm1/disconnect";
  EXPECT_NE(Admin("POST", path).find(R"({"console":"vm1","sessions":1})"),
            std::string::npos);
  EXPECT_EQ(ours.first.ReadToEnd(), "");
  EXPECT_NE(Admin("POST", path).find(R"("sessions":0)"), std::string::npos);
  EXPECT_NE(Admin("POST", "/v1/consoles/vm2/disconnect").find("404"),
            std::string::npos);
  other.first.Say("still there");
  EXPECT_EQ(other.second.Read(11), "still there");
}

TEST_F(ServerConnectTest, ATicketNeedsWhatItsWayNeeds) {
  Start();
  const auto status = [this](const std::string& query) {
    const std::string answer =
        Admin("POST", "/v1/consoles/vm1/ticket?" + query);
    return answer.substr(0, answer.find("\r\n"));
  };
  EXPECT_NE(status("continues=vm1").find("409"), std::string::npos);
  EXPECT_NE(status("continues=vm2").find("404"), std::string::npos);
}

TEST_F(ServerConnectTest, AStopEndsTunnels) {
  Start();
  auto [client, server] = Tunnel(ticket_ + ":5900");
  server_->RequestStop();
  EXPECT_EQ(client.ReadToEnd(), "");
}

}  // namespace
}  // namespace spicegate
