// SPDX-License-Identifier: Apache-2.0
//
// The test peers against each other: what they find in the gateway must not be
// their own doing.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "proto/messages.h"
#include "tests/peer/child_process.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/peer_stream.h"
#include "tests/peer/peer_tls.h"
#include "tests/peer/session_client.h"
#include "tests/peer/spice_client.h"
#include "tests/peer/synthetic_server.h"
#include "tests/peer/ticket_cipher.h"
#include "tests/peer/traffic.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::LinkError;
using Kind = ServerFault::Kind;

SyntheticServerOptions TwoConsoles() {
  SyntheticServerOptions options;
  options.consoles = {{"first", 1}, {"second", 2}};
  options.channels = EveryChannel();
  options.plan = [](proto::ChannelKey key) { return PlanFor(key, 20'000); };
  return options;
}

// A server on one thread, the test's client on another.
class PeerTest : public testing::Test {
 protected:
  void Start(SyntheticServerOptions options) {
    server_.reset();
    thread_ = std::make_unique<PeerThread>();
    thread_->Call([&] {
      server_ = std::make_unique<SyntheticServer>(thread_->loop(),
                                                  std::move(options));
      address_ = server_->Listen({});
      tls_address_ = server_->Listen({}, &server_tls_);
    });
  }
  void TearDown() override {
    if (thread_ != nullptr) {
      thread_->Stop();
    }
  }

  SpiceClient Client() { return SpiceClient(&loop_, {.address = address_}); }
  SpiceClient TlsClient() {
    return SpiceClient(&loop_, {.address = tls_address_, .tls = &client_tls_});
  }
  // Turns the client's loop until the server's totals are as wanted.
  void WaitFor(const std::function<bool(const ServerTotals&)>& reached) {
    loop_.Run(PollFor(reached));
    EXPECT_TRUE(reached(server_->Totals()));
  }
  PeerTask<void> PollFor(std::function<bool(const ServerTotals&)> reached) {
    for (int i = 0; i < 2000 && !reached(server_->Totals()); ++i) {
      co_await loop_.Sleep(5);
    }
  }

  const PeerTlsContext server_tls_ = PeerTlsContext::Server(MakePeerPki());
  const PeerTlsContext client_tls_ = PeerTlsContext::Client();
  PeerLoop loop_;
  std::unique_ptr<PeerThread> thread_;
  std::unique_ptr<SyntheticServer> server_;
  PeerAddress address_;
  PeerAddress tls_address_;
};

TEST(TrafficTest, PatternIsTheSameInAnyPieces) {
  std::vector<uint8_t> whole(1000);
  FillPattern(7, 3, whole);
  std::vector<uint8_t> pieces(1000);
  for (size_t at = 0; at < pieces.size(); at += 13) {
    const size_t len = std::min<size_t>(13, pieces.size() - at);
    FillPattern(7, 3 + at, std::span(pieces).subspan(at, len));
  }
  EXPECT_EQ(whole, pieces);
  EXPECT_EQ(MatchPattern(7, 3, whole), whole.size());
  whole[640] ^= 1;
  EXPECT_EQ(MatchPattern(7, 3, whole), 640u);
  EXPECT_EQ(MatchPattern(8, 3, pieces), 0u);
}

TEST(TrafficTest, ReaderFindsALostByte) {
  const TrafficShape shape = {proto::kMsgDisplayDrawCopy, 100};
  TrafficWriter writer(5, shape, 1000);
  std::vector<uint8_t> bytes;
  for (auto piece = writer.Next(300); !piece.empty();
       piece = writer.Next(300)) {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
  }
  TrafficReader good(5, shape, 1000, {});
  EXPECT_TRUE(good.Feed(bytes));
  EXPECT_TRUE(good.done());

  bytes.erase(bytes.begin() + 500);
  TrafficReader bad(5, shape, 1000, {});
  EXPECT_FALSE(bad.Feed(bytes));
  EXPECT_FALSE(bad.done());
  EXPECT_FALSE(bad.error().empty());
}

TEST(TicketCipherTest, RoundTripsEveryLength) {
  const PeerTicketKey key;
  EXPECT_TRUE(proto::IsLinkKey(key.public_der()));
  for (size_t len = 0; len <= proto::kMaxTicketPlaintextLen; ++len) {
    const std::vector<uint8_t> plaintext(len, 'x');
    const auto ticket = EncryptTicket(key.public_der(), plaintext);
    ASSERT_TRUE(ticket.has_value()) << len;
    EXPECT_EQ(key.Decrypt(*ticket), plaintext) << len;
  }
  EXPECT_FALSE(
      EncryptTicket(key.public_der(), std::vector<uint8_t>(87)).has_value());
  EXPECT_FALSE(key.Decrypt(PeerTicket{}).has_value());
}

TEST_F(PeerTest, WholeSessionPlain) {
  Start(TwoConsoles());
  SessionOptions options;
  options.endpoint.address = address_;
  options.password = "second";
  options.console_seed = 2;
  options.plan = [](proto::ChannelKey key) { return PlanFor(key, 20'000); };
  const SessionReport report = loop_.Run(RunSession(&loop_, &options));
  EXPECT_EQ(report.error, "");
  EXPECT_EQ(report.num_channels, 1 + EveryChannel().size());
  WaitFor([](const ServerTotals& t) { return t.num_channels_open == 0; });
  const ServerTotals totals = server_->Totals();
  EXPECT_EQ(totals.num_channels_complete, 1 + EveryChannel().size());
  EXPECT_EQ(totals.first_error, "");
  EXPECT_EQ(totals.num_would_have_crashed, 0u);
  for (size_t type = 0; type < proto::kNumChannelTypes; ++type) {
    EXPECT_EQ(totals.bytes[type].to_client, report.bytes[type].to_client);
    EXPECT_EQ(totals.bytes[type].to_server, report.bytes[type].to_server);
  }
}

TEST_F(PeerTest, WholeSessionOverTls) {
  Start(TwoConsoles());
  SessionOptions options;
  options.endpoint = {.address = tls_address_, .tls = &client_tls_};
  options.password = "first";
  options.console_seed = 1;
  options.plan = [](proto::ChannelKey key) { return PlanFor(key, 20'000); };
  const SessionReport report = loop_.Run(RunSession(&loop_, &options));
  EXPECT_EQ(report.error, "");
  WaitFor([](const ServerTotals& t) { return t.num_channels_open == 0; });
  EXPECT_EQ(server_->Totals().num_channels_complete, 1 + EveryChannel().size());
}

TEST_F(PeerTest, WrongConsoleIsSeen) {
  Start(TwoConsoles());
  SessionOptions options;
  options.endpoint.address = address_;
  options.password = "second";
  options.console_seed = 1;  // The other console's pattern.
  options.plan = [](proto::ChannelKey key) { return PlanFor(key, 20'000); };
  const SessionReport report = loop_.Run(RunSession(&loop_, &options));
  EXPECT_NE(report.error, "");
}

TEST_F(PeerTest, UnixSocket) {
  Start(TwoConsoles());
  const std::string directory = MakeTestDir();
  const std::string path = directory + "/peer.sock";
  thread_->Call([&] { server_->Listen({.unix_path = path}); });
  SpiceClient client(&loop_, {.address = {.unix_path = path}});
  EXPECT_TRUE(client.Link({.password = "first"}).open);
  std::filesystem::remove_all(directory);
}

TEST_F(PeerTest, RefusesLikeSpiceServer) {
  Start(TwoConsoles());
  SpiceClient wrong_ticket = Client();
  LinkOutcome outcome = wrong_ticket.Link({.password = "third"});
  EXPECT_EQ(outcome.result(), LinkError::kPermissionDenied);
  EXPECT_EQ(outcome.end, PeerEnd::kFin);

  SpiceClient wrong_id = Client();
  outcome = wrong_id.Link({.channel = {ChannelType::kInputs, 0},
                           .connection_id = 0xabcd,
                           .password = "first"});
  EXPECT_EQ(outcome.result(), LinkError::kBadConnectionId);

  SpiceClient wrong_magic = Client();
  LinkRequest request;
  request.bugs.magic = {'N', 'O', 'P', 'E'};
  outcome = wrong_magic.Link(request);
  EXPECT_EQ(outcome.reply_error(), LinkError::kInvalidMagic);
}

TEST_F(PeerTest, ByteAtATime) {
  Start(TwoConsoles());
  SpiceClient client = TlsClient();
  LinkRequest request = {.password = "first"};
  request.bugs.byte_at_a_time = true;
  EXPECT_TRUE(client.Link(request).open);
}

TEST_F(PeerTest, LegacyClientWithoutMechanism) {
  Start(TwoConsoles());
  SpiceClient client = Client();
  EXPECT_TRUE(client.Link({.password = "first", .common_caps = {0x08}}).open);
}

TEST_F(PeerTest, CountsADisplayThatLeavesEarly) {
  Start(TwoConsoles());
  SpiceClient main = Client();
  ASSERT_TRUE(main.Link({.password = "first"}).open);
  const auto greeting = loop_.Run(GreetMain(&main));
  ASSERT_TRUE(greeting.has_value());
  const LinkRequest request = {.channel = {ChannelType::kDisplay, 0},
                               .connection_id = greeting->init.session_id,
                               .password = "first"};
  SpiceClient before = Client();
  ASSERT_TRUE(before.Link(request).open);
  before.HalfClose();
  WaitFor([](const ServerTotals& t) { return t.num_would_have_crashed == 1; });

  SpiceClient behind = Client();
  ASSERT_TRUE(behind.Link(request).open);
  EXPECT_EQ(loop_.Run(SendDisplayInit(&behind)), 0);
  behind.Reset();
  WaitFor([](const ServerTotals& t) { return t.num_would_have_crashed == 2; });

  SpiceClient good = Client();
  ASSERT_TRUE(good.Link(request).open);
  EXPECT_EQ(loop_.Run(SendDisplayInit(&good)), 0);
  EXPECT_TRUE(good.ReadUntil(proto::kMsgSetAck).has_value());
  good.Close();
  WaitFor([](const ServerTotals& t) { return t.num_channels_open == 1; });
  EXPECT_EQ(server_->Totals().num_would_have_crashed, 2u);
}

TEST_F(PeerTest, EveryFaultIsVisible) {
  const std::vector<ServerFault> faults = {
      {Kind::kCloseOnAccept}, {Kind::kResetOnAccept}, {Kind::kNotSpice},
      {Kind::kReplyError, 5}, {Kind::kZeroKey},       {Kind::kNoResult},
      {Kind::kGarbageKey},    {Kind::kResult, 7},     {Kind::kResult, 8},
      {Kind::kCutAt, 0},      {Kind::kCutAt, 100},    {Kind::kCutAt, 202},
      {Kind::kCutAt, 205},
  };
  for (const ServerFault& fault : faults) {
    SyntheticServerOptions options = TwoConsoles();
    options.fault = fault;
    Start(options);
    SpiceClient client = Client();
    client.set_timeout_ms(200);
    EXPECT_FALSE(client.Link({.password = "first"}).open)
        << static_cast<int>(fault.kind) << " " << fault.value;
    thread_->Stop();
  }
}

}  // namespace
}  // namespace spicegate
