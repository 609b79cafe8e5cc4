// SPDX-License-Identifier: Apache-2.0
//
// For tests: a monitor of the test's own at the other end of a real unix
// socket, in the same thread. Each step is said, and then handled.
#ifndef SPICEGATE_GATEWAY_QMP_QMP_CLIENT_FIXTURE_H_
#define SPICEGATE_GATEWAY_QMP_QMP_CLIENT_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/base/unique_fd.h"
#include "gateway/qmp/qmp_client.h"

namespace spicegate {

inline constexpr char kGreeting[] = "{\"QMP\": {\"version\": {}}}\r\n";
inline constexpr char kAgreed[] = "{\"return\": {}, \"id\": 0}\r\n";
inline constexpr char kCompleted[] =
    "{\"event\": \"SPICE_MIGRATE_COMPLETED\"}\r\n";

// The reply to command `id`; the first after the negotiation is 1.
inline std::string Return(int id, const std::string& result) {
  return "{\"return\": " + result + ", \"id\": " + std::to_string(id) + "}\r\n";
}

// A listening socket in a directory of its own.
class FakeMonitor {
 public:
  explicit FakeMonitor(int backlog = 1) {
    EXPECT_NE(mkdtemp(directory_), nullptr);
    path_ = std::string(directory_) + "/qmp";
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path_.data(), path_.size());
    listener_.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address),
                   sizeof(address)),
              0);
    EXPECT_EQ(listen(listener_.get(), backlog), 0);
  }
  ~FakeMonitor() {
    unlink(path_.c_str());
    rmdir(directory_);
  }

  const std::string& path() const { return path_; }

  void Accept() {
    socket_.Reset(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK));
    EXPECT_TRUE(socket_.valid());
  }
  void StopListening() { listener_.Reset(); }
  void Hang() { socket_.Reset(); }
  void RefuseToRead() { shutdown(socket_.get(), SHUT_RD); }

  // Says as much of `text` as the socket takes and returns what is left.
  std::string Say(const std::string& text) {
    const ssize_t len =
        send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    return len < 0 ? text : text.substr(static_cast<size_t>(len));
  }

  // What the client has said since the last call.
  std::string Heard() {
    char buffer[4096];
    const ssize_t len = recv(socket_.get(), buffer, sizeof(buffer), 0);
    return len > 0 ? std::string(buffer, static_cast<size_t>(len)) : "";
  }

 private:
  char directory_[32] = "/tmp/qmp_client_test.XXXXXX";
  std::string path_;
  UniqueFd listener_;
  UniqueFd socket_;
};

// A client of a FakeMonitor. Time is a number.
class QmpClientTest : public ::testing::Test {
 protected:
  QmpClientTest() {
    client_ = std::make_unique<QmpClient>(
        [this](const QmpEvent& event) { OnEvent(event); });
  }

  void Connect() {
    ASSERT_TRUE(client_->Connect(monitor_.path(), now_ms_).ok());
  }

  // Connected, and through with the negotiation.
  void MakeReady() {
    Connect();
    monitor_.Accept();
    Say(kGreeting);
    EXPECT_THAT(monitor_.Heard(), ::testing::HasSubstr("qmp_capabilities"));
    Say(kAgreed);
    ASSERT_TRUE(client_->served());
  }

  // Lets the client handle what is ready now, until nothing is.
  void Run() {
    for (int i = 0; i < 200 && client_ != nullptr; ++i) {
      pollfd fd = {client_->fd(), client_->PollEvents(), 0};
      poll(&fd, 1, 0);
      const bool ready = (fd.revents & ~POLLOUT) != 0;
      client_->Handle(fd.revents, now_ms_);
      if (!ready) {
        return;
      }
    }
  }

  void Say(const std::string& text) {
    EXPECT_EQ(monitor_.Say(text), "");
    Run();
  }

  // Notes "NAME: RESULT" or "NAME: the code" in ended_.
  QmpClient::Done Note(const std::string& name) {
    return [this, name](absl::StatusOr<JsonValue> result) {
      last_ = result.status();
      ended_.push_back(
          name + ": " +
          (result.ok() ? std::to_string(result->AsInt())
                       : absl::StatusCodeToString(result.status().code())));
    };
  }

  void Execute(const std::string& name, int64_t limit_ms = 2'000) {
    client_->Execute({name, ""}, now_ms_ + limit_ms, Note(name));
  }

  void OnEvent(const QmpEvent&) {
    ++num_events_;
    if (on_event_) {
      on_event_();
    }
  }

  FakeMonitor monitor_;
  int64_t now_ms_ = 1'000'000;
  std::unique_ptr<QmpClient> client_;
  int num_events_ = 0;
  std::function<void()> on_event_;
  std::vector<std::string> ended_;
  absl::Status last_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_QMP_QMP_CLIENT_FIXTURE_H_
