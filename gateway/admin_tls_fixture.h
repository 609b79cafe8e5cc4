// SPDX-License-Identifier: Apache-2.0
//
// HTTPS on the admin address: an AdminServer with real clients over loopback,
// at the test's own time.
#ifndef SPICEGATE_GATEWAY_ADMIN_TLS_FIXTURE_H_
#define SPICEGATE_GATEWAY_ADMIN_TLS_FIXTURE_H_

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/admin_tls.h"
#include "gateway/base/clock.h"
#include "gateway/base/unique_fd.h"
#include "gateway/control/admin.h"
#include "gateway/control/fake_services.h"
#include "gateway/tls/test_certificate.h"
#include "gateway/tls/tls_test_client.h"

namespace spicegate {

using ClientPtr = std::unique_ptr<TlsTestClient>;

inline constexpr char kGetLive[] =
    "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
inline const int64_t kNowUnixS = WallClockMs() / 1000;

// Turns of the loop that any exchange here needs, with room to spare.
inline constexpr int kMaxTurns = 2000;

class AdminTlsFixture : public ::testing::Test {
 protected:
  AdminTlsFixture() {
    signal(SIGPIPE, SIG_IGN);
    char path[] = "/tmp/spicegate_admin_tls_XXXXXX";
    EXPECT_NE(mkdtemp(path), nullptr);
    dir_ = path;
    config_ = {dir_ + "/cert.pem", dir_ + "/key.pem", dir_ + "/ca.pem", {}};
    WritePair(server_);
    WriteFile(config_.client_ca_path, ca_.pem());
  }

  ~AdminTlsFixture() override { std::filesystem::remove_all(dir_); }

  static TestCertificate MakeCa(const std::string& name) {
    return MakeTestCertificate({.subject = {{"CN", name}}, .is_ca = true},
                               nullptr);
  }

  TestCertificate MakeClient(const std::string& name) const {
    return MakeTestCertificate({.subject = {{"CN", name}}}, &ca_);
  }

  static void WriteFile(const std::string& path, const std::string& text) {
    std::ofstream(path + ".new") << text;
    std::filesystem::rename(path + ".new", path);
  }

  void WritePair(const TestCertificate& pair) const {
    WriteFile(config_.certificate_path, pair.pem());
    WriteFile(config_.key_path, pair.key_pem());
  }

  void Listen() {
    tls_.emplace(config_);
    const absl::Status loaded = tls_->Load(kNowUnixS);
    ASSERT_TRUE(loaded.ok()) << loaded;
    const absl::Status listening = admin_.Listen(
        {{"127.0.0.1", 0}, ""}, [this](int fd) { return tls_->Open(fd); });
    ASSERT_TRUE(listening.ok()) << listening;
  }

  void Turn() {
    std::vector<pollfd> fds;
    admin_.AddPollFds(&fds);
    ASSERT_GE(poll(fds.data(), fds.size(), /*timeout=*/1), 0);
    admin_.HandlePollFds(fds, now_ms_);
  }

  UniqueFd Connect() const {
    BindAddress address;
    EXPECT_TRUE(ParseBindAddress(admin_.address(), &address));
    sockaddr_storage storage;
    const socklen_t len = ToSockaddr(address, &storage);
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), len), 0);
    return fd;
  }

  ClientPtr MakeTls(const TlsTestClient::Options& options = {}) const {
    return std::make_unique<TlsTestClient>(Connect(), options);
  }

  // Turns both loops until `done` or the client's end.
  template <typename Done>
  void Run(TlsTestClient* client, const Done& done) {
    for (int i = 0; i < kMaxTurns && !done() && !client->over(); ++i) {
      Turn();
      client->Step();
    }
  }

  // One request; the answer, or what became of the connection.
  std::string Get(TlsTestClient* client,
                  const std::string& request = kGetLive) {
    client->Forget();
    client->Send(request);
    Run(client, [&] { return client->received().ends_with("}\n"); });
    return client->received() + client->error();
  }

  std::string GetOnce(const TlsTestClient::Options& options) {
    return Get(MakeTls(options).get());
  }

  void TurnUntil(size_t num_connections) {
    for (int i = 0;
         i < kMaxTurns && admin_.num_connections() != num_connections; ++i) {
      Turn();
    }
    ASSERT_EQ(admin_.num_connections(), num_connections);
  }

  // The common name of what the server shows to a new client.
  std::string ShownName(const TlsTestClient::Options& options) {
    const ClientPtr client = MakeTls(options);
    Get(client.get());
    return client->server_name();
  }

  const TestCertificate ca_ = MakeCa("CA");
  const TestCertificate server_ =
      MakeTestCertificate({.subject = {{"CN", "gate"}}}, nullptr);
  const TestCertificate client_ = MakeClient("prometheus");
  std::string dir_;
  AdminTlsConfig config_;
  FakeServices services_;
  std::optional<AdminTls> tls_;
  AdminServer admin_{&services_};
  int64_t now_ms_ = 1'000;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_ADMIN_TLS_FIXTURE_H_
