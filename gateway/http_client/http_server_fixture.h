// SPDX-License-Identifier: Apache-2.0
//
// An HTTP server for tests that does what a test says, byte for byte, and a
// client run until its calls are done.
#ifndef SPICEGATE_GATEWAY_HTTP_CLIENT_HTTP_SERVER_FIXTURE_H_
#define SPICEGATE_GATEWAY_HTTP_CLIENT_HTTP_SERVER_FIXTURE_H_

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/base/clock.h"
#include "gateway/base/unique_fd.h"
#include "gateway/http_client/http_client.h"

namespace spicegate {

// One connection of a ScriptedServer, in a thread of its own. Everything
// blocks; the server's end ends it.
class ScriptedConnection {
 public:
  explicit ScriptedConnection(int fd) : fd_(fd) {}

  // One request, body included; empty when the client has closed.
  std::string ReadRequest() {
    std::string text;
    size_t end = std::string::npos;
    while ((end = text.find("\r\n\r\n")) == std::string::npos) {
      if (!ReadMore(&text)) {
        return "";
      }
    }
    const size_t at = text.find("Content-Length: ");
    const size_t len = at == std::string::npos ? 0 : std::stoul(&text[at + 16]);
    while (text.size() < end + 4 + len) {
      if (!ReadMore(&text)) {
        return "";
      }
    }
    return text;
  }

  // False when the client has gone.
  bool Send(const std::string& text) {
    size_t sent = 0;
    while (sent < text.size()) {
      const ssize_t len =
          send(fd_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (len <= 0) {
        return false;
      }
      sent += static_cast<size_t>(len);
    }
    return true;
  }

  // Until the client closes.
  void WaitForEnd() {
    std::string ignored;
    while (ReadMore(&ignored)) {
    }
  }

 private:
  bool ReadMore(std::string* text) {
    char buffer[4096];
    const ssize_t len = recv(fd_, buffer, sizeof(buffer), 0);
    if (len <= 0) {
      return false;
    }
    text->append(buffer, static_cast<size_t>(len));
    return true;
  }

  const int fd_;
};

class ScriptedServer {
 public:
  // Plays one connection, the `index`th; it is closed afterwards.
  using Script = std::function<void(ScriptedConnection& peer, size_t index)>;

  explicit ScriptedServer(Script script, const std::string& ip = "127.0.0.1")
      : script_(std::move(script)), ip_(ip) {
    sockaddr_storage address = {};
    socklen_t len = Address(ip, &address);
    listener_ = UniqueFd(socket(address.ss_family, SOCK_STREAM, 0));
    const auto* any = reinterpret_cast<const sockaddr*>(&address);
    EXPECT_EQ(bind(listener_.get(), any, len), 0);
    EXPECT_EQ(listen(listener_.get(), 256), 0);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &len);
    port_ = ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
    thread_ = std::thread([this] { AcceptAll(); });
  }

  ~ScriptedServer() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const UniqueFd& fd : fds_) {
        shutdown(fd.get(), SHUT_RDWR);
      }
    }
    for (std::thread& connection : connections_) {
      connection.join();
    }
  }

  std::string Url(const std::string& path = "/") const {
    const bool v6 = ip_.find(':') != std::string::npos;
    return "http://" + (v6 ? "[" + ip_ + "]" : ip_) + ":" +
           std::to_string(port_) + path;
  }
  int port() const { return port_; }

 private:
  static socklen_t Address(const std::string& ip, sockaddr_storage* address) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(address);
    if (inet_pton(AF_INET, ip.c_str(), &v4->sin_addr) == 1) {
      v4->sin_family = AF_INET;
      return sizeof(*v4);
    }
    auto* v6 = reinterpret_cast<sockaddr_in6*>(address);
    EXPECT_EQ(inet_pton(AF_INET6, ip.c_str(), &v6->sin6_addr), 1);
    v6->sin6_family = AF_INET6;
    return sizeof(*v6);
  }

  void AcceptAll() {
    int fd = -1;
    while ((fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)) >=
           0) {
      const std::lock_guard lock(mutex_);
      const size_t index = fds_.size();
      fds_.emplace_back(fd);
      connections_.emplace_back([this, fd, index] {
        ScriptedConnection peer(fd);
        script_(peer, index);
        shutdown(fd, SHUT_RDWR);
      });
    }
  }

  const Script script_;
  const std::string ip_;
  int port_ = 0;
  UniqueFd listener_;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<UniqueFd> fds_;
  std::vector<std::thread> connections_;  // of thread_ until it has ended
};

inline HttpCall CallTo(std::string url, int64_t deadline_ms = 60'000) {
  HttpCall call;
  call.url = std::move(url);
  call.deadline_ms = deadline_ms;
  return call;
}

// One turn of the control thread's loop, of at most `longest_ms`.
inline void Turn(HttpClient* client, int longest_ms = 1000) {
  std::vector<pollfd> fds;
  client->AddPollFds(&fds);
  const int64_t now_ms = MonotonicMs();
  const int64_t wait_ms = std::clamp<int64_t>(
      client->NextDeadlineMs() - std::min(now_ms, client->NextDeadlineMs()), 0,
      longest_ms);
  poll(fds.data(), fds.size(), static_cast<int>(wait_ms));
  client->HandlePollFds(fds, MonotonicMs());
}

// Until `done`, or for a minute.
inline bool RunUntil(HttpClient* client, const std::function<bool()>& done) {
  const int64_t give_up_ms = MonotonicMs() + 60'000;
  while (!done() && MonotonicMs() < give_up_ms) {
    Turn(client);
  }
  return done();
}

inline absl::StatusOr<HttpAnswer> Fetch(HttpClient* client, HttpCall call) {
  std::unique_ptr<absl::StatusOr<HttpAnswer>> result;
  client->Start(std::move(call), [&result](absl::StatusOr<HttpAnswer> got) {
    EXPECT_EQ(result, nullptr) << "called twice";
    result = std::make_unique<absl::StatusOr<HttpAnswer>>(std::move(got));
  });
  EXPECT_EQ(result, nullptr) << "called inside Start";
  if (!RunUntil(client, [&result] { return result != nullptr; })) {
    return absl::InternalError("not called back in a minute");
  }
  return std::move(*result);
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_HTTP_CLIENT_HTTP_SERVER_FIXTURE_H_
