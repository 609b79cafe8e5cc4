// SPDX-License-Identifier: Apache-2.0
//
// Migrations of sessions that came through CONNECT: what their clients are
// told, and where those of places that are no console's may lead.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "gateway/session/migration_fixture.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::LinkError;

constexpr MigrationKind kSemi = MigrationKind::kSemiSeamless;
constexpr char kGuestPassword[] = "what its user typed";

class ConnectMigrationTest : public MigrationFixture {
 protected:
  void Allow(const std::string& host) {
    AllowList::Rule rule;
    rule.hosts = {host};
    rule.ports = {{kDestinationPort, kDestinationPort}};
    connect_->allow = *AllowList::Parse({rule});
  }

  // A session at a place that is no console's.
  void OpenMainAtPlace() {
    ticket_text_ = "no ticket of ours";
    make_passage_ = [this] { return PassageTo("hv1:5900", &at_place_); };
    main_ = OpenAtPlace(0);
    main_server_ = std::move(at_place_);
    AnswerLinkOn(&main_server_);
    AnswerTicket(&main_server_, LinkError::kOk, kGuestPassword);
    proto::MainInit init;
    init.session_id = kSessionId;
    main_server_.WriteString(Message(103, proto::EncodeMainInit(init)));
    Run();
  }

  Client* OpenAtPlace(uint32_t connection_id) {
    Client* client = Arrive(ChannelType::kMain, connection_id);
    client->link.kept_ticket = kGuestPassword;
    Accept(client);
    return client;
  }

  void AnnounceTo(const char* host) {
    proto::DstInfo to = Destination();
    to.host = host;
    const Told told = Announce(kSemi, to);
    EXPECT_EQ(told.host, kAliasHost);
    EXPECT_EQ(told.port, kAliasPort);
  }

  void ResolveDestination() {
    SocketAddress address;
    ASSERT_TRUE(NumericAddress("127.0.0.1", kDestinationPort, &address));
    names_.Deliver(asked_, {address});
    Run();
  }

  void ExpectAtDestination(Client* client) {
    ASSERT_EQ(dialler_.dialled(), std::vector<uint16_t>{kDestinationPort});
    SimPeer server = AnswerLink(destination_listener_);
    AnswerTicket(&server, LinkError::kOk, kGuestPassword);
    EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
    there_.server = std::move(server);
  }

  void ExpectRefused(const Client* client, CloseReason reason) {
    EXPECT_EQ(client->refusal, reason);
    EXPECT_TRUE(dialler_.dialled().empty());
    EXPECT_EQ(counters_.migrations_pending.value(), 0);
    ExpectMigrations(kSemi, 0, 1, 0);
  }

  SimPeer at_place_;
};

TEST_F(ConnectMigrationTest, AConsolesClientIsToldTheNameThatLetItThrough) {
  make_passage_ = [this] { return PassageToConsole(); };
  OpenMain();
  const Told told = Announce(kSemi);
  EXPECT_EQ(told.host, kAliasHost);
  EXPECT_EQ(told.port, kAliasPort);
  EXPECT_EQ(told.sport, 0);
  EXPECT_EQ(told.subject, "");
  there_ = LinkThere(ChannelType::kMain);
  SayConnected();
  SourceEnds();
  TakeOver();
  ExpectMigrations(kSemi, 1, 0, 0);
}

TEST_F(ConnectMigrationTest, AServerThatNeverStopsAnnouncingEndsItsSession) {
  make_passage_ = [this] { return PassageToConsole(); };
  OpenMain();
  for (int i = 0; i < kMaxAnnouncements; ++i) {
    EXPECT_EQ(Announce(kSemi).host, kAliasHost);
  }
  // The session goes while its client is still to be told where (ASan).
  Announce(&main_server_, kSemi, Destination());
  EXPECT_TRUE(IsEnded(main_->peer));
  EXPECT_EQ(Closed(CloseReason::kServerGuard), 1);
  EXPECT_EQ(counters_.migrations_pending.value(), 0);
}

TEST_F(ConnectMigrationTest, WithTlsAroundTheProxyItIsStillAPlainPort) {
  client_tls_ = true;
  make_passage_ = [this] { return PassageToConsole(); };
  OpenMain();
  const Told told = Announce(kSemi);
  EXPECT_EQ(told.port, kAliasPort);
  EXPECT_EQ(told.sport, 0);
}

TEST_F(ConnectMigrationTest, APlaceMayMigrateWhereTheListAllows) {
  Allow("127.0.0.0/8");
  OpenMainAtPlace();
  AnnounceTo("127.0.0.1");
  EXPECT_EQ(reached_, "127.0.0.1:5910 5910");
  Client* client = OpenAtPlace(kSessionId);
  ExpectAtDestination(client);
  // The source was connected to as well, before it was known what for.
  EXPECT_TRUE(IsEnded(at_place_));
}

TEST_F(ConnectMigrationTest, NotWhereNoRuleLeads) {
  Allow("192.0.2.0/24");
  OpenMainAtPlace();
  AnnounceTo("127.0.0.1");
  EXPECT_EQ(reached_, "");
  ExpectRefused(OpenAtPlace(kSessionId), CloseReason::kDestinationRefused);
}

TEST_F(ConnectMigrationTest, NotToAnAddressThatNobodyMayReach) {
  Allow("127.0.0.0/8");
  may_reach_ = false;
  OpenMainAtPlace();
  AnnounceTo("127.0.0.1");
  ExpectRefused(OpenAtPlace(kSessionId), CloseReason::kDestinationRefused);
}

TEST_F(ConnectMigrationTest, ANameIsHeldAgainstTheListOnceItIsResolved) {
  Allow(".example.test");
  OpenMainAtPlace();
  AnnounceTo("hv2.example.test");
  Client* client = OpenAtPlace(kSessionId);
  ResolveDestination();
  EXPECT_EQ(reached_, "127.0.0.1:5910 5910 by name");
  ExpectAtDestination(client);
}

TEST_F(ConnectMigrationTest, AListedNameLeadsToNoForbiddenAddress) {
  Allow(".example.test");
  may_reach_ = false;
  OpenMainAtPlace();
  AnnounceTo("hv2.example.test");
  Client* client = OpenAtPlace(kSessionId);
  ResolveDestination();
  ExpectRefused(client, CloseReason::kConnectForbidden);
}

TEST_F(ConnectMigrationTest, WithoutAListThereIsNowhereToGo) {
  OpenMainAtPlace();
  AnnounceTo("hv2.example.test");
  ExpectRefused(OpenAtPlace(kSessionId), CloseReason::kDestinationRefused);
}

}  // namespace
}  // namespace spicegate
