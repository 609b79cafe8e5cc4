// SPDX-License-Identifier: Apache-2.0
//
// Servers that break the link stage in every way. A viewer must never hear of
// a wrong password because of that: it sees the connection close without a
// result. The reason is counted, deadlines hold, and other desktops go on.
#include <gtest/gtest.h>

#include <map>
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

using proto::ChannelType;
using proto::LinkError;
using Kind = ServerFault::Kind;

constexpr char kPassword[] = "the-servers-own";
constexpr int64_t kServerLinkMs = 2'000;
constexpr uint64_t kHealthyBytes = 4096;
constexpr size_t kReplyLen = 16 + 186;  // Of main, as spice-server sends it.

struct FaultRow {
  std::string name;
  ServerFault fault;
  std::string reason;  // Of the refused link.
};

std::vector<FaultRow> FaultRows() {
  std::vector<FaultRow> rows = {
      {"CloseOnAccept", {.kind = Kind::kCloseOnAccept}, "server_gone"},
      {"NeverReply", {.kind = Kind::kNeverReply}, "server_timeout"},
      {"NotSpice", {.kind = Kind::kNotSpice}, "server_protocol"},
      {"Major0", {.kind = Kind::kReplyMajor, .value = 0}, "server_protocol"},
      {"Major3", {.kind = Kind::kReplyMajor, .value = 3}, "server_protocol"},
      {"ZeroKey", {.kind = Kind::kZeroKey}, "server_protocol"},
      {"GarbageKey", {.kind = Kind::kGarbageKey}, "server_protocol"},
      {"CapsOutside", {.kind = Kind::kCapsOutside}, "server_protocol"},
      {"NoResult", {.kind = Kind::kNoResult}, "server_timeout"},
      {"SlowDrip", {.kind = Kind::kDrip, .value = 50}, "server_timeout"},
      {"Result7", {.kind = Kind::kResult, .value = 7}, "server_ticket_refused"},
  };
  for (const uint64_t size : {0ull, 177ull, 4097ull, 0xffffffffull}) {
    rows.push_back({"Size" + std::to_string(size),
                    {.kind = Kind::kReplySize, .value = size},
                    "server_protocol"});
  }
  for (const uint64_t error : {1, 2, 3, 4, 5, 6, 7, 8, 9, 1000}) {
    rows.push_back({"Error" + std::to_string(error),
                    {.kind = Kind::kReplyError, .value = error},
                    "server_refused"});
  }
  for (const uint64_t result : {1, 8, 9, 1000}) {
    rows.push_back({"Result" + std::to_string(result),
                    {.kind = Kind::kResult, .value = result},
                    "server_refused"});
  }
  for (uint64_t at = 0; at < kReplyLen + proto::kLinkResultLen; ++at) {
    rows.push_back({"CutAt" + std::to_string(at),
                    {.kind = Kind::kCutAt, .value = at},
                    "server_gone"});
  }
  return rows;
}

class ServerFaultsTest : public testing::Test {
 protected:
  ServerFaultsTest() { RaiseFileLimit(); }
  ~ServerFaultsTest() override {
    if (gateway_ != nullptr) {
      gateway_->Stop();
    }
    thread_.Stop();
  }

  // A server of its own with one console `name`.
  SyntheticServer* AddServer(const std::string& name, const ServerFault& fault,
                             uint64_t seed = 1) {
    SyntheticServerOptions options;
    options.consoles = {{kPassword, seed}};
    options.channels = EveryChannel();
    options.plan = HealthyPlan;
    options.fault = fault;
    SyntheticServer* server = nullptr;
    thread_.Call([&] {
      servers_.push_back(
          std::make_unique<SyntheticServer>(thread_.loop(), options));
      server = servers_.back().get();
      consoles_.push_back(
          {.name = name, .address = server->Listen({}), .password = kPassword});
    });
    return server;
  }

  void AddConsole(const GatewayConsole& console) {
    consoles_.push_back(console);
  }

  void StartGateway(int workers = 2) {
    gateway_ = std::make_unique<GatewayInProcess>(
        GatewayOptions{.consoles = consoles_,
                       .workers = workers,
                       .limits = {{"server_connect_ms", kServerLinkMs},
                                  {"server_link_ms", kServerLinkMs}}});
  }

  static TrafficPlan HealthyPlan(proto::ChannelKey key) {
    return PlanFor(key, kHealthyBytes);
  }

  void ExpectHealthySession(const std::string& name, uint64_t seed) {
    SessionOptions options;
    options.endpoint = gateway_->tls();
    options.password = gateway_->IssueTicket(name);
    options.console_seed = seed;
    options.plan = HealthyPlan;
    EXPECT_EQ(loop_.Run(RunSession(&loop_, &options)).error, "");
  }

  LinkOutcome LinkMain(const std::string& name) {
    SpiceClient client(&loop_, gateway_->plain());
    return client.Link({.password = gateway_->IssueTicket(name)});
  }

  static double Refused(const GatewayMetrics& metrics,
                        const std::string& reason) {
    return metrics.Value("spicegate_links_refused_total",
                         "reason=\"" + reason + "\"");
  }

  PeerTask<void> LinkOne(const LinkRequest* request, LinkOutcome* outcome,
                         PeerJoin* join) {
    SpiceClient client(&loop_, gateway_->plain());
    client.set_timeout_ms(60'000);
    *outcome = co_await client.LinkTask(*request);
    join->Done();
  }

  PeerLoop loop_;
  PeerThread thread_;
  std::vector<std::unique_ptr<SyntheticServer>> servers_;
  std::vector<GatewayConsole> consoles_;
  std::unique_ptr<GatewayInProcess> gateway_;
};

// The viewer saw a good reply, and then the end without a byte of result.
void ExpectClosedWithoutResult(const LinkOutcome& outcome) {
  EXPECT_EQ(outcome.reply_error(), LinkError::kOk);
  EXPECT_TRUE(outcome.auth_answer.empty());
  EXPECT_EQ(outcome.end, PeerEnd::kFin) << PeerEndName(outcome.end);
}

TEST_F(ServerFaultsTest, NoFaultBecomesAWrongPassword) {
  const std::vector<FaultRow> rows = FaultRows();
  for (const FaultRow& row : rows) {
    AddServer(row.name, row.fault);
  }
  AddServer("Healthy", {}, 9);
  StartGateway();
  std::vector<LinkRequest> requests(rows.size());
  std::vector<LinkOutcome> outcomes(rows.size());
  PeerJoin join(&loop_);
  std::map<std::string, double> expected;
  for (size_t i = 0; i < rows.size(); ++i) {
    requests[i].password = gateway_->IssueTicket(rows[i].name);
    ++expected[rows[i].reason];
    join.Add();
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    loop_.Spawn(LinkOne(&requests[i], &outcomes[i], &join));
  }
  // Meanwhile: the faults are all in flight.
  ExpectHealthySession("Healthy", 9);
  loop_.Run(join.Wait());
  for (size_t i = 0; i < rows.size(); ++i) {
    SCOPED_TRACE(rows[i].name);
    ExpectClosedWithoutResult(outcomes[i]);
  }
  const GatewayMetrics metrics =
      gateway_->WaitForMetrics([&rows](const GatewayMetrics& m) {
        return m.Sum("spicegate_links_refused_total") == rows.size();
      });
  for (const auto& [reason, count] : expected) {
    EXPECT_EQ(Refused(metrics, reason), count)
        << reason << "\n"
        << metrics.NonZero("spicegate_links_refused_total");
  }
  EXPECT_EQ(Refused(metrics, "bad_ticket"), 0);
  ExpectHealthySession("Healthy", 9);
}

TEST_F(ServerFaultsTest, NobodyListens) {
  AddConsole(
      {.name = "gone", .address = {.port = FreePort()}, .password = kPassword});
  AddConsole({.name = "no-socket",
              .address = {.unix_path = MakeTestDir() + "/no-such.sock"},
              .password = kPassword});
  StartGateway();
  ExpectClosedWithoutResult(LinkMain("gone"));
  ExpectClosedWithoutResult(LinkMain("no-socket"));
  gateway_->WaitForMetrics([](const GatewayMetrics& metrics) {
    return Refused(metrics, "server_connect") == 2;
  });
}

// The RST may come before or behind the end of the connect.
TEST_F(ServerFaultsTest, ResetOnAccept) {
  AddServer("reset", {.kind = Kind::kResetOnAccept});
  StartGateway();
  ExpectClosedWithoutResult(LinkMain("reset"));
  gateway_->WaitForMetrics([](const GatewayMetrics& metrics) {
    return Refused(metrics, "server_connect") +
               Refused(metrics, "server_gone") ==
           1;
  });
}

TEST_F(ServerFaultsTest, TlsThatIsNone) {
  const PeerPki pki = MakePeerPki();
  AddServer("plain-where-tls-should-be", {});
  GatewayConsole& console = consoles_.back();
  console.tls_port = console.address.port;
  console.address = {};
  console.ca_pem = pki.ca_certificate;
  StartGateway();
  ExpectClosedWithoutResult(LinkMain("plain-where-tls-should-be"));
  gateway_->WaitForMetrics([](const GatewayMetrics& metrics) {
    return Refused(metrics, "server_tls") == 1;
  });
}

// A slow server that keeps within the deadline is no fault.
TEST_F(ServerFaultsTest, SlowButInTime) {
  AddServer("slow", {.kind = Kind::kDrip, .value = 1});
  StartGateway();
  EXPECT_TRUE(LinkMain("slow").open);
}

// A viewer must not be told "you are in" before its desktop said so.
TEST_F(ServerFaultsTest, ServerIsLinkedBeforeTheResult) {
  SyntheticServer* server = AddServer("held", {.kind = Kind::kHoldResult});
  AddServer("barrier", {}, 9);
  StartGateway(/*workers=*/1);
  LinkRequest request = {.password = gateway_->IssueTicket("held")};
  SpiceClient client(&loop_, gateway_->plain());
  LinkOutcome outcome;
  bool done = false;
  auto link = [](SpiceClient* c, const LinkRequest* r, LinkOutcome* o,
                 bool* flag) -> PeerTask<void> {
    *o = co_await c->LinkTask(*r);
    *flag = true;
  };
  loop_.Spawn(link(&client, &request, &outcome, &done));
  auto wait = [](PeerLoop* loop, SyntheticServer* s) -> PeerTask<void> {
    for (int i = 0; i < 2000 && s->Totals().num_results_held == 0; ++i) {
      co_await loop->Sleep(5);
    }
  };
  loop_.Run(wait(&loop_, server));
  EXPECT_EQ(server->Totals().num_results_held, 1u);
  // A whole session through the same worker behind it: what the gateway would
  // have sent too early has been sent.
  ExpectHealthySession("barrier", 9);
  bool has_bytes = false;
  EXPECT_EQ(client.stream()->Peek(&has_bytes), PeerEnd::kOpen);
  EXPECT_FALSE(has_bytes);
  EXPECT_FALSE(done);
  thread_.Call([server] { server->ReleaseResults(); });
  loop_.RunWhile([&done] { return !done; });
  EXPECT_TRUE(outcome.open);
}

TEST_F(ServerFaultsTest, CloseRightBehindTheResult) {
  AddServer("fleeting", {.kind = Kind::kCloseAfterResult});
  StartGateway();
  SpiceClient client(&loop_, gateway_->plain());
  EXPECT_TRUE(
      client.Link({.password = gateway_->IssueTicket("fleeting")}).open);
  EXPECT_EQ(client.WaitForEnd(), PeerEnd::kFin);
  client.Close();  // As a viewer does; until then it is a half-closed channel.
  gateway_->WaitForMetrics([](const GatewayMetrics& metrics) {
    return metrics.Value("spicegate_channels_closed_total",
                         "reason=\"server_closed\"") == 1;
  });
}

// On a secondary the codes 8 and 9 are passed on; whatever else goes wrong is
// a close without a result, and main lives on.
TEST_F(ServerFaultsTest, SecondariesOnly) {
  struct Row {
    std::string name;
    ServerFault fault;
    std::optional<LinkError> result;
  };
  const std::vector<Row> rows = {
      {"Result8",
       {.kind = Kind::kResult, .value = 8, .secondaries_only = true},
       LinkError::kBadConnectionId},
      {"Result9",
       {.kind = Kind::kResult, .value = 9, .secondaries_only = true},
       LinkError::kChannelNotAvailable},
      {"Result7",
       {.kind = Kind::kResult, .value = 7, .secondaries_only = true},
       std::nullopt},
      {"Error7",
       {.kind = Kind::kReplyError, .value = 7, .secondaries_only = true},
       std::nullopt},
      {"NeverReply",
       {.kind = Kind::kNeverReply, .secondaries_only = true},
       std::nullopt},
  };
  for (const Row& row : rows) {
    AddServer(row.name, row.fault);
  }
  StartGateway();
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const std::string ticket = gateway_->IssueTicket(row.name);
    SpiceClient main(&loop_, gateway_->plain());
    ASSERT_TRUE(main.Link({.password = ticket}).open);
    const auto greeting = loop_.Run(GreetMain(&main));
    ASSERT_TRUE(greeting.has_value());
    SpiceClient inputs(&loop_, gateway_->plain());
    const LinkOutcome outcome =
        inputs.Link({.channel = {ChannelType::kInputs, 0},
                     .connection_id = greeting->init.session_id,
                     .password = ticket});
    if (row.result.has_value()) {
      EXPECT_EQ(outcome.result(), row.result);
    } else {
      ExpectClosedWithoutResult(outcome);
    }
    bool has_bytes = false;
    EXPECT_EQ(main.stream()->Peek(&has_bytes), PeerEnd::kOpen);
  }
}

}  // namespace
}  // namespace spicegate
