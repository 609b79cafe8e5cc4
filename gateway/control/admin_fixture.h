// SPDX-License-Identifier: Apache-2.0
//
// An AdminServer with real clients over loopback or its unix socket, at the
// test's own time.
#ifndef SPICEGATE_GATEWAY_CONTROL_ADMIN_FIXTURE_H_
#define SPICEGATE_GATEWAY_CONTROL_ADMIN_FIXTURE_H_

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/base/unique_fd.h"
#include "gateway/control/admin.h"
#include "gateway/control/fake_services.h"

namespace spicegate {

inline constexpr char kGetLive[] =
    "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
inline constexpr char kPostTicket[] =
    "POST /v1/consoles/vm1/ticket HTTP/1.1\r\nHost: localhost\r\n\r\n";

// Turns of the loop that any exchange here needs, with room to spare.
inline constexpr int kMaxTurns = 2000;

class AdminTest : public ::testing::Test {
 protected:
  AdminTest() : directory_(MakeDirectory()), admin_(&services_) {}
  ~AdminTest() override {
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }

  // TempDir() may be too long for the path of a socket.
  static std::string MakeDirectory() {
    char path[] = "/tmp/spicegate_admin_XXXXXX";
    EXPECT_NE(mkdtemp(path), nullptr);
    return path;
  }

  static AdminConfig Tcp() { return {{"127.0.0.1", 0}, ""}; }
  AdminConfig Unix() const { return {{"127.0.0.1", 1}, path_}; }

  void Listen(const AdminConfig& config) {
    const absl::Status status = admin_.Listen(config);
    ASSERT_TRUE(status.ok()) << status;
  }

  // One turn of the loop a control thread would run, at the test's own time.
  void Turn() {
    std::vector<pollfd> fds(1, pollfd{-1, 0, 0});
    admin_.AddPollFds(&fds);
    ASSERT_GE(poll(fds.data(), fds.size(), /*timeout=*/1), 0);
    admin_.HandlePollFds(std::span(fds).subspan(1), now_ms_);
  }

  UniqueFd Connect() const {
    BindAddress address;
    EXPECT_TRUE(ParseBindAddress(admin_.address(), &address));
    sockaddr_storage storage;
    const socklen_t len = ToSockaddr(address, &storage);
    return ConnectTo(AF_INET, reinterpret_cast<sockaddr*>(&storage), len);
  }

  UniqueFd ConnectUnix() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    return ConnectTo(AF_UNIX, reinterpret_cast<sockaddr*>(&address),
                     sizeof(address));
  }

  static UniqueFd ConnectTo(int family, sockaddr* address, socklen_t len) {
    UniqueFd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), address, len), 0);
    return fd;
  }

  static void Send(const UniqueFd& fd, std::string_view text) {
    EXPECT_EQ(send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
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
         i < kMaxTurns && admin_.num_connections() != num_connections; ++i) {
      Turn();
    }
    ASSERT_EQ(admin_.num_connections(), num_connections);
  }

  const std::string directory_;
  const std::string path_ = directory_ + "/admin.sock";
  FakeServices services_;
  AdminServer admin_;
  int64_t now_ms_ = 1'000;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_ADMIN_FIXTURE_H_
