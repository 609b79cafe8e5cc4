// SPDX-License-Identifier: Apache-2.0
//
// The service over real connections.
#include "gateway/cloud/cloud_service.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <optional>

#include "gateway/base/clock.h"
#include "gateway/http_client/http_server_fixture.h"

namespace spicegate {
namespace {

using absl::StatusCode;

constexpr char kToken[] = "3f0a1c5e-6b7d-4e2f-9a8b-0c1d2e3f4a5b";

std::string Reply(const std::string& status, const std::string& body,
                  const std::string& headers = "") {
  return "HTTP/1.1 " + status +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         headers + "\r\n" + body;
}

std::string TokenReply() {
  return Reply("201 Created",
               R"({"token":{"issued_at":"2026-08-21T11:00:00.000000Z",)"
               R"("expires_at":"2026-08-21T12:00:00.000000Z"}})",
               "X-Subject-Token: gate-1\r\n");
}

std::string ConsoleReply(const std::string& host) {
  return Reply("200 OK", R"({"console":{"instance_uuid":")" +
                             std::string(kToken) + R"(","host":")" + host +
                             R"(","port":5900,"tls_port":null}})");
}

class CloudServiceTest : public ::testing::Test {
 protected:
  CloudServiceTest() {
    secret_path_ = ::testing::TempDir() + "/secret.XXXXXX";
    close(mkstemp(secret_path_.data()));
    std::ofstream(secret_path_) << "sesame\n";
  }
  ~CloudServiceTest() override { std::remove(secret_path_.c_str()); }

  CloudConfig Nova(const ScriptedServer& server) const {
    CloudConfig config;
    config.name = "prod";
    config.keystone.url = server.Url();
    config.keystone.user_id = "u1";
    config.keystone.project_id = "p1";
    config.keystone.secret_path = secret_path_;
    config.compute.endpoint = server.Url("/v2.1");
    return config;
  }

  static void Turn(CloudService* service) {
    std::vector<pollfd> fds;
    service->AddPollFds(&fds);
    const int64_t now_ms = MonotonicMs();
    const int64_t next_ms = service->NextDeadlineMs();
    const int64_t wait_ms =
        std::clamp<int64_t>(next_ms - std::min(now_ms, next_ms), 0, 1000);
    poll(fds.data(), fds.size(), static_cast<int>(wait_ms));
    service->HandlePollFds(fds, MonotonicMs());
  }

  // The answer, which must come within a minute.
  static absl::StatusOr<CloudConsole> Resolve(CloudService* service) {
    std::optional<absl::StatusOr<CloudConsole>> result;
    service->Resolve("prod", kToken,
                     [&](const absl::StatusOr<CloudConsole>& answer) {
                       EXPECT_FALSE(result.has_value());
                       result = answer;
                     });
    const int64_t give_up_ms = MonotonicMs() + 60'000;
    while (!result.has_value() && MonotonicMs() < give_up_ms) {
      Turn(service);
    }
    return result.value_or(absl::InternalError("no answer in a minute"));
  }

  std::string secret_path_;
};

TEST_F(CloudServiceTest, FromATokenToADesktop) {
  std::mutex mutex;
  std::vector<std::string> requests;
  ScriptedServer server([&](ScriptedConnection& peer, size_t) {
    for (std::string text; !(text = peer.ReadRequest()).empty();) {
      {
        const std::lock_guard lock(mutex);
        requests.push_back(text);
      }
      peer.Send(text.starts_with("POST /v3/auth/tokens?nocatalog ")
                    ? TokenReply()
                    : ConsoleReply("fd00::7"));
    }
  });
  CloudService service({Nova(server)});
  const auto console = Resolve(&service);
  ASSERT_TRUE(console.ok()) << console.status();
  EXPECT_EQ(console->host, "fd00::7");
  EXPECT_EQ(console->port, 5900);
  const std::lock_guard lock(mutex);
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_NE(requests[0].find(R"("user":{"id":"u1","password":"sesame"})"),
            std::string::npos);
  EXPECT_TRUE(requests[1].starts_with("GET /v2.1/os-console-auth-tokens/" +
                                      std::string(kToken) + " HTTP/1.1\r\n"));
  EXPECT_NE(requests[1].find("\r\nOpenStack-API-Version: compute 2.99\r\n"),
            std::string::npos);
  EXPECT_NE(requests[1].find("\r\nX-Auth-Token: gate-1\r\n"),
            std::string::npos);
}

TEST_F(CloudServiceTest, AnAnswerCutOffIsAskedForAgain) {
  std::atomic<int> num_asked = 0;
  ScriptedServer server([&](ScriptedConnection& peer, size_t) {
    for (std::string text; !(text = peer.ReadRequest()).empty();) {
      if (text.starts_with("POST ")) {
        peer.Send(TokenReply());
      } else if (++num_asked == 1) {
        peer.Send(ConsoleReply("hv1").substr(0, 60));
        return;
      } else {
        peer.Send(ConsoleReply("hv1"));
      }
    }
  });
  CloudService service({Nova(server)});
  const auto console = Resolve(&service);
  EXPECT_TRUE(console.ok()) << console.status();
  EXPECT_EQ(num_asked, 2);
  EXPECT_EQ(service.stats()[0].console.gone, 1u);
  EXPECT_EQ(service.stats()[0].console.ok, 1u);
}

TEST_F(CloudServiceTest, ABodyWithoutEndIsNotTaken) {
  ScriptedServer server([&](ScriptedConnection& peer, size_t) {
    for (std::string text; !(text = peer.ReadRequest()).empty();) {
      if (text.starts_with("POST ")) {
        peer.Send(TokenReply());
      } else {
        peer.Send(Reply("200 OK", std::string(10 << 20, ' ')));
      }
    }
  });
  CloudService service({Nova(server)});
  EXPECT_EQ(Resolve(&service).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(service.stats()[0].console.error, 1u);
}

TEST_F(CloudServiceTest, NobodyThere) {
  std::optional<ScriptedServer> server;
  server.emplace([](ScriptedConnection&, size_t) {});
  CloudService service({Nova(*server)});
  server.reset();
  EXPECT_EQ(Resolve(&service).status().code(), StatusCode::kUnavailable);
  EXPECT_EQ(service.stats()[0].identity.gone, 2u);
}

TEST_F(CloudServiceTest, NobodyIsCalledAfterTheEnd) {
  ScriptedServer server(
      [](ScriptedConnection& peer, size_t) { peer.WaitForEnd(); });
  CloudService service({Nova(server)});
  int num_called = 0;
  const auto done = [&](const absl::StatusOr<CloudConsole>&) { ++num_called; };
  service.Resolve("prod", kToken, done);
  Turn(&service);
  service.Close();
  std::vector<pollfd> fds;
  service.AddPollFds(&fds);
  EXPECT_TRUE(fds.empty());
  service.HandlePollFds(fds, MonotonicMs() + 60'000);
  EXPECT_EQ(service.NextDeadlineMs(), INT64_MAX);
  EXPECT_EQ(num_called, 0);
  service.Resolve("prod", kToken, done);
  EXPECT_EQ(num_called, 1);
}

}  // namespace
}  // namespace spicegate
