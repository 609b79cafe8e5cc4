// SPDX-License-Identifier: Apache-2.0
//
// Start, stop and reload of a whole gateway in this process. What it does for
// viewers is tests/door, tests/load and tests/viewer.
#include "gateway/server.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/clock.h"
#include "gateway/base/unique_fd.h"
#include "gateway/io/listen.h"
#include "gateway/tls/self_signed.h"

namespace spicegate {
namespace {

constexpr char kOneConsole[] =
    R"({"consoles": [{"name": "vm1", "host": "127.0.0.1", "port": 1}]})";
constexpr char kTwoConsoles[] =
    R"({"consoles": [{"name": "vm1", "host": "127.0.0.1", "port": 1},
                     {"name": "vm2", "host": "127.0.0.1", "port": 1}]})";

class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    // Short: the path of a unix socket must fit into 107 bytes.
    char dir[] = "/tmp/spicegate-server-test.XXXXXX";
    CHECK(mkdtemp(dir) != nullptr);
    dir_ = dir;
    config_.workers = 3;
    config_.listeners = {{{"127.0.0.1", 0}, false, false},
                         {{"127.0.0.1", 0}, true, false}};
    config_.admin.unix_path = dir_ + "/admin";
    config_.consoles_path = dir_ + "/consoles.json";
    config_.state_dir = dir_;
    config_.limits.max_links = 100;
    config_.policies["kiosk"].read_only = true;
    WriteConsoles(kOneConsole);
  }

  ~ServerTest() override { std::filesystem::remove_all(dir_); }

  void WriteConsoles(const std::string& text) {
    std::ofstream(config_.consoles_path + ".new") << text;
    std::filesystem::rename(config_.consoles_path + ".new",
                            config_.consoles_path);
  }

  // A self-signed certificate and its key, each replaced at once.
  void WritePair() {
    const auto pair = MakeSelfSigned({"gate.example"}, WallClockMs() / 1000);
    CHECK(pair.ok());
    for (const auto& [name, text] :
         {std::pair("/key.pem", pair->key_pem),
          std::pair("/cert.pem", pair->certificate_pem)}) {
      std::ofstream(dir_ + name + ".new") << text;
      std::filesystem::rename(dir_ + name + ".new", dir_ + name);
    }
  }

  // Polls `met` for at most ten seconds.
  static bool Eventually(const std::function<bool()>& met) {
    const int64_t give_up_ms = MonotonicMs() + 10'000;
    while (!met()) {
      if (MonotonicMs() > give_up_ms) {
        return false;
      }
      usleep(10'000);
    }
    return true;
  }

  // GET /metrics on the admin socket.
  std::string Metrics() const {
    const auto address = UnixAddress(config_.admin.unix_path);
    const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(fd.get(), address->get(), address->len) != 0) {
      return "";
    }
    const std::string request =
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
        "Connection: close\r\n\r\n";
    if (write(fd.get(), request.data(), request.size()) < 0) {
      return "";
    }
    std::string text;
    char chunk[4096];
    for (ssize_t n = 0; (n = read(fd.get(), chunk, sizeof(chunk))) > 0;) {
      text.append(chunk, static_cast<size_t>(n));
    }
    return text;
  }

  std::string dir_;
  Config config_;
};

TEST_F(ServerTest, StartsListensAndStops) {
  Server server(config_);
  ASSERT_TRUE(server.Start().ok());
  ASSERT_EQ(server.listeners().size(), 2u);
  EXPECT_NE(server.listeners()[0].address.port, 0);
  EXPECT_NE(server.listeners()[0].address.port,
            server.listeners()[1].address.port);
  EXPECT_EQ(server.counters().size(), 3u);
  const auto issue = [&server](const char* console, const char* policy) {
    absl::StatusCode code = absl::StatusCode::kUnknown;
    server.IssueTicket({console, policy, "", ""},
                       [&code](const absl::StatusOr<IssuedTicket>& ticket) {
                         code = ticket.status().code();
                       });
    return code;
  };
  EXPECT_EQ(issue("vm1", ""), absl::StatusCode::kOk);
  EXPECT_EQ(issue("vm2", ""), absl::StatusCode::kNotFound);
  EXPECT_EQ(issue("vm1", "kiosk"), absl::StatusCode::kOk);
  EXPECT_EQ(issue("vm1", "kiosk2"), absl::StatusCode::kNotFound);
  server.RequestStop();
  server.Run(-1);
  EXPECT_TRUE(server.counters().empty());
}

TEST_F(ServerTest, NotesThatMigrationsMayLeadAnywhere) {
  const auto notes = [this] {
    const absl::StatusOr<CertificateFindings> findings = CheckConfig(config_);
    EXPECT_TRUE(findings.ok()) << findings.status();
    return findings.ok() ? findings->notes : std::vector<std::string>();
  };
  ASSERT_EQ(notes().size(), 1u);
  EXPECT_NE(notes()[0].find("console vm1 has no CA"), std::string::npos);
  WriteConsoles(kTwoConsoles);
  EXPECT_NE(notes()[0].find("vm1 (and 1 more)"), std::string::npos);
  config_.migration_destinations = *Destinations::Parse({"10.0.0.0/8"});
  EXPECT_TRUE(notes().empty());
  config_.migration_destinations = Destinations();
  WriteConsoles("{\"consoles\": []}");
  EXPECT_TRUE(notes().empty());
}

TEST_F(ServerTest, AnUnknownPolicyOfAConsoleIsRefused) {
  WriteConsoles(R"({"consoles": [{"name": "vm1", "unix": "/s",
                                  "policy": "guest"}]})");
  const std::string expected =
      config_.consoles_path +
      ": consoles[0].policy: expected one of the configuration's policies: "
      "kiosk, got \"guest\"";
  EXPECT_EQ(std::string(CheckConfig(config_).status().message()), expected);
  EXPECT_EQ(std::string(Server(config_).Start().message()), expected);
}

TEST_F(ServerTest, AnIdleWorkerShowsThatItLives) {
  Server server(config_);
  ASSERT_TRUE(server.Start().ok());
  for (const WorkerCounters* counters : server.counters()) {
    const int64_t last_ms = counters->last_turn_ms.value();
    EXPECT_TRUE(Eventually([counters, last_ms] {
      return counters->last_turn_ms.value() > last_ms;
    }));
  }
}

TEST_F(ServerTest, StopsWithoutHavingRun) {
  Server server(config_);
  ASSERT_TRUE(server.Start().ok());
}

TEST_F(ServerTest, AnAddressInUseIsReported) {
  Server first(config_);
  ASSERT_TRUE(first.Start().ok());
  config_.admin.unix_path = dir_ + "/admin";
  Server second(config_);
  EXPECT_FALSE(second.Start().ok());
}

TEST_F(ServerTest, ASecondGatewayOnAPortIsRefused) {
  Server first(config_);
  ASSERT_TRUE(first.Start().ok());
  config_.admin.unix_path = dir_ + "/other";
  config_.listeners[0].address = first.listeners()[0].address;
  Server second(config_);
  const absl::Status status = second.Start();
  ASSERT_FALSE(status.ok());
  EXPECT_NE(std::string(status.message()).find("cannot listen on 127.0.0.1"),
            std::string::npos)
      << status;
}

TEST_F(ServerTest, ReloadsConsolesAndKeepsTheOldOnesWhenTheNewAreBad) {
  Server server(config_);
  ASSERT_TRUE(server.Start().ok());
  std::thread control([&server] { server.Run(-1); });
  const auto metric = [this](const std::string& line) {
    return [this, line] { return Metrics().find(line) != std::string::npos; };
  };
  EXPECT_TRUE(Eventually(metric("\nspicegate_consoles 1\n"))) << Metrics();
  WriteConsoles(kTwoConsoles);
  EXPECT_TRUE(Eventually(metric("\nspicegate_consoles 2\n"))) << Metrics();
  WriteConsoles("{\"consoles\": [{}]}");
  EXPECT_TRUE(
      Eventually(metric("\nspicegate_consoles_reload_failures_total 1\n")))
      << Metrics();
  EXPECT_NE(Metrics().find("\nspicegate_consoles 2\n"), std::string::npos);
  server.RequestStop();
  control.join();
}

TEST_F(ServerTest, ReloadsCertificatesAndKeepsTheOldOnesWhenTheNewAreBad) {
  WritePair();
  config_.tls.certificates = {{dir_ + "/cert.pem", dir_ + "/key.pem"}};
  Server server(config_);
  ASSERT_TRUE(server.Start().ok());
  std::thread control([&server] { server.Run(-1); });
  const auto shows = [this](const std::string& line) {
    return Metrics().find("\nspicegate_tls_certificate_" + line + "\n") !=
           std::string::npos;
  };
  EXPECT_TRUE(Eventually([&] { return shows("reloads_total 0"); }));
  WritePair();
  EXPECT_TRUE(Eventually([&] {
    return shows("reloads_total 1") && shows("refused 0");
  })) << Metrics();
  std::ofstream(dir_ + "/key.pem") << "broken";
  EXPECT_TRUE(Eventually([&] {
    return shows("reload_failures_total 1") && shows("refused 1");
  })) << Metrics();
  EXPECT_TRUE(shows("reloads_total 1"));
  WritePair();
  EXPECT_TRUE(Eventually([&] { return shows("refused 0"); })) << Metrics();
  server.RequestStop();
  control.join();
}

TEST_F(ServerTest, CheckConfigReadsTheFilesItNames) {
  EXPECT_TRUE(CheckConfig(config_).ok());
  WriteConsoles(R"({"consoles": [{"name": "vm1", "port": 1}]})");
  const absl::Status status = CheckConfig(config_).status();
  ASSERT_FALSE(status.ok());
  EXPECT_NE(std::string(status.message()).find("consoles[0]"),
            std::string::npos)
      << status;
}

}  // namespace
}  // namespace spicegate
