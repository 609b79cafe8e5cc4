// SPDX-License-Identifier: Apache-2.0
//
// Every scenario for a moment: at its own server, through a relay that is good
// or bad, and through the gateway.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/load/address.h"
#include "bench/load/options.h"
#include "bench/load/report.h"
#include "bench/load/run.h"
#include "tests/peer/child_process.h"
#include "tests/peer/gateway_process.h"

namespace spicegate {
namespace {

constexpr int64_t kDescriptors = 900;

using Args = std::vector<std::string>;

Args operator+(Args left, const Args& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

// The run must begin; whether it is good is the caller's to say.
std::unique_ptr<Run> RunLoad(const Args& args) {
  const ParsedOptions parsed =
      ParseOptions(args + Args{"--seconds", "0.2", "--warmup", "0.05"});
  EXPECT_EQ(parsed.error, "");
  auto run = std::make_unique<Run>(parsed.options, kDescriptors);
  EXPECT_EQ(run->Execute(), "");
  return run;
}

void ExpectGood(const Run& run) {
  const std::string json = ResultJson(run.options(), run.meter(), run.result());
  EXPECT_TRUE(run.good()) << json;
}

// Forwards one connection after the other, with a thread that polls; `change`
// sees the bytes towards the client first.
class TestRelay {
 public:
  using Change = std::function<void(std::vector<uint8_t>* bytes)>;

  // Towards `server`. With `tunnel` it wants an HTTP CONNECT first.
  TestRelay(const Address& server, bool tunnel, Change change)
      : server_(server), tunnel_(tunnel), change_(std::move(change)) {
    listener_ = ListenOn(ParseAddress("127.0.0.1:0").value());
    thread_ = std::thread([this] { Loop(); });
  }
  ~TestRelay() {
    stop_ = true;
    thread_.join();
    for (const Pair& pair : pairs_) {
      close(pair.client);
      close(pair.server);
    }
    close(listener_);
  }

  std::string address() const { return LocalAddressOf(listener_).ToString(); }
  int num_tunnels() const { return num_tunnels_; }

 private:
  struct Pair {
    int client;
    int server;
  };

  void Loop() {
    while (!stop_) {
      std::vector<pollfd> fds = {{listener_, POLLIN, 0}};
      for (const Pair& pair : pairs_) {
        fds.push_back({pair.client, POLLIN, 0});
        fds.push_back({pair.server, POLLIN, 0});
      }
      poll(fds.data(), fds.size(), 10);
      for (size_t i = pairs_.size(); i > 0; --i) {
        Forward(i - 1, fds[2 * i - 1].revents != 0, fds[2 * i].revents != 0);
      }
      if (fds[0].revents != 0) {
        Accept();
      }
    }
  }

  void Accept() {
    const int client = accept(listener_, nullptr, nullptr);
    if (client < 0) {
      return;
    }
    if (tunnel_) {
      std::array<char, 1024> request;
      const ssize_t n = recv(client, request.data(), request.size(), 0);
      const std::string text(request.data(), n > 0 ? n : 0);
      num_tunnels_ += text.substr(0, 22) == "CONNECT 192.0.2.1:5900" ? 1 : 0;
      const std::string answer = "HTTP/1.1 200 Connected\r\n\r\n";
      send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
    }
    pairs_.push_back({client, ConnectBlocking(server_)});
  }

  // True when the connection goes on.
  bool Copy(int from, int to, bool to_client) {
    std::vector<uint8_t> bytes(64 * 1024);
    const ssize_t n = recv(from, bytes.data(), bytes.size(), 0);
    if (n <= 0) {
      return false;
    }
    bytes.resize(static_cast<size_t>(n));
    if (to_client && change_) {
      change_(&bytes);
    }
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t k =
          send(to, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (k < 0) {
        return false;
      }
      sent += static_cast<size_t>(k);
    }
    return true;
  }

  void Forward(size_t index, bool from_client, bool from_server) {
    const Pair pair = pairs_[index];
    const bool open = (!from_client || Copy(pair.client, pair.server, false)) &&
                      (!from_server || Copy(pair.server, pair.client, true));
    if (!open) {
      close(pair.client);
      close(pair.server);
      pairs_.erase(pairs_.begin() + static_cast<ptrdiff_t>(index));
    }
  }

  const Address server_;
  const bool tunnel_;
  const Change change_;
  int listener_ = -1;
  std::vector<Pair> pairs_;
  std::atomic<bool> stop_{false};
  std::atomic<int> num_tunnels_{0};
  std::thread thread_;
};

std::string FreeAddress() { return "127.0.0.1:" + std::to_string(FreePort()); }

// ---- Straight at its own server.

const std::vector<Args>& Scenarios() {
  static const auto* const kScenarios = new std::vector<Args>{
      {"bulk", "--streams", "3"},
      {"bulk", "--streams", "2", "--write-bytes", "100"},
      {"bulk", "--streams", "2", "--direction", "c2s"},
      {"bulk", "--write-bytes", "3000000", "--verify", "full"},
      {"pingpong", "--connections", "20"},
      {"pingpong", "--connections", "20", "--rate", "50"},
      {"pingpong", "--message-bytes", "20"},
      {"mixed", "--sessions", "10", "--floods", "2"},
      {"storm", "--concurrency", "3"},
      {"storm", "--channels", "1"},
      {"idle", "--channels", "35", "--hold", "0.1"},
      {"session", "--sessions", "11"},
  };
  return *kScenarios;
}

TEST(LoadDirect, EveryScenario) {
  for (const Args& scenario : Scenarios()) {
    SCOPED_TRACE(testing::PrintToString(scenario));
    ExpectGood(*RunLoad(scenario + Args{"--serve", "127.0.0.1:0"}));
  }
}

TEST(LoadDirect, Raw) {
  ExpectGood(*RunLoad({"churn", "--serve-raw", "127.0.0.1:0"}));
  for (const char* scenario : {"bulk", "pingpong", "mixed", "idle"}) {
    SCOPED_TRACE(scenario);
    ExpectGood(*RunLoad({scenario, "--raw", "--serve", "127.0.0.1:0", "--hold",
                         "0.1", "--sessions", "10", "--channels", "30"}));
  }
}

TEST(LoadDirect, TlsAndUnixSockets) {
  const std::string path = "unix:" + MakeTestDir() + "/server";
  for (const Args& where :
       {Args{"--serve", path}, Args{"--serve", "127.0.0.1:0", "--serve-tls"},
        Args{"--serve", "[::1]:0"}}) {
    SCOPED_TRACE(testing::PrintToString(where));
    ExpectGood(*RunLoad(Args{"mixed", "--sessions", "5"} + where));
    ExpectGood(*RunLoad(Args{"storm"} + where));
    ExpectGood(*RunLoad(Args{"bulk", "--direction", "c2s", "--verify", "full"} +
                        where));
  }
}

TEST(LoadDirect, TunnelsInABurst) {
  for (const bool tls : {false, true}) {
    SCOPED_TRACE(tls);
    const auto run = RunLoad(Args{"tunnels", "--channels", "30", "--burst",
                                  "20", "--hold", "0", "--serve", "127.0.0.1:0",
                                  "--watch-pid", std::to_string(getpid())} +
                             (tls ? Args{"--serve-tls"} : Args{}));
    ExpectGood(*run);
    EXPECT_EQ(run->meter().totals.flood_received, 0u);
    EXPECT_EQ(run->meter().totals.channels, 30u);
    // Of those that came one by one nothing is known.
    EXPECT_EQ(run->meter().setup.count(), 20u);
    EXPECT_EQ(run->result().window.connections, 20u);
    EXPECT_GT(run->result().watched_cpu_ns.value_or(0), 0);
    // The last but one begins behind the others' nineteen twentieths.
    EXPECT_GE(run->result().seconds, 0.94);
    EXPECT_EQ(run->result().tls.handshakes, tls ? 30u : 0u);
  }
}

TEST(LoadDirect, StalledTunnelsGetEveryByteLater) {
  const auto run =
      RunLoad({"tunnels", "--channels", "10", "--burst", "5", "--stalled", "3",
               "--hold", "0.2", "--serve", "127.0.0.1:0", "--verify", "full"});
  ExpectGood(*run);
  // Nothing while it held, then what buffers had taken.
  EXPECT_EQ(run->result().window.flood_received, 0u);
  EXPECT_GT(run->meter().totals.flood_received, 3u * 262'144);
}

TEST(LoadDirect, TlsAsAskedFor) {
  const Args where = {"churn", "--serve-raw", "127.0.0.1:0", "--serve-tls"};
  const auto full = RunLoad(where);
  ExpectGood(*full);
  EXPECT_GT(full->result().tls.handshakes, 0u);
  EXPECT_EQ(full->result().tls.resumed, 0u);
  for (const char* version : {"1.2", "1.3"}) {
    SCOPED_TRACE(version);
    const auto resumed =
        RunLoad(where + Args{"--tls-version", version, "--tls-resume"});
    ExpectGood(*resumed);
    EXPECT_GT(resumed->result().tls.resumed, 0u);
    EXPECT_EQ(resumed->result().tls.last.substr(0, 7),
              std::string("TLSv") + version);
  }
  for (const char* suite : {"aes256_gcm", "chacha20_poly1305"}) {
    SCOPED_TRACE(suite);
    const Args asked = where + Args{"--tls-suite", suite, "--tls-version"};
    // TLS 1.3 leaves the choice to the server, TLS 1.2 does not.
    EXPECT_FALSE(RunLoad(asked + Args{"1.3"})->good());
    ExpectGood(*RunLoad(asked + Args{"1.2"}));
  }
}

TEST(LoadDirect, CountsWhatItSays) {
  const auto run =
      RunLoad({"session", "--sessions", "3", "--serve", "127.0.0.1:0",
               "--watch-pid", std::to_string(getpid())});
  ExpectGood(*run);
  const RunResult& result = run->result();
  EXPECT_EQ(run->meter().totals.channels, 30u);
  EXPECT_EQ(run->meter().totals.sessions, 3u);
  EXPECT_EQ(run->meter().setup.count(), 30u);
  EXPECT_GT(result.window.flood_received, 0u);
  EXPECT_GT(result.window.round_trips, 0u);
  EXPECT_GT(run->meter().latency.count(), 0u);
  EXPECT_GT(result.watched_cpu_ns.value_or(0), 0);
  EXPECT_EQ(result.server.sent, result.client.received);
  EXPECT_EQ(result.server.received, result.client.sent);
}

TEST(LoadDirect, LowersWhatDoesNotFit) {
  const auto run = RunLoad(
      {"idle", "--channels", "1000", "--hold", "0", "--serve", "127.0.0.1:0"});
  ExpectGood(*run);
  EXPECT_EQ(run->meter().totals.channels, 450u);
  EXPECT_NE(run->result().lowered, "");
}

TEST(LoadDirect, TwoProcesses) {
  const std::string address = FreeAddress();
  ChildProcess server({TestDataPath("bench/load/spicegate-load"), "bulk",
                       "--role", "server", "--serve", address});
  int fd = -1;
  for (int i = 0; i < 3'000 && fd < 0; ++i) {
    fd = ConnectBlocking(ParseAddress(address).value());
    if (fd < 0) {
      poll(nullptr, 0, 10);
    }
  }
  ASSERT_GE(fd, 0) << server.errors();
  close(fd);
  for (const char* scenario : {"bulk", "mixed"}) {
    ExpectGood(*RunLoad({scenario, "--role", "client", "--target", address,
                         "--sessions", "4"}));
  }
  server.Signal(SIGTERM);
  EXPECT_EQ(server.WaitForExit(30'000), 0) << server.errors();
}

// ---- It notices what is wrong.

TEST(LoadFailure, NobodyListens) {
  const auto run =
      RunLoad({"bulk", "--serve", "127.0.0.1:0", "--target", FreeAddress()});
  EXPECT_FALSE(run->good());
  EXPECT_EQ(run->result().window.flood_received, 0u);
}

TEST(LoadFailure, GoodRelayIsGood) {
  const std::string address = FreeAddress();
  TestRelay relay(ParseAddress(address).value(), false, nullptr);
  for (const char* scenario : {"bulk", "mixed", "storm"}) {
    SCOPED_TRACE(scenario);
    ExpectGood(*RunLoad({scenario, "--serve", address, "--target",
                         relay.address(), "--sessions", "4"}));
  }
}

// Bytes are lost, doubled and changed in the middle of the stream.
TEST(LoadFailure, BadRelayIsNoticed) {
  using Bytes = std::vector<uint8_t>;
  const std::vector<TestRelay::Change> changes = {
      [](Bytes* bytes) { bytes->pop_back(); },
      [](Bytes* bytes) { bytes->push_back(bytes->back()); },
      [](Bytes* bytes) { (*bytes)[bytes->size() / 2] ^= 1; },
  };
  for (const TestRelay::Change& change : changes) {
    const std::string address = FreeAddress();
    int num_large = 0;
    TestRelay relay(ParseAddress(address).value(), false,
                    [&](std::vector<uint8_t>* bytes) {
                      if (bytes->size() > 10'000 && ++num_large == 20) {
                        change(bytes);
                      }
                    });
    const auto run = RunLoad({"bulk", "--serve", address, "--target",
                              relay.address(), "--verify", "full"});
    EXPECT_FALSE(run->good());
    EXPECT_GT(run->meter().num_checksum_errors, 0u);
  }
}

TEST(LoadFailure, WrongAnswerIsNoticed) {
  const std::string address = FreeAddress();
  TestRelay relay(ParseAddress(address).value(), false,
                  [](std::vector<uint8_t>* bytes) {
                    if (bytes->size() == 64) {
                      bytes->back() ^= 1;
                    }
                  });
  const auto run =
      RunLoad({"pingpong", "--serve", address, "--target", relay.address()});
  EXPECT_GT(run->meter().num_checksum_errors, 0u);
}

TEST(LoadFailure, VanishedProcessIsNoticed) {
  const auto run = RunLoad(
      {"pingpong", "--serve", "127.0.0.1:0", "--watch-pid", "2147483646"});
  EXPECT_FALSE(run->good());
  EXPECT_FALSE(run->result().watched_cpu_ns.has_value());
}

// ---- Through others.

TEST(LoadTunnel, HttpConnect) {
  const std::string address = FreeAddress();
  TestRelay relay(ParseAddress(address).value(), true, nullptr);
  ExpectGood(
      *RunLoad({"mixed", "--sessions", "3", "--serve", address, "--target",
                relay.address(), "--connect", "192.0.2.1:5900"}));
  // main and inputs each, and four displays cut to three sessions.
  EXPECT_EQ(relay.num_tunnels(), 9);
  ExpectGood(
      *RunLoad({"tunnels", "--channels", "8", "--burst", "5", "--hold", "0",
                "--serve", address, "--serve-tls", "--tls", "--target",
                relay.address(), "--connect", "192.0.2.1:5900"}));
  EXPECT_EQ(relay.num_tunnels(), 17);
}

TEST(LoadGateway, EveryScenario) {
  const uint16_t port = FreePort();
  GatewayOptions options;
  for (int i = 0; i < 3; ++i) {
    options.consoles.push_back({.name = ConsoleName(i),
                                .address = {.port = port},
                                .password = "bench-ticket"});
  }
  GatewayProcess gateway(options);
  const Args where = {
      "--serve",    "127.0.0.1:" + std::to_string(port),
      "--admin",    "127.0.0.1:" + std::to_string(gateway.admin_port()),
      "--consoles", "3"};
  for (const bool tls : {false, true}) {
    const uint16_t gateway_port =
        tls ? gateway.tls().address.port : gateway.plain().address.port;
    const Args target = {"--target",
                         "127.0.0.1:" + std::to_string(gateway_port)};
    for (const char* scenario :
         {"bulk", "pingpong", "mixed", "storm", "idle", "session"}) {
      SCOPED_TRACE(scenario);
      ExpectGood(*RunLoad(Args{scenario, "--sessions", "4", "--channels", "10",
                               "--hold", "0.1", "--tickets", "1500"} +
                          where + target + (tls ? Args{"--tls"} : Args{})));
    }
  }
  gateway.Stop();
}

}  // namespace
}  // namespace spicegate
