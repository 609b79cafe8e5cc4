// SPDX-License-Identifier: Apache-2.0
//
// Migrations up to the hand-over: what the client is told, where its links go,
// and what is left of one that comes to nothing.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "gateway/session/migration_fixture.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::LinkError;

constexpr MigrationKind kSemi = MigrationKind::kSemiSeamless;
constexpr MigrationKind kSeamless = MigrationKind::kSeamless;

class RegistryMigrationTest : public MigrationFixture {
 protected:
  void ForbidDestination() {
    migrations_.destinations =
        *Destinations::Parse({"10.1.0.0/16", ".example.org"});
  }
  int64_t ConnectionIdRefusals() const {
    return Refusals(ChannelType::kMain, GuardRule::kConnectionId);
  }
  // A main link with the session's id gets result 8.
  void ExpectMainLinkRefused() {
    const size_t num_dialled = dialler_.dialled().size();
    const int64_t num_refusals = ConnectionIdRefusals();
    Client* client = Open(ChannelType::kMain, kSessionId);
    EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kBadConnectionId));
    client->peer.Close();
    Run();
    EXPECT_EQ(client->refusal, CloseReason::kBadConnectionId);
    EXPECT_EQ(ConnectionIdRefusals(), num_refusals + 1);
    EXPECT_EQ(dialler_.dialled().size(), num_dialled);
  }
  // A link that failed without a word to the client.
  static void ExpectFailed(Client* client, CloseReason reason) {
    EXPECT_TRUE(client->done);
    EXPECT_EQ(client->refusal, reason);
    EXPECT_EQ(client->peer.ReadAll(), "");
    EXPECT_TRUE(IsEnded(client->peer));
  }
};

TEST_F(RegistryMigrationTest, AClientOfTlsIsToldTheTlsPort) {
  client_tls_ = true;
  OpenMain();
  proto::DstInfo to = Destination();
  to.sport = 5911;
  to.cert_subject = "O=Hypervisors,CN=hv2";
  to.src_mig_version = 7;
  const Told told = Announce(kSeamless, to);
  EXPECT_EQ(told.type, proto::kMsgMainMigrateBeginSeamless);
  EXPECT_EQ(told.host, kPlaceHost);
  EXPECT_EQ(told.port, 0);
  EXPECT_EQ(told.sport, kPlaceTlsPort);
  EXPECT_EQ(told.subject, kPlaceSubject);
  EXPECT_EQ(told.version, 7u);
  EXPECT_EQ(counters_.migrations_pending.value(), 1);
}

TEST_F(RegistryMigrationTest, AClientInPlainIsToldThePlainPort) {
  OpenMain();
  proto::DstInfo to = Destination();
  to.sport = 5911;
  to.cert_subject = "O=Hypervisors,CN=hv2";
  const Told told = Announce(kSemi, to);
  EXPECT_EQ(told.type, proto::kMsgMainMigrateBegin);
  EXPECT_EQ(told.host, kPlaceHost);
  EXPECT_EQ(told.port, kPlacePort);
  EXPECT_EQ(told.sport, 0);
  EXPECT_EQ(told.subject, "");
  EXPECT_EQ(counters_.migrations_pending.value(), 1);
}

TEST_F(RegistryMigrationTest, TheMainLinkGoesThereWithItsTicket) {
  OpenMain();
  Announce(kSemi);
  Client* client = Open(ChannelType::kMain, kSessionId);
  SimPeer server = AnswerLink(destination_listener_);
  const auto asked = proto::ParseLinkMess(
      std::span(reinterpret_cast<const uint8_t*>(link_message_.data()),
                link_message_.size())
          .subspan(proto::kLinkHeaderLen));
  ASSERT_TRUE(asked.has_value());
  EXPECT_EQ(asked->connection_id, kSessionId);
  EXPECT_EQ(asked->key(), (proto::ChannelKey{ChannelType::kMain, 0}));
  EXPECT_EQ(client->peer.ReadAll(), "");
  AnswerTicket(&server, LinkError::kOk, kDestinationPassword);
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
  EXPECT_EQ(counters_.sessions_open.value(), 1);
  EXPECT_FALSE(IsEnded(main_->peer));
  EXPECT_EQ(dialler_.dialled(),
            (std::vector<uint16_t>{kServerPort, kDestinationPort}));
}

TEST_F(RegistryMigrationTest, WithoutItsOwnTicketTheConsolesGoesThere) {
  Console console = *target_.console;
  console.destination_ticket.reset();
  target_.console = std::make_shared<const Console>(console);
  OpenMain();
  Announce(kSemi);
  Open(ChannelType::kMain, kSessionId);
  SimPeer server = AnswerLink(destination_listener_);
  AnswerTicket(&server, LinkError::kOk, kPassword);
}

TEST_F(RegistryMigrationTest, OneMainLinkIsTaken) {
  OpenMain();
  ExpectMainLinkRefused();
  Announce(kSemi);
  Client* first = Open(ChannelType::kMain, kSessionId);
  // While the first is under way, and once it is through.
  ExpectMainLinkRefused();
  SimPeer server = AnswerLink(destination_listener_);
  AnswerTicket(&server, LinkError::kOk, kDestinationPassword);
  EXPECT_EQ(first->peer.ReadAll(), Result(LinkError::kOk));
  ExpectMainLinkRefused();
  EXPECT_EQ(counters_.migrations_pending.value(), 1);
  EXPECT_FALSE(IsEnded(server));
}

TEST_F(RegistryMigrationTest, AStrangersTicketOrIdIsNoMainLink) {
  OpenMain();
  Announce(kSemi);
  Client* stranger = Open(ChannelType::kMain, kSessionId + 1);
  EXPECT_EQ(stranger->peer.ReadAll(), Result(LinkError::kBadConnectionId));
  EXPECT_EQ(ConnectionIdRefusals(), 1);
  // It takes nobody's place.
  LinkThere(ChannelType::kMain);
}

TEST_F(RegistryMigrationTest, LinksGoThereWhileTheClientIsLinking) {
  OpenMain();
  Announce(kSemi);
  LinkHere(ChannelType::kInputs);  // main is not there yet
  there_ = LinkThere(ChannelType::kMain);
  const Link inputs = LinkThere(ChannelType::kInputs);
  const Link display = LinkThere(ChannelType::kDisplay);
  SayConnected();
  LinkHere(ChannelType::kCursor);
  EXPECT_EQ(counters_.migrations_pending.value(), 1);
  EXPECT_FALSE(IsEnded(inputs.server) || IsEnded(display.server));
}

TEST_F(RegistryMigrationTest, ASeamlessClientSaysSoInItsOwnWord) {
  BeginMigration(kSeamless);
  LinkThere(ChannelType::kInputs);
  Say(&main_->peer, Message(proto::kMsgcMainMigrateConnectedSeamless, {}));
  LinkHere(ChannelType::kCursor);
}

TEST_F(RegistryMigrationTest, WhatThePolicyForbidsIsMuteThere) {
  Console console = *target_.console;
  console.policy.refused_channels =
      1u << static_cast<unsigned>(ChannelType::kUsbredir);
  target_.console = std::make_shared<const Console>(console);
  BeginMigration(kSemi);
  // Viewers give up when one of their links fails.
  Link usb = LinkThere(ChannelType::kUsbredir);
  SayConnected();
  SourceEnds();
  TakeOver();
  Say(&usb.client->peer, TextMessage(proto::kMsgcSpicevmcData, "hello"));
  Say(&usb.server, TextMessage(proto::kMsgSpicevmcData, "hello"));
  EXPECT_EQ(usb.server.ReadAll(), "");
  EXPECT_EQ(usb.client->peer.ReadAll(), "");
  ExpectMigrations(kSemi, 1, 0, 0);
}

TEST_F(RegistryMigrationTest, ADestinationThatIsNotAllowedIsNeverDialled) {
  ForbidDestination();
  OpenMain();
  const Told told = Announce(kSemi);
  EXPECT_EQ(told.host, kPlaceHost);
  Client* client = Open(ChannelType::kMain, kSessionId);
  ExpectFailed(client, CloseReason::kDestinationRefused);
  EXPECT_EQ(dialler_.dialled(), std::vector<uint16_t>{kServerPort});
  ExpectMigrations(kSemi, 0, 1, 0);
  ExpectAtSource();
}

TEST_F(RegistryMigrationTest, ADestinationWithoutThePortWeNeedNeither) {
  OpenMain();
  proto::DstInfo to = Destination();
  to.port = 0;
  to.sport = 5911;
  Announce(kSeamless, to);
  Client* client = Open(ChannelType::kMain, kSessionId);
  ExpectFailed(client, CloseReason::kDestinationRefused);
  EXPECT_EQ(dialler_.dialled(), std::vector<uint16_t>{kServerPort});
  ExpectMigrations(kSeamless, 0, 1, 0);
  ExpectAtSource();
}

TEST_F(RegistryMigrationTest, ADestinationThatIsNotThereFailsIt) {
  OpenMain();
  proto::DstInfo to = Destination();
  to.port = kDestinationPort + 1;
  Announce(kSemi, to);
  ExpectFailed(Open(ChannelType::kMain, kSessionId),
               CloseReason::kServerConnect);
  ExpectMigrations(kSemi, 0, 1, 0);
  ExpectMainLinkRefused();
  ExpectAtSource();
}

TEST_F(RegistryMigrationTest, ARefusedTicketFailsIt) {
  OpenMain();
  Announce(kSemi);
  Client* client = Open(ChannelType::kMain, kSessionId);
  SimPeer server = AnswerLink(destination_listener_);
  AnswerTicket(&server, LinkError::kPermissionDenied, kDestinationPassword);
  ExpectFailed(client, CloseReason::kServerTicketRefused);
  EXPECT_TRUE(IsEnded(server));
  ExpectMigrations(kSemi, 0, 1, 0);
  ExpectAtSource();
}

TEST_F(RegistryMigrationTest, AFailingLinkTakesTheOthersAlongMainFirst) {
  BeginMigration(kSemi);
  Link display = LinkThere(ChannelType::kDisplay);
  Client* waiting = Open(ChannelType::kInputs, kSessionId);
  SimPeer waiting_server = AnswerLink(destination_listener_);
  Client* failing = Open(ChannelType::kCursor, kSessionId);
  network_.AcceptPeer(destination_listener_).Close();
  Run();
  ExpectFailed(failing, CloseReason::kServerGone);
  EXPECT_TRUE(IsEnded(waiting_server));
  EXPECT_TRUE(IsEnded(there_.server) && IsEnded(display.server));
  ExpectMainEndedFirst(display);
  ExpectFailed(waiting, CloseReason::kMigrationOver);
  EXPECT_TRUE(IsEnded(there_.client->peer) && IsEnded(display.client->peer));
  EXPECT_EQ(Closed(CloseReason::kMigrationOver), 2);
  EXPECT_EQ(display.server.ReadAll(), "") << "an INIT for a parked display";
  EXPECT_EQ(SafeEnds(SafeEnd::kNotNeeded), 1);
  ExpectMigrations(kSemi, 0, 1, 0);
  ExpectAtSource();
}

TEST_F(RegistryMigrationTest, ASilentDestinationHasItsTime) {
  OpenMain();
  Announce(kSemi);
  Client* client = Open(ChannelType::kMain, kSessionId);
  SimPeer server = network_.AcceptPeer(destination_listener_);
  RunFor(limits_.migration_link_ms - 1);
  EXPECT_FALSE(client->done);
  RunFor(2);
  ExpectFailed(client, CloseReason::kServerTimeout);
  ExpectMigrations(kSemi, 0, 1, 0);
  ExpectAtSource();
}

TEST_F(RegistryMigrationTest, TheTimeIsForTheWholeLink) {
  OpenMain();
  Announce(kSemi);
  Client* client = Open(ChannelType::kMain, kSessionId);
  RunFor(limits_.migration_link_ms - 1);
  SimPeer server = AnswerLink(destination_listener_);
  EXPECT_FALSE(client->done);
  RunFor(2);
  ExpectFailed(client, CloseReason::kServerTimeout);
  ExpectMigrations(kSemi, 0, 1, 0);
}

TEST_F(RegistryMigrationTest, ADisplayThatHangsThereFailsItInTime) {
  BeginMigration(kSemi);
  Client* client = Open(ChannelType::kDisplay, kSessionId);
  SimPeer server = AnswerLink(destination_listener_);
  RunFor(limits_.migration_link_ms + 1);
  ExpectFailed(client, CloseReason::kServerTimeout);
  EXPECT_TRUE(IsEnded(there_.server) && IsEnded(server));
  ExpectMigrations(kSemi, 0, 1, 0);
  ExpectAtSource();
}

TEST_F(RegistryMigrationTest, LinksToTheSourceKeepTheirOwnTime) {
  OpenMain();
  Announce(kSemi);
  Client* client = Open(ChannelType::kInputs, kSessionId);
  SimPeer server = network_.AcceptPeer(listener_);
  RunFor(limits_.migration_link_ms + 1);
  EXPECT_FALSE(client->done);
  EXPECT_EQ(counters_.migrations_pending.value(), 1);
}

TEST_F(RegistryMigrationTest, AClientThatCouldNotConnectFailsIt) {
  BeginMigration(kSemi);
  Say(&main_->peer, Message(proto::kMsgcMainMigrateConnectError, {}));
  EXPECT_TRUE(IsEnded(there_.server));
  EXPECT_EQ(main_server_.ReadAll(),
            Message(proto::kMsgcMainMigrateConnectError, {}));
  ExpectMigrations(kSemi, 0, 1, 0);
  ExpectAtSource();
}

TEST_F(RegistryMigrationTest, AClientThatConnectsBehindItsWordFailsIt) {
  BeginMigration(kSemi);
  Client* display = Open(ChannelType::kDisplay, kSessionId);
  SimPeer server = AnswerLink(destination_listener_);
  SayConnected();
  EXPECT_TRUE(display->done);
  EXPECT_TRUE(IsEnded(there_.server) && IsEnded(server));
  ExpectMigrations(kSemi, 0, 1, 0);
  ExpectAtSource();
}

TEST_F(RegistryMigrationTest, ACancelledOneIsOver) {
  BeginMigration(kSeamless);
  Link display = LinkThere(ChannelType::kDisplay);
  Say(&main_server_, Message(proto::kMsgMainMigrateCancel, {}));
  ExpectMainEndedFirst(display);
  EXPECT_TRUE(IsEnded(there_.server) && IsEnded(display.server));
  EXPECT_TRUE(IsEnded(there_.client->peer) && IsEnded(display.client->peer));
  EXPECT_EQ(Closed(CloseReason::kMigrationOver), 2);
  EXPECT_EQ(main_->peer.ReadAll(), Message(proto::kMsgMainMigrateCancel, {}));
  ExpectMigrations(kSeamless, 0, 0, 1);
  ExpectMainLinkRefused();
  ExpectAtSource();
  // And another one may begin.
  Announce(kSeamless);
  LinkThere(ChannelType::kMain);
}

TEST_F(RegistryMigrationTest, ASecondOneTakesThePlaceOfTheFirst) {
  BeginMigration(kSemi);
  Client* waiting = Open(ChannelType::kInputs, kSessionId);
  SimPeer waiting_server = AnswerLink(destination_listener_);
  const Told told = Announce(kSemi);
  EXPECT_EQ(told.host, kPlaceHost);
  EXPECT_TRUE(waiting->done);
  EXPECT_TRUE(IsEnded(there_.server) && IsEnded(waiting_server));
  ExpectMigrations(kSemi, 0, 0, 1);
  EXPECT_EQ(counters_.migrations_pending.value(), 1);
  // What fails of the first is nothing to the second.
  there_ = LinkThere(ChannelType::kMain);
  EXPECT_EQ(counters_.migrations_pending.value(), 1);
  SayConnected();
  SourceEnds();
  TakeOver();
  ExpectMigrations(kSemi, 1, 0, 1);
}

TEST_F(RegistryMigrationTest, ASessionThatEndsTakesItsMigrationAlong) {
  BeginMigration(kSemi);
  Link display = LinkThere(ChannelType::kDisplay);
  Client* waiting = Open(ChannelType::kInputs, kSessionId);
  SimPeer waiting_server = AnswerLink(destination_listener_);
  main_->peer.Reset();
  Run();
  EXPECT_EQ(waiting->refusal, CloseReason::kSessionOver);
  EXPECT_TRUE(IsEnded(waiting_server));
  EXPECT_TRUE(IsEnded(there_.server) && IsEnded(display.server));
  ExpectMainEndedFirst(display);
  ExpectMigrations(kSemi, 0, 1, 0);
  ExpectGaugesAtRest();
}

TEST_F(RegistryMigrationTest, ASourceThatDiesBeforeTheHandOverEndsTheSession) {
  BeginMigration(kSemi);
  SayConnected();
  main_server_.Reset();
  Run();
  EXPECT_TRUE(IsEnded(there_.server));
  ExpectMigrations(kSemi, 0, 1, 0);
  ExpectGaugesAtRest();
}

TEST_F(RegistryMigrationTest, AnEarlyDialToTheSourceIsNoLinkThere) {
  OpenMain();
  Announce(kSemi);
  Client* client = Arrive(ChannelType::kInputs, kSessionId);
  const auto home = connections_.Find(kSessionId);
  ASSERT_TRUE(home.has_value());
  Opening* opening = openings_.Get(client->opening);
  opening->early_dial = {home->worker, /*worker=*/1, client->opening};
  early_dials_.Begin({opening->early_dial, home->session,
                      opening->client_address, RequestFor(client->link),
                      driver_.NowMs() + 10'000});
  Run();
  EXPECT_EQ(dialler_.dialled().back(), kServerPort);
  SimPeer early_server = AnswerLink();
  there_ = LinkThere(ChannelType::kMain);
  Accept(client);
  EXPECT_EQ(dialler_.dialled().back(), kDestinationPort);
  EXPECT_TRUE(IsEnded(early_server));
  SimPeer server = AnswerLink(destination_listener_);
  AnswerTicket(&server, LinkError::kOk, kDestinationPassword);
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
}

TEST_F(RegistryMigrationTest, NamesThatAServerGivesAgainLeaveNoTrace) {
  OpenMain();
  proto::MainInit init;
  for (init.session_id = 1000; init.session_id < 1010; ++init.session_id) {
    Say(&main_server_, Message(103, proto::EncodeMainInit(init)));
  }
  EXPECT_EQ(connections_.Find(kSessionId), std::nullopt);
  EXPECT_EQ(connections_.Find(1008), std::nullopt);
  EXPECT_TRUE(connections_.Find(1009).has_value());
  main_->peer.Reset();
  Run();
  EXPECT_EQ(connections_.Find(1009), std::nullopt);
}

TEST_F(RegistryMigrationTest, ADestinationGivesTheSessionNoNameTooEarly) {
  BeginMigration(kSemi);
  proto::MainInit init;
  init.session_id = kSessionId + 1;
  Say(&there_.server, Message(103, proto::EncodeMainInit(init)));
  EXPECT_TRUE(connections_.Find(kSessionId).has_value());
  EXPECT_EQ(connections_.Find(kSessionId + 1), std::nullopt);
}

}  // namespace
}  // namespace spicegate
