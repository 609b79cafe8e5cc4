// SPDX-License-Identifier: Apache-2.0
//
// An HttpServer with real clients over loopback or its unix socket, at the
// test's own time, and a handler that answers at once or when it is told to.
#ifndef SPICEGATE_GATEWAY_HTTP_HTTP_FIXTURE_H_
#define SPICEGATE_GATEWAY_HTTP_HTTP_FIXTURE_H_

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/base/address.h"
#include "gateway/base/unique_fd.h"
#include "gateway/http/http_server.h"

namespace spicegate {

inline constexpr char kGetNow[] =
    "GET /now HTTP/1.1\r\nHost: localhost\r\n\r\n";
inline constexpr char kGetLater[] =
    "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n";

// In the answer to kGetNow.
inline constexpr char kNow[] = "{\"now\":true,";

// Turns of the loop that any exchange here needs, with room to spare.
inline constexpr int kMaxTurns = 2000;

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() : directory_(MakeDirectory()) {
    options_.name = "test address";
  }
  ~HttpServerTest() override {
    server_.reset();
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }

  // TempDir() may be too long for the path of a socket.
  static std::string MakeDirectory() {
    char path[] = "/tmp/spicegate_http_XXXXXX";
    EXPECT_NE(mkdtemp(path), nullptr);
    return path;
  }

  // Tells its peer and the body. "/later": once one of held_ is called, and
  // then how many were before. "/long": `long_body_`.
  HttpHandler Handler() {
    return [this](const HttpRequest& request, const HttpPeer& peer,
                  const HttpRespond& respond) {
      ++num_requests_;
      HttpResponse response;
      response.body = "{\"now\":true,\"peer\":\"" + peer.address +
                      "\",\"socket\":\"" + peer.socket_address +
                      "\",\"tls\":" + (peer.tls ? "true" : "false") +
                      ",\"body\":\"" + request.body + "\"}\n";
      if (request.path == "/long") {
        response.body = long_body_;
      }
      if (request.path != "/later") {
        respond(response);
        return;
      }
      held_.push_back([this, respond] {
        HttpResponse late;
        late.body = "{\"answer\":" + std::to_string(++num_answered_) + "}\n";
        respond(late);
      });
    };
  }

  std::unique_ptr<HttpServer> MakeServer() {
    return std::make_unique<HttpServer>(options_, Handler());
  }

  // With options_ as they are now.
  void Listen(HttpStreamMaker maker = nullptr) {
    server_ = MakeServer();
    const absl::Status status =
        server_->ListenTcp({"127.0.0.1", 0}, std::move(maker));
    ASSERT_TRUE(status.ok()) << status;
  }

  void ListenUnix() {
    server_ = MakeServer();
    const absl::Status status = server_->ListenUnix(path_);
    ASSERT_TRUE(status.ok()) << status;
  }

  // One turn of the loop a control thread would run, at the test's own time.
  void Turn() {
    std::vector<pollfd> fds(1, pollfd{-1, 0, 0});
    server_->AddPollFds(&fds);
    ASSERT_GE(poll(fds.data(), fds.size(), /*timeout=*/1), 0);
    server_->HandlePollFds(std::span(fds).subspan(1), now_ms_);
  }

  // A turn in which no descriptor is ready.
  void QuietTurn() {
    std::vector<pollfd> fds;
    server_->AddPollFds(&fds);
    server_->HandlePollFds(fds, now_ms_);
  }

  // From `source`, an address of loopback.
  UniqueFd Connect(const std::string& source = "127.0.0.1") const {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage;
    const auto* raw = reinterpret_cast<sockaddr*>(&storage);
    socklen_t len = ToSockaddr({source, 0}, &storage);
    EXPECT_EQ(bind(fd.get(), raw, len), 0);
    BindAddress address;
    EXPECT_TRUE(ParseBindAddress(server_->address(), &address));
    len = ToSockaddr(address, &storage);
    EXPECT_EQ(connect(fd.get(), raw, len), 0);
    return fd;
  }

  UniqueFd ConnectUnix() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address),
                      sizeof(address)),
              0);
    return fd;
  }

  static void Send(const UniqueFd& fd, std::string_view text) {
    EXPECT_EQ(send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }

  static std::string ReadNow(const UniqueFd& fd) {
    char buffer[16384];
    const ssize_t len = recv(fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
    return len <= 0 ? "" : std::string(buffer, static_cast<size_t>(len));
  }

  // Turns the loop until `done` holds of what came, or the end.
  template <typename Done>
  std::string ReceiveUntil(const UniqueFd& fd, const Done& done) {
    std::string text;
    for (int i = 0; i < kMaxTurns && !done(text); ++i) {
      Turn();
      char buffer[16384];
      const ssize_t len = recv(fd.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
      if (len == 0) {
        return text + "<end>";
      }
      if (len > 0) {
        text.append(buffer, static_cast<size_t>(len));
      } else if (errno != EAGAIN) {
        return text + "<reset>";
      }
    }
    return text;
  }

  // One answer with a JSON body.
  std::string Receive(const UniqueFd& fd) {
    return ReceiveUntil(
        fd, [](const std::string& text) { return text.ends_with("}\n"); });
  }

  std::string ReceiveToEnd(const UniqueFd& fd) {
    return ReceiveUntil(fd, [](const std::string&) { return false; });
  }

  void TurnUntil(size_t num_connections) {
    for (int i = 0;
         i < kMaxTurns && server_->num_connections() != num_connections; ++i) {
      Turn();
    }
    ASSERT_EQ(server_->num_connections(), num_connections);
  }

  // Sends and turns the loop until `num_held` answers are to be given.
  void Ask(const UniqueFd& fd, std::string_view request, size_t num_held) {
    Send(fd, request);
    for (int i = 0; i < kMaxTurns && held_.size() < num_held; ++i) {
      Turn();
    }
    ASSERT_EQ(held_.size(), num_held);
  }

  const std::string directory_;
  const std::string path_ = directory_ + "/test.sock";
  HttpServerOptions options_;
  std::string long_body_;
  std::vector<std::function<void()>> held_;
  int num_requests_ = 0;
  int num_answered_ = 0;
  std::unique_ptr<HttpServer> server_;
  int64_t now_ms_ = 1'000;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_HTTP_HTTP_FIXTURE_H_
