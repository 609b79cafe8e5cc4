// SPDX-License-Identifier: Apache-2.0
//
// SWITCH_HOST: the client closes everything and comes back with its ticket, to
// be led to where its desktop went.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gateway/base/limits.h"
#include "gateway/session/migration_fixture.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::LinkError;

constexpr MigrationKind kSwitch = MigrationKind::kSwitchHost;

class SwitchHostTest : public MigrationFixture {
 protected:
  SwitchHostTest() { OpenMain(); }

  bool TicketIsValid() {
    return static_cast<bool>(
        vault_.Claim(TicketVault::DigestOf(ticket_text_), driver_.NowMs()));
  }

  // The client does as it was told, and closes everything.
  void Leave() {
    main_->peer.Close();
    main_server_.Close();
    Run();
    EXPECT_EQ(counters_.sessions_open.value(), 0);
  }

  // It is back: a new session at the destination.
  void ComeBack() {
    Client* client = Open(ChannelType::kMain, 0);
    EXPECT_EQ(dialler_.dialled().back(), kDestinationPort);
    there_.client = client;
    there_.server = AnswerLink(destination_listener_);
    AnswerTicket(&there_.server, LinkError::kOk, kDestinationPassword);
    EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
    proto::MainInit init;
    init.session_id = kSessionId;
    Say(&there_.server, Message(103, proto::EncodeMainInit(init)));
    EXPECT_EQ(counters_.sessions_open.value(), 1);
  }
};

TEST_F(SwitchHostTest, TheClientIsToldOurPlace) {
  proto::DstInfo to = Destination();
  to.sport = 5911;
  const Told told = Announce(kSwitch, to);
  EXPECT_EQ(told.type, proto::kMsgMainMigrateSwitchHost);
  EXPECT_EQ(told.host, kPlaceHost);
  EXPECT_EQ(told.port, kPlacePort);
  EXPECT_EQ(told.sport, 0);
  // It stays where it is until it leaves.
  EXPECT_EQ(counters_.migrations_pending.value(), 0);
  LinkHere(ChannelType::kCursor);
}

TEST_F(SwitchHostTest, AClientThatIsBackIsLedThere) {
  Announce(kSwitch);
  Leave();
  EXPECT_EQ(Closed(CloseReason::kMigrated), 1);
  EXPECT_EQ(counters_.migrations_pending.value(), 1);
  RunFor(kSwitchHostMs - 1);
  EXPECT_TRUE(TicketIsValid());
  ComeBack();
  ExpectMigrations(kSwitch, 1, 0, 0);
  EXPECT_EQ(counters_.migrations_pending.value(), 0);
  EXPECT_EQ(counters_.migration_duration_ms.value(), kSwitchHostMs - 1);
  LinkThere(ChannelType::kInputs);
  // For good: the time is over, the session is not.
  RunFor(kSwitchHostMs);
  EXPECT_EQ(counters_.sessions_open.value(), 1);
  ExpectMigrations(kSwitch, 1, 0, 0);
}

TEST_F(SwitchHostTest, OneThatIsBackBeforeItsOldSessionIsGoneAsWell) {
  Announce(kSwitch);
  ComeBack();
  EXPECT_TRUE(IsEnded(main_->peer) && IsEnded(main_server_));
  EXPECT_EQ(Closed(CloseReason::kMigrated), 1);
  ExpectMigrations(kSwitch, 1, 0, 0);
  EXPECT_EQ(counters_.migrations_pending.value(), 0);
}

TEST_F(SwitchHostTest, TooLateIsTooLate) {
  Announce(kSwitch);
  Leave();
  RunFor(kSwitchHostMs);
  ExpectMigrations(kSwitch, 0, 1, 0);
  EXPECT_EQ(counters_.migrations_pending.value(), 0);
  EXPECT_FALSE(TicketIsValid());
}

TEST_F(SwitchHostTest, AReturnThatFailsMayBeTriedAgain) {
  Announce(kSwitch);
  Leave();
  Client* client = Open(ChannelType::kMain, 0);
  network_.AcceptPeer(destination_listener_).Close();
  Run();
  EXPECT_EQ(client->refusal, CloseReason::kServerGone);
  EXPECT_EQ(counters_.migrations_pending.value(), 1);
  ComeBack();
  ExpectMigrations(kSwitch, 1, 0, 0);
}

TEST_F(SwitchHostTest, ADestinationThatIsNotAllowedIsNeverDialled) {
  migrations_.destinations = *Destinations::Parse({".example.org"});
  Announce(kSwitch);
  // Before the old session is gone, and after.
  EXPECT_EQ(Open(ChannelType::kMain, 0)->refusal,
            CloseReason::kDestinationRefused);
  Leave();
  Client* client = Open(ChannelType::kMain, 0);
  EXPECT_EQ(client->refusal, CloseReason::kDestinationRefused);
  EXPECT_EQ(client->peer.ReadAll(), "");
  EXPECT_EQ(dialler_.dialled(), std::vector<uint16_t>{kServerPort});
  RunFor(kSwitchHostMs);
  ExpectMigrations(kSwitch, 0, 1, 0);
}

TEST_F(SwitchHostTest, ItEndsAMigrationThatIsPending) {
  Announce(MigrationKind::kSemiSeamless);
  there_ = LinkThere(ChannelType::kMain);
  Announce(kSwitch);
  EXPECT_TRUE(IsEnded(there_.server));
  ExpectMigrations(MigrationKind::kSemiSeamless, 0, 1, 0);
  EXPECT_EQ(counters_.sessions_open.value(), 1);
  Leave();
  ComeBack();
  ExpectMigrations(kSwitch, 1, 0, 0);
}

TEST_F(SwitchHostTest, TheLastWordOfItCounts) {
  proto::DstInfo elsewhere = Destination();
  elsewhere.port = kDestinationPort + 1;
  Announce(kSwitch, elsewhere);
  Announce(kSwitch);
  Leave();
  ComeBack();
  ExpectMigrations(kSwitch, 1, 0, 0);
}

}  // namespace
}  // namespace spicegate
