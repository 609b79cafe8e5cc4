// SPDX-License-Identifier: Apache-2.0
#include "tests/tls/tls_world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <tuple>
#include <utility>

#include "tests/peer/child_process.h"
#include "tests/peer/gateway_in_process.h"
#include "tests/peer/gateway_process.h"

namespace spicegate {
namespace {

using proto::ChannelKey;
using proto::ChannelType;

// What one BoringSSL can make another one speak. TLS 1.3 stands at the end:
// its suite is not chosen.
constexpr std::array<LegKind, 4> kBoringLegs = {{
    {.version = TLS1_2_VERSION, .suite = TlsSuiteName::kAes128Gcm},
    {.version = TLS1_2_VERSION, .suite = TlsSuiteName::kAes256Gcm},
    {.version = TLS1_2_VERSION, .suite = TlsSuiteName::kChaCha20},
    {.version = TLS1_3_VERSION},
}};
constexpr size_t kTls13Index = kBoringLegs.size() - 1;

struct SuiteWords {
  const char* test_name;
  const char* metric;
  const char* tls12;  // ECDSA for the gateway's certificate, RSA for a server's
  const char* tls13;
};

constexpr SuiteWords kSuiteWords[] = {
    {"Aes128Gcm", "aes128_gcm",
     "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
     "TLS_AES_128_GCM_SHA256"},
    {"Aes256Gcm", "aes256_gcm",
     "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384",
     "TLS_AES_256_GCM_SHA384"},
    {"ChaCha20", "chacha20_poly1305",
     "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305",
     "TLS_CHACHA20_POLY1305_SHA256"},
};

constexpr const char* kOpensslConsole = "openssl";
constexpr const char* kPlainConsole = "plain";
// Emulated machines are slow; this only ends broken runs.
constexpr int64_t kPatienceMs = 60'000;
constexpr int64_t kPollMs = 5;
constexpr int kIdlePolls = 6000;

const SuiteWords& WordsOf(const LegKind& kind) {
  return kSuiteWords[static_cast<size_t>(kind.suite)];
}

size_t BoringIndex(const LegKind& kind) {
  return kind.version == TLS1_3_VERSION ? kTls13Index
                                        : static_cast<size_t>(kind.suite);
}

std::string BoringConsole(size_t index) {
  return "boring" + std::to_string(index);
}

void Restrict(const PeerTlsContext& context, const LegKind& kind) {
  SSL_CTX_set_min_proto_version(context.get(), kind.version);
  SSL_CTX_set_max_proto_version(context.get(), kind.version);
  if (kind.version == TLS1_2_VERSION) {
    EXPECT_EQ(
        SSL_CTX_set_strict_cipher_list(context.get(), WordsOf(kind).tls12), 1);
  }
}

OpensslSuite OpensslArguments(const LegKind& kind) {
  if (kind.version == TLS1_3_VERSION) {
    return {"-tls1_3", "-ciphersuites", WordsOf(kind).tls13};
  }
  return {"-tls1_2", "-cipher", WordsOf(kind).tls12};
}

std::vector<ChannelKey> OfferedChannels() {
  std::vector<ChannelKey> channels = {{ChannelType::kDisplay, 0},
                                      {ChannelType::kInputs, 0}};
  for (uint8_t id = 0; id < 16; ++id) {
    channels.push_back({ChannelType::kUsbredir, id});
  }
  return channels;
}

std::string ExtraJson(const WorldOptions& options) {
  std::string json = R"(,"relay":{"splice":)";
  json += options.splice ? "true}" : "false}";
  // A host may have kernel TLS all the same.
  json += R"(,"tls":{"offload":")";
  json += ExpectsKernelTls() ? "auto" : "off";
  json += R"(","client_offload":")" + options.client_offload +
          R"(","server_offload":")" + options.server_offload + R"("})";
  return json;
}

using Worlds = std::map<WorldOptions, std::unique_ptr<TlsWorld>>;

Worlds& AllWorlds() {
  static Worlds* const worlds = new Worlds;
  return *worlds;
}

// Ends the worlds while the test framework still lives.
class WorldsEnd : public testing::Environment {
 public:
  void TearDown() override { AllWorlds().clear(); }
};

// Owned by the framework.
const testing::Environment* const kWorldsEnd =
    testing::AddGlobalTestEnvironment(new WorldsEnd);

// Lets the peers go on for a moment.
PeerTask<void> Pause(PeerLoop* loop) { co_await loop->Sleep(kPollMs); }

}  // namespace

bool ExpectsKernelTls() {
  const char* value = std::getenv("SPICEGATE_EXPECT_OFFLOAD");
  return value != nullptr && std::strcmp(value, "both") == 0;
}

uint64_t NumberFromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

std::string LegKind::name() const {
  if (!is_tls()) {
    return "Plain";
  }
  std::string name = version == TLS1_3_VERSION ? "Tls13" : "Tls12";
  if (openssl || version == TLS1_2_VERSION) {
    name += WordsOf(*this).test_name;
  }
  return name;
}

const char* SideName(TlsSide side) {
  return side == TlsSide::kClient ? "client" : "server";
}

bool WorldOptions::operator<(const WorldOptions& other) const {
  const auto key = [](const WorldOptions& o) {
    return std::tie(o.splice, o.client_offload, o.server_offload,
                    o.own_process);
  };
  return key(*this) < key(other);
}

TlsWorld& TlsWorld::For(const WorldOptions& options) {
  std::unique_ptr<TlsWorld>& world = AllWorlds()[options];
  if (world == nullptr) {
    world.reset(new TlsWorld(options));
  }
  return *world;
}

TlsWorld::TlsWorld(const WorldOptions& options)
    : options_(options), directory_(MakeTestDir()) {
  GatewayOptions gateway;
  gateway.limits = {{"preauth_deadline_ms", kPatienceMs},
                    {"server_connect_ms", kPatienceMs},
                    {"server_link_ms", kPatienceMs}};
  gateway.extra_json = ExtraJson(options);
  StartServers(&gateway);
  if (options.own_process) {
    gateway_ = std::make_unique<GatewayProcess>(gateway);
  } else {
    gateway_ = std::make_unique<GatewayInProcess>(gateway);
  }
  for (const LegKind& kind : kBoringLegs) {
    viewer_contexts_.push_back(PeerTlsContext::Client());
    Restrict(viewer_contexts_.back(), kind);
  }
  openssl_viewer_ = std::make_unique<OpensslViewer>(
      &loop_, directory_, gateway_->tls().address.port);
}

TlsWorld::~TlsWorld() {
  gateway_->Stop();
  openssl_viewer_->EndAll();
  openssl_server_->EndAll();
  loop_.Drain();
  opened_.clear();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void TlsWorld::ListenOn(const std::string& console,
                        const PeerTlsContext* context,
                        GatewayOptions* gateway) {
  const PeerAddress address = server_->Listen({}, context);
  GatewayConsole entry = {.name = console, .password = console};
  if (context == nullptr) {
    entry.address = address;
  } else {
    entry.tls_port = address.port;
    entry.ca_pem = pki_.ca_certificate;
  }
  gateway->consoles.push_back(entry);
}

void TlsWorld::StartServers(GatewayOptions* gateway) {
  SyntheticServerOptions options;
  options.consoles = {{kPlainConsole, 1}, {kOpensslConsole, 2}};
  for (size_t i = 0; i < kBoringLegs.size(); ++i) {
    options.consoles.push_back({BoringConsole(i), i + 3});
    server_contexts_.push_back(PeerTlsContext::Server(pki_));
    Restrict(server_contexts_.back(), kBoringLegs[i]);
  }
  options.channels = OfferedChannels();
  options.take_opened = [this](OpenedChannel opened) {
    opened_.push_back(std::move(opened));
  };
  options.behind_result = [this](ChannelKey key) {
    return key.type == ChannelType::kMain ? std::vector<uint8_t>()
                                          : behind_result_;
  };
  server_ = std::make_unique<SyntheticServer>(&loop_, std::move(options));
  ListenOn(kPlainConsole, nullptr, gateway);
  for (size_t i = 0; i < kBoringLegs.size(); ++i) {
    ListenOn(BoringConsole(i), &server_contexts_[i], gateway);
  }
  const std::string inner = directory_ + "/inner.sock";
  server_->Listen({.unix_path = inner});
  openssl_server_ =
      std::make_unique<OpensslServer>(&loop_, directory_, pki_, inner);
  gateway->consoles.push_back({.name = kOpensslConsole,
                               .tls_port = openssl_server_->port(),
                               .ca_pem = pki_.ca_certificate,
                               .password = kOpensslConsole});
}

PeerEndpoint TlsWorld::ViewerEndpoint(const LegKind& kind) {
  if (!kind.is_tls()) {
    return gateway_->plain();
  }
  if (kind.openssl) {
    openssl_viewer_->set_suite(OpensslArguments(kind));
    return openssl_viewer_->endpoint();
  }
  PeerEndpoint endpoint = gateway_->tls();
  endpoint.tls = &viewer_contexts_[BoringIndex(kind)];
  return endpoint;
}

std::string TlsWorld::ConsoleFor(const LegKind& kind) {
  if (!kind.is_tls()) {
    return kPlainConsole;
  }
  if (kind.openssl) {
    openssl_server_->set_suite(OpensslArguments(kind));
    return kOpensslConsole;
  }
  return BoringConsole(BoringIndex(kind));
}

std::unique_ptr<OpenedChannel> TlsWorld::TakeOpened(ChannelKey key) {
  const auto is_it = [key](const OpenedChannel& opened) {
    return opened.key == key;
  };
  const auto deadline =
      PeerClock::now() + std::chrono::milliseconds(kPatienceMs);
  auto found = opened_.end();
  while ((found = std::find_if(opened_.begin(), opened_.end(), is_it)) ==
         opened_.end()) {
    if (PeerClock::now() > deadline) {
      ADD_FAILURE() << "the server has not opened the channel\n"
                    << Complaints();
      return nullptr;
    }
    loop_.Run(Pause(&loop_));
  }
  auto taken = std::make_unique<OpenedChannel>(std::move(*found));
  opened_.erase(found);
  return taken;
}

double TlsWorld::NumClosed(const std::string& reason) {
  return gateway_->Metrics().Value("spicegate_channels_closed_total",
                                   "reason=\"" + reason + "\"");
}

double TlsWorld::NumSpliced() {
  return gateway_->Metrics().Value("spicegate_relay_bytes_total",
                                   "way=\"spliced\"");
}

double TlsWorld::NumRelayed(TlsSide side, const std::string& offload,
                            const LegKind* suite) {
  const GatewayMetrics metrics = gateway_->Metrics();
  double sum = 0;
  for (const uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    for (size_t i = 0; i < std::size(kSuiteWords); ++i) {
      if (suite != nullptr && (suite->version != version ||
                               static_cast<size_t>(suite->suite) != i)) {
        continue;
      }
      sum += metrics.Value(
          "spicegate_tls_connections",
          std::string("leg=\"") + SideName(side) + "\",version=\"" +
              (version == TLS1_3_VERSION ? "1.3" : "1.2") + "\",cipher=\"" +
              kSuiteWords[i].metric + "\",offload=\"" + offload + "\"");
    }
  }
  return sum;
}

std::string TlsWorld::ExpectedOffload(TlsSide side) const {
  if (!ExpectsKernelTls()) {
    return "none";
  }
  return side == TlsSide::kClient ? options_.client_offload
                                  : options_.server_offload;
}

std::string TlsWorld::Complaints() {
  return openssl_viewer_->Complaints() + openssl_server_->Complaints();
}

void TlsWorld::WaitUntilIdle() {
  opened_.clear();
  const auto open = [this] {
    return gateway_->Metrics().Sum("spicegate_channels_open");
  };
  for (int i = 0; i < kIdlePolls && open() != 0; ++i) {
    loop_.Run(Pause(&loop_));
  }
  EXPECT_EQ(open(), 0);
  openssl_viewer_->EndAll();
  openssl_server_->EndAll();
}

}  // namespace spicegate
