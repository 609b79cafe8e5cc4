// SPDX-License-Identifier: Apache-2.0
//
// Many whole sessions at once through the gateway. Nothing is lost, nothing
// goes to another desktop, and the gateway's books agree with both sides'.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/load/load_environment.h"
#include "tests/peer/child_process.h"
#include "tests/peer/gateway_in_process.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/session_client.h"
#include "tests/peer/synthetic_server.h"

namespace spicegate {
namespace {

constexpr int64_t kPatience = 300'000;  // ms; sanitizers on a busy machine.

// Every fourth console is reached over TLS, every fourth over a unix socket.
class SessionsTest : public testing::Test {
 protected:
  SessionsTest()
      : num_sessions_(NumberFromEnv("SPICEGATE_LOAD_SESSIONS", 200)),
        bytes_(NumberFromEnv("SPICEGATE_LOAD_BYTES", 65'536)) {
    RaiseFileLimit();
    plan_ = [bytes = bytes_](proto::ChannelKey key) {
      return PlanFor(key, bytes);
    };
    StartServer();
    StartGateway();
  }
  ~SessionsTest() override {
    gateway_->Stop();
    thread_.Stop();
    std::filesystem::remove_all(directory_);
  }

  static std::string ConsoleName(size_t i) {
    return "console-" + std::to_string(i);
  }
  static std::string Password(size_t i) {
    return "password-of-" + std::to_string(i);
  }

  void StartServer() {
    SyntheticServerOptions options;
    options.channels = EveryChannel();
    options.plan = plan_;
    for (size_t i = 0; i < num_sessions_; ++i) {
      options.consoles.push_back({Password(i), i + 1});
    }
    thread_.Call([&] {
      server_ =
          std::make_unique<SyntheticServer>(thread_.loop(), std::move(options));
      tcp_ = server_->Listen({});
      tls_ = server_->Listen({}, &server_tls_);
      server_->Listen({.unix_path = unix_path_});
    });
  }

  void StartGateway() {
    GatewayOptions options;
    options.limits = {{"preauth_deadline_ms", kPatience},
                      {"server_connect_ms", kPatience},
                      {"server_link_ms", kPatience}};
    for (size_t i = 0; i < num_sessions_; ++i) {
      GatewayConsole console = {
          .name = ConsoleName(i), .address = tcp_, .password = Password(i)};
      if (i % 4 == 1) {
        console.address = {};
        console.tls_port = tls_.port;
        console.ca_pem = pki_.ca_certificate;
        console.host_subject = "O=Test,CN=vm.example.test";
      } else if (i % 4 == 2) {
        console.address = {.unix_path = unix_path_};
      }
      options.consoles.push_back(console);
    }
    gateway_ = std::make_unique<GatewayInProcess>(options);
  }

  PeerTask<void> RunOne(const SessionOptions* options, SessionReport* report,
                        PeerJoin* join) {
    *report = co_await RunSession(&loop_, options);
    join->Done();
  }

  // All sessions at once, alternately plain and TLS.
  std::vector<SessionReport> RunAll() {
    const PeerEndpoint plain = gateway_->plain();
    const PeerEndpoint tls = gateway_->tls();
    std::vector<SessionOptions> options(num_sessions_);
    std::vector<SessionReport> reports(num_sessions_);
    PeerJoin join(&loop_);
    for (size_t i = 0; i < num_sessions_; ++i) {
      options[i].endpoint = i % 2 == 0 ? plain : tls;
      options[i].password = gateway_->IssueTicket(ConsoleName(i));
      options[i].console_seed = i + 1;
      options[i].plan = plan_;
      options[i].timeout_ms = kPatience;
      join.Add();
    }
    for (size_t i = 0; i < num_sessions_; ++i) {
      loop_.Spawn(RunOne(&options[i], &reports[i], &join));
    }
    loop_.Run(join.Wait());
    return reports;
  }

  void CompareBooks(const std::vector<SessionReport>& reports);

  const size_t num_sessions_;
  const uint64_t bytes_;
  const PeerPki pki_ = MakePeerPki();
  const PeerTlsContext server_tls_ = PeerTlsContext::Server(pki_);
  const std::string directory_ = MakeTestDir();
  const std::string unix_path_ = directory_ + "/server.sock";
  std::function<TrafficPlan(proto::ChannelKey)> plan_;
  PeerLoop loop_;
  PeerThread thread_;
  PeerAddress tcp_;
  PeerAddress tls_;
  std::unique_ptr<SyntheticServer> server_;
  std::unique_ptr<GatewayInProcess> gateway_;
};

// Byte counts per channel type: viewers, gateway and servers agree exactly.
void SessionsTest::CompareBooks(const std::vector<SessionReport>& reports) {
  ServerTotals totals = server_->Totals();
  const GatewayMetrics metrics = gateway_->Metrics();
  std::vector<proto::ChannelKey> channels = EveryChannel();
  channels.push_back({});
  for (const proto::ChannelKey key : channels) {
    const std::string name(proto::ChannelName(key.type));
    SCOPED_TRACE(name);
    ChannelBytes viewers;
    for (const SessionReport& report : reports) {
      const ChannelBytes& bytes = report.bytes[static_cast<size_t>(key.type)];
      viewers.to_client += bytes.to_client;
      viewers.to_server += bytes.to_server;
    }
    const auto counted = [&](const std::string& direction) {
      return metrics.Value(
          "spicegate_channel_bytes_total",
          "channel=\"" + name + "\",direction=\"" + direction + "\"");
    };
    EXPECT_EQ(totals.Of(key.type).to_client, viewers.to_client);
    EXPECT_EQ(totals.Of(key.type).to_server, viewers.to_server);
    EXPECT_EQ(counted("server_to_client"), viewers.to_client);
    EXPECT_EQ(counted("client_to_server"), viewers.to_server);
    EXPECT_GT(viewers.to_client, 0u);
    EXPECT_EQ(metrics.Value("spicegate_channels_opened_total",
                            "channel=\"" + name + "\""),
              num_sessions_);
  }
}

TEST_F(SessionsTest, NothingIsLost) {
  const double idle_ops = gateway_->Metrics().Sum("spicegate_ops_in_flight");
  const std::vector<SessionReport> reports = RunAll();
  const size_t num_channels = 1 + EveryChannel().size();
  for (size_t i = 0; i < reports.size(); ++i) {
    EXPECT_EQ(reports[i].error, "") << ConsoleName(i);
    EXPECT_EQ(reports[i].num_channels, num_channels) << ConsoleName(i);
  }
  const GatewayMetrics metrics =
      gateway_->WaitForMetrics([idle_ops](const GatewayMetrics& m) {
        return m.Sum("spicegate_sessions_open") == 0 &&
               m.Sum("spicegate_channels_open") == 0 &&
               m.Sum("spicegate_ops_in_flight") == idle_ops;
      });
  EXPECT_EQ(metrics.Sum("spicegate_ops_in_flight"), idle_ops);
  EXPECT_EQ(metrics.Sum("spicegate_relay_buffer_bytes"), 0);
  EXPECT_EQ(metrics.Sum("spicegate_sessions_opened_total"), num_sessions_);
  EXPECT_EQ(metrics.Sum("spicegate_tickets_issued_total"), num_sessions_);
  EXPECT_EQ(metrics.NonZero("spicegate_links_refused_total"), "");
  EXPECT_EQ(metrics.Sum("spicegate_channels_closed_total"),
            num_sessions_ * num_channels);

  const ServerTotals totals = server_->Totals();
  EXPECT_EQ(totals.num_channels_complete, num_sessions_ * num_channels);
  EXPECT_EQ(totals.num_links, num_sessions_ * num_channels);
  EXPECT_EQ(totals.num_pattern_errors, 0u) << totals.first_error;
  EXPECT_EQ(totals.num_would_have_crashed, 0u);
  EXPECT_EQ(totals.num_display_intrusions, 0u);
  CompareBooks(reports);
}

}  // namespace
}  // namespace spicegate
