// SPDX-License-Identifier: Apache-2.0
#include "gateway/portal_tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/base/clock.h"
#include "gateway/base/unique_fd.h"
#include "gateway/http/http_server.h"
#include "gateway/tls/test_certificate.h"
#include "gateway/tls/tls_test_client.h"

namespace spicegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using ClientPtr = std::unique_ptr<TlsTestClient>;

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
constexpr int kMaxTurns = 2000;
const int64_t kNowUnixS = WallClockMs() / 1000;

TestCertificate MakePair(const std::string& name) {
  return MakeTestCertificate({.subject = {{"CN", name}}, .sans = "DNS:" + name},
                             nullptr);
}

// As CertificateStore has it.
PortalTls::Context ListenersWith(
    const std::vector<const TestCertificate*>& pairs) {
  ServerCertificates certificates;
  for (const TestCertificate* pair : pairs) {
    auto parsed = ServerCertificate::Parse(pair->pem(), pair->key_pem(), "");
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    certificates.push_back(*parsed);
  }
  ServerTlsOptions options;
  options.ticket_keys =
      std::make_shared<TicketKeyring>(TicketKeys::Rotate(nullptr));
  return *ServerTlsContext::Create(std::move(certificates), options);
}

class PortalTlsTest : public ::testing::Test {
 protected:
  PortalTlsTest() {
    signal(SIGPIPE, SIG_IGN);
    char path[] = "/tmp/spicegate_portal_tls_XXXXXX";
    EXPECT_NE(mkdtemp(path), nullptr);
    dir_ = path;
    config_.portal.enabled = true;
  }
  ~PortalTlsTest() override { std::filesystem::remove_all(dir_); }

  static void WriteFile(const std::string& path, const std::string& text) {
    std::ofstream(path + ".new") << text;
    std::filesystem::rename(path + ".new", path);
  }

  void WritePair(const TestCertificate& pair) {
    config_.portal.certificate_path = dir_ + "/cert.pem";
    config_.portal.key_path = dir_ + "/key.pem";
    WriteFile(config_.portal.certificate_path, pair.pem());
    WriteFile(config_.portal.key_path, pair.key_pem());
  }

  void Listen(const PortalTls::Context& listeners = nullptr) {
    tls_.emplace(config_);
    const absl::Status loaded = tls_->Load(listeners, kNowUnixS, now_ms_);
    ASSERT_TRUE(loaded.ok()) << loaded;
    server_ = std::make_unique<HttpServer>(
        options_, [](const HttpRequest&, const HttpPeer& peer,
                     const HttpRespond& respond) {
          HttpResponse response;
          response.body = "{" + peer.address + (peer.tls ? " tls" : "") + "}\n";
          respond(response);
        });
    const absl::Status listening = server_->ListenTcp(
        {"127.0.0.1", 0}, [this](int fd) { return tls_->Open(fd); });
    ASSERT_TRUE(listening.ok()) << listening;
  }

  void Turn() {
    std::vector<pollfd> fds;
    server_->AddPollFds(&fds);
    ASSERT_GE(poll(fds.data(), fds.size(), /*timeout=*/1), 0);
    server_->HandlePollFds(fds, now_ms_);
  }

  UniqueFd Connect() const {
    BindAddress address;
    EXPECT_TRUE(ParseBindAddress(server_->address(), &address));
    sockaddr_storage storage;
    const socklen_t len = ToSockaddr(address, &storage);
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), len), 0);
    return fd;
  }

  ClientPtr MakeClient(const TlsTestClient::Options& options = {}) const {
    return std::make_unique<TlsTestClient>(Connect(), options);
  }

  // One request; the answer, or what became of the connection.
  std::string Get(TlsTestClient* client) {
    client->Forget();
    client->Send(kGet);
    for (int i = 0; i < kMaxTurns && !client->over() &&
                    !client->received().ends_with("}\n");
         ++i) {
      Turn();
      client->Step();
    }
    return client->received() + client->error();
  }

  // The common name of what is shown to who asks for `name`, or for none.
  std::string ShownTo(const std::string& name) {
    const ClientPtr client = MakeClient();
    if (!name.empty()) {
      SSL_set_tlsext_host_name(client->ssl(), name.c_str());
    }
    EXPECT_THAT(Get(client.get()), HasSubstr("200 OK"));
    return client->server_name();
  }

  std::string dir_;
  Config config_;
  HttpServerOptions options_;
  std::optional<PortalTls> tls_;
  std::unique_ptr<HttpServer> server_;
  int64_t now_ms_ = 1'000;
};

TEST_F(PortalTlsTest, ShowsItsOwnCertificate) {
  WritePair(MakePair("desk.example"));
  Listen();
  const ClientPtr client = MakeClient();
  EXPECT_THAT(Get(client.get()), HasSubstr(" tls}"));
  EXPECT_EQ(client->server_name(), "desk.example");
  const ClientPtr old = MakeClient({.version = TLS1_2_VERSION});
  EXPECT_THAT(Get(old.get()), HasSubstr(" tls}"));
}

TEST_F(PortalTlsTest, KeepsToTheVersionsOfTheListeners) {
  config_.tls.min_version = TlsVersion::kTls13;
  WritePair(MakePair("desk.example"));
  Listen();
  const ClientPtr old = MakeClient({.version = TLS1_2_VERSION});
  EXPECT_EQ(Get(old.get()), "TLSV1_ALERT_PROTOCOL_VERSION");
}

TEST_F(PortalTlsTest, ShowsWhatTheListenersShow) {
  const TestCertificate first = MakePair("gate.example");
  const TestCertificate second = MakePair("desk.example");
  Listen(ListenersWith({&first, &second}));
  EXPECT_EQ(ShownTo(""), "gate.example");
  EXPECT_EQ(ShownTo("desk.example"), "desk.example");
  EXPECT_EQ(ShownTo("other.example"), "gate.example");
}

TEST_F(PortalTlsTest, FollowsTheListeners) {
  const TestCertificate first = MakePair("gate.example");
  const TestCertificate second = MakePair("renewed.example");
  const auto before = ListenersWith({&first});
  Listen(before);
  const ClientPtr kept = MakeClient();
  EXPECT_THAT(Get(kept.get()), HasSubstr("200 OK"));
  tls_->Refresh(before, kNowUnixS, now_ms_);
  EXPECT_EQ(ShownTo(""), "gate.example");
  tls_->Refresh(ListenersWith({&second}), kNowUnixS, now_ms_);
  EXPECT_EQ(ShownTo(""), "renewed.example");
  EXPECT_THAT(Get(kept.get()), HasSubstr("200 OK"));
}

TEST_F(PortalTlsTest, NewFilesAreForNewConnections) {
  WritePair(MakePair("desk.example"));
  Listen();
  EXPECT_EQ(ShownTo(""), "desk.example");
  const TestCertificate renewed = MakePair("renewed.example");
  WriteFile(config_.portal.certificate_path, renewed.pem());
  // The key is still the old one's: that is no pair.
  tls_->Refresh(nullptr, kNowUnixS, now_ms_);
  EXPECT_EQ(ShownTo(""), "desk.example");
  WriteFile(config_.portal.key_path, renewed.key_pem());
  tls_->Refresh(nullptr, kNowUnixS, now_ms_);
  EXPECT_EQ(ShownTo(""), "renewed.example");
}

TEST_F(PortalTlsTest, ErrorsNameTheFile) {
  std::vector<std::string> warnings;
  EXPECT_TRUE(CheckPortalTls(config_, kNowUnixS, &warnings).ok());
  WritePair(MakePair("desk.example"));
  EXPECT_TRUE(CheckPortalTls(config_, kNowUnixS, &warnings).ok());
  std::filesystem::remove(config_.portal.key_path);
  const absl::Status status = CheckPortalTls(config_, kNowUnixS, &warnings);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(config_.portal.key_path));
  EXPECT_EQ(PortalTls(config_).Load(nullptr, kNowUnixS, now_ms_), status);
  config_.portal.tls = false;
  EXPECT_TRUE(CheckPortalTls(config_, kNowUnixS, &warnings).ok());
  // Of the one time when there was something to read.
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("expires in")));
}

// Names as ALPN has them, each behind its length.
TEST_F(PortalTlsTest, SpeaksHttp11WhereProtocolsAreOffered) {
  WritePair(MakePair("desk.example"));
  Listen();
  const auto offer = [this](const std::string& names) {
    ClientPtr client = MakeClient();
    SSL_set_alpn_protos(client->ssl(),
                        reinterpret_cast<const uint8_t*>(names.data()),
                        static_cast<unsigned>(names.size()));
    const std::string answer = Get(client.get());
    const uint8_t* chosen = nullptr;
    unsigned len = 0;
    SSL_get0_alpn_selected(client->ssl(), &chosen, &len);
    return std::string(reinterpret_cast<const char*>(chosen), len) + ":" +
           (answer.starts_with("HTTP/1.1 200") ? "200" : answer);
  };
  EXPECT_EQ(offer("\x02h2\x08http/1.1"), "http/1.1:200");
  EXPECT_EQ(offer(""), ":200");
  EXPECT_EQ(offer("\x02h2"), ":TLSV1_ALERT_NO_APPLICATION_PROTOCOL");
}

class PortalSessionsTest : public PortalTlsTest {
 protected:
  // One request in a session of before, if there is one; whether it resumed.
  bool Resumes() {
    const ClientPtr client = MakeClient();
    SSL_CTX* const ctx = SSL_get_SSL_CTX(client->ssl());
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(ctx, [](SSL* ssl, SSL_SESSION* session) {
      static_cast<bssl::UniquePtr<SSL_SESSION>*>(SSL_get_app_data(ssl))
          ->reset(session);
      return 1;
    });
    SSL_set_app_data(client->ssl(), &session_);
    if (session_ != nullptr) {
      SSL_set_session(client->ssl(), session_.get());
    }
    EXPECT_THAT(Get(client.get()), HasSubstr("200 OK"));
    EXPECT_NE(session_, nullptr);
    return SSL_session_reused(client->ssl()) != 0;
  }

  bssl::UniquePtr<SSL_SESSION> session_;
};

TEST_F(PortalSessionsTest, ResumeWithTheListenersCertificates) {
  const TestCertificate pair = MakePair("gate.example");
  Listen(ListenersWith({&pair}));
  EXPECT_FALSE(Resumes());
  EXPECT_TRUE(Resumes());
}

TEST_F(PortalSessionsTest, ResumeForTwoLivesOfAKeyOfItsOwn) {
  WritePair(MakePair("desk.example"));
  Listen();
  EXPECT_FALSE(Resumes());
  EXPECT_TRUE(Resumes());
  for (const bool resumes : {true, false}) {
    now_ms_ += kTicketLifeS * 1000;
    tls_->Refresh(nullptr, kNowUnixS, now_ms_);
    if (!resumes) {
      now_ms_ += kTicketLifeS * 1000;
      tls_->Refresh(nullptr, kNowUnixS, now_ms_);
    }
    EXPECT_EQ(Resumes(), resumes);
  }
}

TEST_F(PortalTlsTest, AProxyHeaderStandsInFrontHoweverCut) {
  constexpr std::string_view kHeader =
      "PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n";
  options_.proxy_protocol = true;
  options_.is_proxy = [](const std::string& host) {
    return host == "127.0.0.1";
  };
  WritePair(MakePair("desk.example"));
  Listen();
  const auto send_all = [](int fd, std::string_view bytes) {
    EXPECT_EQ(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  };
  for (size_t cut = 1; cut <= kHeader.size(); ++cut) {
    UniqueFd fd = Connect();
    send_all(fd.get(), kHeader.substr(0, cut));
    Turn();
    Turn();
    send_all(fd.get(), kHeader.substr(cut));
    TlsTestClient client(std::move(fd), {});
    // The hello comes together with what is left of the header.
    client.Step();
    ASSERT_THAT(Get(&client), HasSubstr("{[2001:db8::7]:40000 tls}")) << cut;
  }
}

}  // namespace
}  // namespace spicegate
