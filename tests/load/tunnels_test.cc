// SPDX-License-Identifier: Apache-2.0
//
// A node's morning: two thousand tunnels through CONNECT, six hundred of them
// at once, each with bytes of its own both ways; one viewer that has stopped
// reading, with a gigabyte to come. The gateway keeps what its budget allows,
// the others notice nothing, and nobody loses a byte.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gateway/base/limits.h"
#include "tests/load/load_environment.h"
#include "tests/load/proxmox_signer.h"
#include "tests/load/tunnel_peers.h"
#include "tests/peer/gateway_process.h"
#include "tests/peer/peer_loop.h"

namespace spicegate {
namespace {

using Kind = TunnelOrder::Kind;

constexpr char kKey[] = "a test cluster's key\n";
// Channels of one viewer, which have one ticket and are one session.
constexpr size_t kTunnelsOfViewer = 10;
constexpr size_t kBurst = 600;
// Under way at a time before the burst.
constexpr size_t kSetUpConcurrency = 64;
constexpr size_t kNumTurnedAway = 10;
// Tunnels of each way to end.
constexpr size_t kNumEnds = 25;
constexpr uint64_t kLeastTunnels = 4 * kNumEnds + 1;
// What a tunnel may cost: the channel, its two sockets, their timers; and of
// those whose ends both keep up no more.
constexpr uint64_t kTunnelBytes = 4 * 1024;
// The allocator's and the program's own: pages that are touched once.
constexpr uint64_t kSlackBytes = 4 << 20;
constexpr uint64_t kStallSlackBytes = 2 << 20;
// What the kernel's socket buffers and a pipe can take of one tunnel.
constexpr uint64_t kKernelBytes = 64 << 20;
constexpr uint64_t kMebibyte = 1 << 20;
constexpr int64_t kPatienceMs = 300'000;
constexpr int64_t kPollMs = 50;
constexpr int kStillPolls = 20;

class TunnelsTest : public testing::Test {
 protected:
  TunnelsTest()
      : num_tunnels_(std::max<uint64_t>(
            NumberFromEnv("SPICEGATE_LOAD_TUNNELS", 2'000), kLeastTunnels)),
        bytes_(NumberFromEnv("SPICEGATE_LOAD_BYTES", 65'536)),
        stall_bytes_(NumberFromEnv("SPICEGATE_STALL_BYTES", 1ull << 30)) {
    RaiseFileLimit();
    clients_.resize(num_tunnels_);
    thread_.Call(
        [this] { server_ = std::make_unique<TunnelServer>(thread_.loop()); });
    StartGateway();
  }
  ~TunnelsTest() override {
    // Servers first: those of young tunnels are not told of their clients' end
    // at once.
    thread_.Stop();
    clients_.clear();
    loop_.Drain();
    gateway_->Stop();
    std::filesystem::remove_all(directory_);
  }

  void StartGateway() {
    const std::string key_path = directory_ + "/pve-www.key";
    WriteTestFile(key_path, kKey);
    const std::string port = std::to_string(server_->port());
    GatewayOptions options;
    options.connect = true;
    options.limits = {{"max_links", static_cast<int64_t>(num_tunnels_)},
                      {"preauth_deadline_ms", kPatienceMs},
                      {"server_connect_ms", kPatienceMs}};
    options.extra_json = ",\n\"proxmox\":{\"key_file\":\"" + key_path +
                         "\",\"ports\":\"" + port + "-" + port + "\"}";
    gateway_ = std::make_unique<GatewayProcess>(options);
  }

  // ---- One tunnel.

  TunnelOrder OrderOf(size_t tunnel, uint64_t round, uint64_t bytes) const {
    return {.kind = Kind::kExchange,
            .seed = round * 1'000'000 + tunnel,
            .to_client_bytes = bytes,
            .to_server_bytes = bytes};
  }

  // Through, and a message both ways.
  PeerTask<std::string> OpenOne(size_t tunnel) {
    auto client = std::make_unique<TunnelClient>(&loop_);
    const int status = co_await client->Connect(
        gateway_->connect(),
        signer_.Target(static_cast<int>(100 + tunnel / kTunnelsOfViewer),
                       server_->port()));
    if (status != 200) {
      co_return "CONNECT: " + std::to_string(status);
    }
    const TunnelOrder order = OrderOf(tunnel, 0, 256);
    std::string error = co_await client->Exchange(&order);
    clients_[tunnel] = std::move(client);
    co_return error;
  }

  PeerTask<std::string> ExchangeOne(size_t tunnel, uint64_t round,
                                    uint64_t bytes) {
    const TunnelOrder order = OrderOf(tunnel, round, bytes);
    const std::string error = co_await clients_[tunnel]->Exchange(&order);
    // While the others are under way. The kernel walks all pages for it.
    if (tunnel % 50 == 0) {
      max_memory_ = std::max(max_memory_, Memory());
    }
    co_return error;
  }

  // The client says all it has to say and ends; then the server answers.
  PeerTask<std::string> EndByClient(size_t tunnel) {
    const TunnelOrder order = EndOrder(tunnel, Kind::kClientEndsFirst);
    TunnelClient* const client = clients_[tunnel].get();
    std::string error;
    for (auto part : {&TunnelClient::Ask, &TunnelClient::Send}) {
      error += co_await (client->*part)(&order);
    }
    client->stream()->ShutdownWrite();
    for (auto part : {&TunnelClient::Receive, &TunnelClient::ReceiveReport}) {
      error += co_await (client->*part)(&order);
    }
    const PeerEnd end = co_await client->ReceiveEnd();
    co_return end == PeerEnd::kFin ? error : error + PeerEndName(end);
  }

  // The server says all it has to say and ends; then the client answers.
  PeerTask<std::string> EndByServer(size_t tunnel) {
    const TunnelOrder order = EndOrder(tunnel, Kind::kServerEndsFirst);
    TunnelClient* const client = clients_[tunnel].get();
    std::string error = co_await client->Ask(&order);
    error += co_await client->Receive(&order);
    const PeerEnd end = co_await client->ReceiveEnd();
    error += end == PeerEnd::kFin ? "" : PeerEndName(end);
    error += co_await client->Send(&order);
    client->stream()->ShutdownWrite();
    co_await WaitForEnd(order.seed);
    const uint64_t matched = server_->BooksOf(order.seed).matched;
    co_return matched == order.to_server_bytes
        ? error
        : error + "to the server: " + std::to_string(matched);
  }

  PeerTask<std::string> ResetByClient(size_t tunnel) {
    clients_[tunnel]->stream()->Reset();
    const PeerEnd end = co_await WaitForEnd(OrderOf(tunnel, 0, 0).seed);
    co_return end == PeerEnd::kReset ? "" : PeerEndName(end);
  }

  PeerTask<std::string> ResetByServer(size_t tunnel) {
    const TunnelOrder order = EndOrder(tunnel, Kind::kServerResets);
    std::string error = co_await clients_[tunnel]->Ask(&order);
    const PeerEnd end = co_await clients_[tunnel]->ReceiveEnd();
    co_return end == PeerEnd::kReset ? error : error + PeerEndName(end);
  }

  TunnelOrder EndOrder(size_t tunnel, Kind kind) const {
    TunnelOrder order = OrderOf(tunnel, 2, kMebibyte);
    order.kind = kind;
    return order;
  }

  // How the client of this order has ended, as its server sees it.
  PeerTask<PeerEnd> WaitForEnd(uint64_t seed) {
    for (int64_t ms = 0; ms < kPatienceMs; ms += kPollMs) {
      const auto end = server_->BooksOf(seed).end;
      if (end.has_value()) {
        co_return *end;
      }
      co_await loop_.Sleep(kPollMs);
    }
    co_return PeerEnd::kTimeout;
  }

  // ---- All of some.

  using One = std::function<PeerTask<std::string>(size_t)>;

  PeerTask<void> DoNext(const One* one, size_t* next, size_t last,
                        PeerJoin* join) {
    while (*next < last) {
      const size_t tunnel = (*next)++;
      const std::string error = co_await (*one)(tunnel);
      EXPECT_EQ(error, "") << "tunnel " << tunnel;
    }
    join->Done();
  }

  // `one` of all tunnels from `first` up to `last`, so many at a time.
  void DoAll(size_t first, size_t last, size_t concurrency, const One& one) {
    PeerJoin join(&loop_);
    size_t next = first;
    for (size_t i = 0; i < concurrency; ++i) {
      join.Add();
    }
    for (size_t i = 0; i < concurrency; ++i) {
      loop_.Spawn(DoNext(&one, &next, last, &join));
    }
    loop_.Run(join.Wait());
  }

  void OpenAll() {
    const One open = [this](size_t tunnel) { return OpenOne(tunnel); };
    const size_t burst = std::min(kBurst, num_tunnels_);
    DoAll(0, num_tunnels_ - burst, kSetUpConcurrency, open);
    DoAll(num_tunnels_ - burst, num_tunnels_, burst, open);
  }

  // All but the stalled one, tunnel 0, at once.
  void ExchangeOthers(uint64_t round) {
    DoAll(1, num_tunnels_, num_tunnels_, [this, round](size_t tunnel) {
      return ExchangeOne(tunnel, round, bytes_);
    });
  }

  // ---- What the gateway says of itself.

  uint64_t Memory() { return gateway_->process()->private_bytes(); }

  void ExpectTunnels(size_t num) {
    const GatewayMetrics metrics = gateway_->Metrics();
    EXPECT_EQ(metrics.Value("spicegate_channels_open", "channel=\"tunnel\""),
              static_cast<double>(num));
    EXPECT_EQ(metrics.Sum("spicegate_channels_closed_total"), 0)
        << metrics.NonZero("spicegate_channels_closed_total");
  }

  // The gateway has relayed what clients have sent and received, to the byte.
  void CompareBooks() {
    uint64_t sent = 0;
    uint64_t received = 0;
    for (const auto& client : clients_) {
      sent += client->sent();
      received += client->received();
    }
    const GatewayMetrics metrics = gateway_->Metrics();
    const auto relayed = [&metrics](const std::string& direction) {
      return metrics.Value(
          "spicegate_channel_bytes_total",
          "channel=\"tunnel\",direction=\"" + direction + "\"");
    };
    EXPECT_EQ(relayed("client_to_server"), static_cast<double>(sent));
    EXPECT_EQ(relayed("server_to_client"), static_cast<double>(received));
  }

  // ---- The stalled one.

  uint64_t WrittenToStalled() {
    return server_->BooksOf(kStalled.seed).written;
  }

  // True once the server has not got on for a while: everything between it and
  // the viewer that does not read is full. False when it goes on.
  PeerTask<bool> WaitUntilFull() {
    uint64_t last = 0;
    int still = 0;
    for (int64_t ms = 0; ms < kPatienceMs && still < kStillPolls;
         ms += kPollMs) {
      co_await loop_.Sleep(kPollMs);
      const uint64_t now = WrittenToStalled();
      still = now == last && now > 0 ? still + 1 : 0;
      last = now;
    }
    co_return still == kStillPolls;
  }

  // What its bytes hold of the gateway: one buffer or one pipe.
  void ExpectStalledWithinBudget(uint64_t memory_before) {
    const GatewayMetrics metrics = gateway_->Metrics();
    EXPECT_LE(metrics.Sum("spicegate_relay_buffer_bytes"), kPumpBufferBytes);
    EXPECT_LE(metrics.Sum("spicegate_relay_pipes_in_use"), 1);
    EXPECT_LT(Memory(), memory_before + kPumpBufferBytes + kStallSlackBytes);
    EXPECT_LT(WrittenToStalled(), kKernelBytes);
    EXPECT_LT(WrittenToStalled(), kStalled.to_client_bytes);
  }

  // Beyond the limit there is an answer, and nothing else.
  void ExpectTurnedAway() {
    const auto answers = [this] {
      return gateway_->Metrics().Value("spicegate_connect_answers_total",
                                       "code=\"503\"");
    };
    const double before = answers();
    for (size_t i = 0; i < kNumTurnedAway; ++i) {
      TunnelClient late(&loop_);
      EXPECT_EQ(loop_.Run(late.Connect(gateway_->connect(),
                                       signer_.Target(99, server_->port()))),
                503);
    }
    EXPECT_EQ(answers(), before + kNumTurnedAway);
  }

  // As many as leave may come, and no more.
  void ExpectRoomForWhoeverLeaves() {
    for (size_t tunnel = 1; tunnel <= kNumTurnedAway; ++tunnel) {
      EXPECT_EQ(loop_.Run(EndByServer(tunnel)), "");
    }
    gateway_->WaitForMetrics([this](const GatewayMetrics& metrics) {
      return metrics.Sum("spicegate_channels_open") ==
             num_tunnels_ - kNumTurnedAway;
    });
    DoAll(1, 1 + kNumTurnedAway, kNumTurnedAway,
          [this](size_t tunnel) { return OpenOne(tunnel); });
    ExpectTurnedAway();
    ExchangeOthers(3);
  }

  const size_t num_tunnels_;
  const uint64_t bytes_;
  const uint64_t stall_bytes_;
  const TunnelOrder kStalled = {.kind = Kind::kExchange,
                                .seed = 77'000'000,
                                .to_client_bytes = stall_bytes_,
                                .to_server_bytes = 0};
  const std::string directory_ = MakeTestDir();
  const ProxmoxSigner signer_{kKey};
  PeerLoop loop_;
  PeerThread thread_;
  std::unique_ptr<TunnelServer> server_;
  std::unique_ptr<GatewayProcess> gateway_;
  std::vector<std::unique_ptr<TunnelClient>> clients_;
  uint64_t max_memory_ = 0;
};

TEST_F(TunnelsTest, AMorningWithOneStalledViewer) {
  const uint64_t before = Memory();
  OpenAll();
  ASSERT_FALSE(HasFailure());
  ExpectTunnels(num_tunnels_);
  const uint64_t open = Memory();
  EXPECT_LT(open, before + num_tunnels_ * kTunnelBytes + kSlackBytes);

  TunnelClient* const stalled = clients_[0].get();
  ASSERT_EQ(loop_.Run(stalled->Ask(&kStalled)), "");
  EXPECT_TRUE(loop_.Run(WaitUntilFull()));
  ExpectStalledWithinBudget(open);

  ExchangeOthers(1);
  ExpectStalledWithinBudget(max_memory_);
  ExpectTurnedAway();
  ExchangeOthers(2);
  ExpectTunnels(num_tunnels_);

  EXPECT_EQ(loop_.Run(stalled->Receive(&kStalled)), "");
  EXPECT_EQ(loop_.Run(stalled->ReceiveReport(&kStalled)), "");
  EXPECT_EQ(server_->BooksOf(kStalled.seed).written, stall_bytes_);
  ExpectTunnels(num_tunnels_);
  CompareBooks();
  EXPECT_LT(max_memory_, before + num_tunnels_ * kTunnelBytes + kSlackBytes);
  ExpectRoomForWhoeverLeaves();
  RecordProperty("memory_before", static_cast<int>(before));
  RecordProperty("memory_of_open_tunnels", static_cast<int>(open));
  RecordProperty("memory_max", static_cast<int>(max_memory_));
}

// A quarter of them each way of ending; the last one sees nothing of it.
TEST_F(TunnelsTest, EveryEndIsPassedOnWithAllBytesBeforeIt) {
  const size_t last = 4 * kNumEnds;
  DoAll(0, last + 1, kSetUpConcurrency,
        [this](size_t tunnel) { return OpenOne(tunnel); });
  ASSERT_FALSE(HasFailure());
  DoAll(0, last, last, [this](size_t tunnel) {
    switch (tunnel % 4) {
      case 0:
        return EndByClient(tunnel);
      case 1:
        return EndByServer(tunnel);
      case 2:
        return ResetByClient(tunnel);
      default:
        return ResetByServer(tunnel);
    }
  });
  gateway_->WaitForMetrics([](const GatewayMetrics& metrics) {
    return metrics.Sum("spicegate_channels_open") == 1;
  });
  const GatewayMetrics metrics = gateway_->Metrics();
  for (const char* reason :
       {"client_closed", "server_closed", "client_reset", "server_reset"}) {
    EXPECT_EQ(metrics.Value("spicegate_channels_closed_total",
                            std::string("reason=\"") + reason + "\""),
              kNumEnds)
        << reason;
  }
  EXPECT_EQ(loop_.Run(ExchangeOne(last, 1, kMebibyte)), "");
}

}  // namespace
}  // namespace spicegate
