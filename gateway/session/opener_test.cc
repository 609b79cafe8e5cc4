// SPDX-License-Identifier: Apache-2.0
//
// Opening channels against a scripted SPICE server on the simulated network:
// what is sent to whom, and when.
#include "gateway/session/opener.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "gateway/auth/link_key.h"
#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"
#include "proto/main_channel.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::LinkError;

constexpr uint16_t kServerPort = 5900;
constexpr uint32_t kSessionId = 77;
constexpr char kPassword[] = "qemu password";

std::string Message(uint16_t type, std::span<const uint8_t> body) {
  std::array<uint8_t, proto::kMiniHeaderLen> header;
  proto::DataHeader fields;
  fields.type = type;
  fields.size = static_cast<uint32_t>(body.size());
  proto::EncodeDataHeader(proto::HeaderKind::kMini, fields, header);
  return std::string(header.begin(), header.end()) +
         std::string(body.begin(), body.end());
}

std::string DisplayInitMessage() {
  return Message(101, proto::EncodeDisplayInit({}));
}

std::string Result(LinkError error) {
  const auto bytes = proto::EncodeLinkResult(error);
  return std::string(bytes.begin(), bytes.end());
}

const std::shared_ptr<const LinkKey>& ServerKey() {
  static const auto* key =
      new std::shared_ptr<const LinkKey>(LinkKey::Generate());
  return *key;
}

class OpenerTest : public testing::Test {
 protected:
  // One link from the client's side.
  struct Client {
    SimPeer peer;
    Handle opening;
    bool done = false;
    std::optional<CloseReason> refusal;
  };

  OpenerTest() {
    listener_ = network_.Listen(SimAddress(kServerPort));
    Console console;
    console.name = "vm";
    console.host = "127.0.0.1";
    console.port = kServerPort;
    console.ticket = kPassword;
    target_.console = std::make_shared<const Console>(console);
    ticket_text_ = *vault_.Issue("vm", driver_.NowMs());
  }

  ~OpenerTest() override {
    registry_.CloseAll(CloseReason::kShutdown);
    Run();
    // Displays that still linger, links that still wait.
    RunFor(2 * kDisplayCommittedMs + limits_.display_init_ms);
    openings_.InterruptAll(/*committed_too=*/true);
    Run();
    EXPECT_TRUE(registry_.done());
    EXPECT_EQ(openings_.size(), 0u);
    EXPECT_EQ(driver_.OpsInFlight(), 0u);
    driver_.Close(listener_, false);
    EXPECT_EQ(network_.OpenSockets(), 0u);
  }

  void Run(int turns = 60) {
    for (int i = 0; i < turns; ++i) {
      driver_.Wait(0);
      timers_.Advance(driver_.NowMs());
      driver_.Dispatch();
      registry_.RunTurn();
    }
  }

  void RunFor(int64_t ms) {
    network_.AdvanceMs(ms);
    Run();
  }

  Task<void> Serve(Client* client, ClientLink link) {
    TicketClaim ticket = vault_.Claim(link.ticket, driver_.NowMs());
    client->refusal =
        co_await opener_.Open(client->opening, link, std::move(ticket));
    client->done = true;
    if (Opening* opening = openings_.Get(client->opening)) {
      if (opening->client) {
        links_open_.fetch_sub(1);
      }
    }
    openings_.Remove(client->opening);
  }

  // The fixture keeps every client: its coroutine may outlive the test's body.
  Client* Open(ChannelType type, uint32_t connection_id) {
    Client* client = &clients_.emplace_back();
    auto connection = network_.Connection();
    client->peer = std::move(connection.second);
    client->opening =
        openings_.Add(Leg::Plain(&driver_, connection.first), "client:1");
    ClientLink link;
    link.connection_id = connection_id;
    link.channel = {type, 0};
    link.ticket = TicketVault::DigestOf(ticket_text_);
    links_open_.fetch_add(1);
    Spawn(Serve(client, std::move(link)));
    Run();
    return client;
  }

  // The server's side of the newest connection, up to its link reply.
  SimPeer AnswerLink() {
    SimPeer server = network_.AcceptPeer(listener_);
    EXPECT_TRUE(server.open());
    EXPECT_GE(server.ReadAll().size(),
              proto::kLinkHeaderLen + proto::kLinkMessFixedLen);
    std::array<uint8_t, proto::kMaxLinkReplyLen> reply;
    const size_t len =
        proto::EncodeLinkReply(ServerKey()->public_key_der(),
                               proto::ReplyCapsFor(ChannelType::kMain), reply);
    server.WriteString(std::string(reply.begin(), reply.begin() + len));
    Run();
    return server;
  }

  // Takes the ticket and gives `result`.
  void AnswerTicket(SimPeer* server, LinkError result) {
    const std::string auth = server->ReadAll();
    ASSERT_EQ(auth.size(), proto::kAuthMechanismLen + proto::kTicketLen);
    std::array<uint8_t, proto::kTicketLen> ticket;
    std::copy(auth.begin() + proto::kAuthMechanismLen, auth.end(),
              ticket.begin());
    EXPECT_EQ(ServerKey()->Decrypt(ticket).view(), kPassword);
    server->WriteString(Result(result));
    Run();
  }

  // A session with its main channel, whose server has said INIT.
  void OpenMain() {
    main_ = Open(ChannelType::kMain, 0);
    main_server_ = AnswerLink();
    AnswerTicket(&main_server_, LinkError::kOk);
    proto::MainInit init;
    init.session_id = kSessionId;
    main_server_.WriteString(Message(103, proto::EncodeMainInit(init)));
    Run();
    EXPECT_TRUE(main_->done);
    EXPECT_EQ(main_->refusal, std::nullopt);
    EXPECT_EQ(main_->peer.ReadAll().substr(0, 4), Result(LinkError::kOk));
  }

  SimNetwork network_{SimOptions{}};
  SimDriver driver_{&network_};
  TimerWheel timers_{driver_.NowMs()};
  WorkerCounters counters_;
  Limits limits_;
  BufferPool buffers_{&counters_.relay_buffer_bytes};
  TicketVault vault_{TicketVault::Options{}};
  std::atomic<int64_t> links_open_{0};
  NameLookup names_{&timers_,
                    [](Handle, const std::string&, uint16_t, int64_t) {}};
  OpeningTable openings_{64};
  SessionRegistry registry_{{&timers_, &buffers_, &counters_, &limits_},

                            &openings_,
                            &links_open_};
  ConsoleTarget target_;
  ChannelOpener opener_{{&driver_, &timers_, &names_, &counters_, &limits_},
                        &registry_,
                        &openings_,
                        [this](const std::string& name) {
                          return name == "vm" && known_
                                     ? std::optional<ConsoleTarget>(target_)
                                     : std::nullopt;
                        }};
  bool known_ = true;
  int listener_ = -1;
  std::string ticket_text_;
  std::deque<Client> clients_;
  Client* main_ = nullptr;
  SimPeer main_server_;
};

TEST_F(OpenerTest, TheServersResultComesBeforeTheClients) {
  Client* client = Open(ChannelType::kMain, 0);
  SimPeer server = AnswerLink();
  EXPECT_EQ(client->peer.ReadAll(), "");
  AnswerTicket(&server, LinkError::kOk);
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
  EXPECT_EQ(counters_.sessions_open.value(), 1);
}

TEST_F(OpenerTest, ADeadServerGivesNoResult) {
  driver_.Close(listener_, false);
  Client* client = Open(ChannelType::kMain, 0);
  EXPECT_EQ(client->refusal, CloseReason::kServerConnect);
  bool ended = false;
  EXPECT_EQ(client->peer.ReadAll(&ended), "");
  EXPECT_TRUE(ended);
  listener_ = network_.Listen(SimAddress(kServerPort));
}

TEST_F(OpenerTest, ASilentServerGivesNoResultEither) {
  Client* client = Open(ChannelType::kMain, 0);
  SimPeer server = network_.AcceptPeer(listener_);
  RunFor(limits_.server_link_ms + 1);
  EXPECT_EQ(client->refusal, CloseReason::kServerTimeout);
  EXPECT_EQ(client->peer.ReadAll(), "");
}

TEST_F(OpenerTest, ARefusedServerTicketIsNotTheClientsFault) {
  Client* client = Open(ChannelType::kMain, 0);
  SimPeer server = AnswerLink();
  AnswerTicket(&server, LinkError::kPermissionDenied);
  EXPECT_EQ(client->refusal, CloseReason::kServerTicketRefused);
  EXPECT_EQ(client->peer.ReadAll(), "");
}

TEST_F(OpenerTest, AConsoleThatLeftTheDirectoryIsRefused) {
  known_ = false;
  Client* client = Open(ChannelType::kMain, 0);
  EXPECT_EQ(client->refusal, CloseReason::kConsoleUnknown);
  EXPECT_EQ(client->peer.ReadAll(), "");
}

TEST_F(OpenerTest, SecondariesNeedTheirSessionsId) {
  OpenMain();
  Client* stranger = Open(ChannelType::kInputs, kSessionId + 1);
  EXPECT_EQ(stranger->peer.ReadAll(), Result(LinkError::kBadConnectionId));
  Client* unbound = Open(ChannelType::kInputs, 0);
  EXPECT_EQ(unbound->peer.ReadAll(), Result(LinkError::kBadConnectionId));
  stranger->peer.Close();
  unbound->peer.Close();
  Run();
  EXPECT_EQ(stranger->refusal, CloseReason::kBadConnectionId);

  Client* inputs = Open(ChannelType::kInputs, kSessionId);
  SimPeer server = AnswerLink();
  AnswerTicket(&server, LinkError::kOk);
  EXPECT_EQ(inputs->peer.ReadAll(), Result(LinkError::kOk));
}

TEST_F(OpenerTest, AMainLinkWithAnIdIsNoSession) {
  Client* client = Open(ChannelType::kMain, 5);
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kBadConnectionId));
  client->peer.Close();
  Run();
  EXPECT_EQ(client->refusal, CloseReason::kBadConnectionId);
}

TEST_F(OpenerTest, WhatTheServerSaysOfAChannelIsPassedOn) {
  OpenMain();
  Client* client = Open(ChannelType::kWebdav, kSessionId);
  SimPeer server = AnswerLink();
  AnswerTicket(&server, LinkError::kChannelNotAvailable);
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kChannelNotAvailable));
  client->peer.Close();
  Run();
  EXPECT_EQ(client->refusal, CloseReason::kServerRefused);
}

TEST_F(OpenerTest, ADisplaysTicketWaitsForInit) {
  OpenMain();
  Client* client = Open(ChannelType::kDisplay, kSessionId);
  SimPeer server = AnswerLink();
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
  const std::string init = DisplayInitMessage();
  client->peer.WriteString(init.substr(0, init.size() - 1));
  Run();
  EXPECT_EQ(server.ReadAll(), "") << "the ticket went out before INIT was here";
  client->peer.WriteString(init.substr(init.size() - 1));
  Run();
  AnswerTicket(&server, LinkError::kOk);
  EXPECT_EQ(server.ReadAll(), init);
}

TEST_F(OpenerTest, ADisplayClientThatLeavesBeforeInitLeavesNoDisplay) {
  OpenMain();
  Client* client = Open(ChannelType::kDisplay, kSessionId);
  SimPeer server = AnswerLink();
  client->peer.ReadAll();
  client->peer.Close();
  Run();
  EXPECT_EQ(client->refusal, CloseReason::kClientGone);
  bool ended = false;
  EXPECT_EQ(server.ReadAll(&ended), "");
  EXPECT_TRUE(ended);
}

TEST_F(OpenerTest, ACommittedDisplayIsSeenThrough) {
  OpenMain();
  Client* client = Open(ChannelType::kDisplay, kSessionId);
  SimPeer server = AnswerLink();
  client->peer.WriteString(DisplayInitMessage());
  Run();
  // The ticket is out. Now everything goes away but the server.
  client->peer.Reset();
  main_->peer.Reset();
  openings_.InterruptAll(/*committed_too=*/false);
  Run();
  EXPECT_EQ(counters_.sessions_open.value(), 0);
  RunFor(limits_.server_link_ms + 1);
  AnswerTicket(&server, LinkError::kOk);
  bool ended = true;
  EXPECT_EQ(server.ReadAll(&ended), DisplayInitMessage());
  EXPECT_FALSE(ended);
  server.WriteString(Message(3, {}));
  Run();
  server.ReadAll(&ended);
  EXPECT_TRUE(ended);
}

TEST_F(OpenerTest, ACommittedDisplayIsGivenUpAtLastAndCounted) {
  OpenMain();
  Client* client = Open(ChannelType::kDisplay, kSessionId);
  SimPeer server = AnswerLink();
  client->peer.WriteString(DisplayInitMessage());
  Run();
  RunFor(kDisplayCommittedMs - 1);
  EXPECT_FALSE(client->done);
  RunFor(2);
  EXPECT_EQ(client->refusal, CloseReason::kServerTimeout);
  EXPECT_EQ(counters_.display_safe_end[static_cast<size_t>(SafeEnd::kTimedOut)]
                .value(),
            1);
}

TEST_F(OpenerTest, ADisplayThatWaitsForInitEndsWithItsSession) {
  OpenMain();
  Client* client = Open(ChannelType::kDisplay, kSessionId);
  SimPeer server = AnswerLink();
  client->peer.WriteString(DisplayInitMessage().substr(0, 10));
  Run();
  main_->peer.Reset();
  Run();
  EXPECT_EQ(client->refusal, CloseReason::kSessionOver);
  bool ended = false;
  EXPECT_EQ(server.ReadAll(&ended), "")
      << "a ticket for a session that is over";
  EXPECT_TRUE(ended);
}

TEST_F(OpenerTest, SomethingElseThanInitIsRefused) {
  OpenMain();
  Client* client = Open(ChannelType::kDisplay, kSessionId);
  SimPeer server = AnswerLink();
  client->peer.WriteString(Message(4, {}));
  Run();
  EXPECT_EQ(client->refusal, CloseReason::kClientProtocol);
  EXPECT_EQ(server.ReadAll(), "");
}

TEST_F(OpenerTest, ASilentDisplayClientIsLetGo) {
  OpenMain();
  Client* client = Open(ChannelType::kDisplay, kSessionId);
  SimPeer server = AnswerLink();
  RunFor(limits_.display_init_ms + 1);
  EXPECT_EQ(client->refusal, CloseReason::kClientGone);
}

TEST_F(OpenerTest, EndingMainEndsTheSessionAndItsTicket) {
  OpenMain();
  Client* inputs = Open(ChannelType::kInputs, kSessionId);
  SimPeer server = AnswerLink();
  AnswerTicket(&server, LinkError::kOk);
  const TicketDigest digest = TicketVault::DigestOf(ticket_text_);
  EXPECT_TRUE(vault_.Claim(digest, driver_.NowMs()));
  main_server_.Reset();
  Run();
  bool ended = false;
  inputs->peer.ReadAll(&ended);
  EXPECT_TRUE(ended);
  server.ReadAll(&ended);
  EXPECT_TRUE(ended);
  EXPECT_FALSE(vault_.Claim(digest, driver_.NowMs()));
  EXPECT_EQ(counters_.sessions_open.value(), 0);
  EXPECT_EQ(links_open_.load(), 0);
}

TEST_F(OpenerTest, ASecondMainReplacesTheSession) {
  OpenMain();
  Client* old = main_;
  SimPeer old_server = std::move(main_server_);
  OpenMain();
  Run();
  bool ended = false;
  old->peer.ReadAll(&ended);
  EXPECT_TRUE(ended);
  EXPECT_EQ(counters_.sessions_open.value(), 1);
  EXPECT_EQ(
      counters_.channels_closed[static_cast<size_t>(CloseReason::kReplaced)]
          .value(),
      1);
  EXPECT_TRUE(
      vault_.Claim(TicketVault::DigestOf(ticket_text_), driver_.NowMs()));
}

TEST_F(OpenerTest, AServerThatDropsTheOldMainFirstDoesNotEndTheTicket) {
  OpenMain();
  Client* old = main_;
  SimPeer old_server = std::move(main_server_);
  // As spice-server has it: the old session goes while the new main's result
  // is on its way.
  Client* client = Open(ChannelType::kMain, 0);
  SimPeer server = AnswerLink();
  old_server.Close();
  Run();
  old->peer.Close();
  Run();
  EXPECT_EQ(counters_.sessions_open.value(), 0);
  AnswerTicket(&server, LinkError::kOk);
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
  EXPECT_EQ(counters_.sessions_open.value(), 1);
  EXPECT_EQ(
      counters_.channels_closed[static_cast<size_t>(CloseReason::kReplaced)]
          .value(),
      1);
}

TEST_F(OpenerTest, AFailedFirstUseLeavesTheTicketValid) {
  Client* client = Open(ChannelType::kMain, 0);
  network_.AcceptPeer(listener_).Close();
  Run();
  EXPECT_EQ(client->refusal, CloseReason::kServerGone);
  OpenMain();
}

TEST_F(OpenerTest, ATicketMayExpireWhileItsServerIsSlow) {
  limits_.server_link_ms = 200'000;
  Client* client = Open(ChannelType::kMain, 0);
  SimPeer server = AnswerLink();
  RunFor(100'000);  // the ticket was good for 60 s
  vault_.Purge(driver_.NowMs());
  AnswerTicket(&server, LinkError::kOk);
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
  EXPECT_EQ(counters_.sessions_open.value(), 1);
}

TEST_F(OpenerTest, MainLinksUnderWayAreBounded) {
  Open(ChannelType::kMain, 0);
  Open(ChannelType::kMain, 0);
  Client* third = Open(ChannelType::kMain, 0);
  EXPECT_EQ(third->refusal, CloseReason::kTooManyChannels);
  EXPECT_EQ(third->peer.ReadAll(), "");
}

TEST_F(OpenerTest, TheNumberOfChannelsIsBounded) {
  limits_.max_channels_per_session = 2;
  OpenMain();
  Open(ChannelType::kInputs, kSessionId);
  Client* second = Open(ChannelType::kCursor, kSessionId);
  EXPECT_EQ(second->peer.ReadAll(), Result(LinkError::kChannelNotAvailable));
  second->peer.Close();
  Run();
  EXPECT_EQ(second->refusal, CloseReason::kTooManyChannels);
}

}  // namespace
}  // namespace spicegate
