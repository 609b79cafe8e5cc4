// SPDX-License-Identifier: Apache-2.0
//
// Migrations from the hand-over on: who takes over when, what is left behind,
// and the displays that may not be closed just so.
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

const std::string& FirstDisplayMessage() {
  static const auto* message = new std::string(TextMessage(3, "12345678"));
  return *message;
}

class TakeoverTest : public MigrationFixture {
 protected:
  // Up to where the source has handed over and the client has not yet said so
  // at the destination.
  void HandOver() {
    SayConnected();
    SourceEnds();
  }

  // Seamless, up to where the client knows that the destination can.
  void AskForSeamless(uint16_t answer) {
    const std::string ask =
        TextMessage(proto::kMsgcMainMigrateDstDoSeamless, {1, 0, 0, 0});
    Say(&there_.client->peer, ask);
    EXPECT_EQ(there_.server.ReadAll(), ask);
    Say(&there_.server, Message(answer, {}));
    EXPECT_EQ(there_.client->peer.ReadAll(), Message(answer, {}));
    Say(&main_->peer, Message(proto::kMsgcMainMigrateConnectedSeamless, {}));
  }

  // The source lets go of main, and says what the destination needs.
  void LetGo(const std::string& data) {
    main_server_.ReadAll();
    Say(&main_server_,
        Migrate(proto::kMigrateNeedFlush | proto::kMigrateNeedDataTransfer));
    Say(&main_->peer, Message(proto::kMsgcMigrateFlushMark, {}));
    EXPECT_EQ(main_server_.ReadAll(),
              Message(proto::kMsgcMigrateFlushMark, {}));
    Say(&main_server_, TextMessage(proto::kMsgMigrateData, data));
  }

  // A display at the destination, after a semi-seamless take-over.
  Link TakeOverWithDisplay() {
    BeginMigration(kSemi);
    Link display = LinkThere(ChannelType::kDisplay);
    HandOver();
    TakeOver();
    EXPECT_EQ(display.server.ReadAll(), "");
    return display;
  }

  // It was given an INIT and is left once it has said its first message.
  void ExpectSeenThrough(Link* display) {
    EXPECT_EQ(display->server.ReadAll(), DisplayInitMessage());
    EXPECT_FALSE(IsEnded(display->server));
    Say(&display->server, FirstDisplayMessage().substr(0, 10));
    EXPECT_FALSE(IsEnded(display->server));
    Say(&display->server, FirstDisplayMessage().substr(10));
    EXPECT_TRUE(IsEnded(display->server));
    EXPECT_EQ(SafeEnds(SafeEnd::kWaited), 1);
  }

  int64_t DurationsIn(size_t bucket) const {
    return counters_.migration_durations[bucket].value();
  }
};

TEST_F(TakeoverTest, MigrateEndCompletesIt) {
  OpenMain();
  Link inputs_here = LinkHere(ChannelType::kInputs);
  Announce(kSemi);
  there_ = LinkThere(ChannelType::kMain);
  Link inputs = LinkThere(ChannelType::kInputs);
  SayConnected();
  RunFor(250);
  SourceEnds();
  EXPECT_EQ(main_->peer.ReadAll(), Message(proto::kMsgMainMigrateEnd, {}));
  EXPECT_EQ(counters_.migrations_pending.value(), 1);
  TakeOver();
  EXPECT_EQ(there_.server.ReadAll(), Message(proto::kMsgcMainMigrateEnd, {}));
  ExpectMigrations(kSemi, 1, 0, 0);
  EXPECT_EQ(counters_.migrations_pending.value(), 0);
  EXPECT_EQ(counters_.migration_duration_ms.value(), 250);
  EXPECT_EQ(DurationsIn(1), 1) << "above 100 and up to 300 ms";
  const std::string key = TextMessage(proto::kMsgcInputsKeyDown, "1234");
  Say(&inputs.client->peer, key);
  EXPECT_EQ(inputs.server.ReadAll(), key);
  // What comes later goes there, with the destination's ticket.
  Link display = LinkThere(ChannelType::kCursor);
  EXPECT_FALSE(IsEnded(display.server));
}

TEST_F(TakeoverTest, WhatIsLeftBehindCountsAsMigrated) {
  OpenMain();
  Link inputs_here = LinkHere(ChannelType::kInputs);
  Link cursor_here = LinkHere(ChannelType::kCursor);
  Announce(kSemi);
  there_ = LinkThere(ChannelType::kMain);
  HandOver();
  inputs_here.client->peer.Reset();  // early: before the client's word
  Run();
  TakeOver();
  cursor_here.server.Close();
  main_->peer.Reset();
  Run();
  EXPECT_EQ(Closed(CloseReason::kMigrated), 3);
  EXPECT_EQ(counters_.sessions_open.value(), 1);
  EXPECT_FALSE(IsEnded(there_.client->peer));
}

TEST_F(TakeoverTest, TheSessionThenEndsWithItsMainThere) {
  BeginMigration(kSemi);
  Link inputs = LinkThere(ChannelType::kInputs);
  HandOver();
  TakeOver();
  there_.server.ReadAll();
  there_.server.Close();
  Run();
  there_.client->peer.Close();
  Run();
  EXPECT_TRUE(IsEnded(inputs.client->peer) && IsEnded(inputs.server));
  EXPECT_TRUE(IsEnded(main_->peer));
  EXPECT_EQ(Closed(CloseReason::kServerClosed), 1);
  EXPECT_EQ(Closed(CloseReason::kSessionOver), 2);
  ExpectGaugesAtRest();
}

TEST_F(TakeoverTest, MigrateDataCompletesASeamlessOne) {
  BeginMigration(kSeamless);
  AskForSeamless(proto::kMsgMainMigrateDstSeamlessAck);
  LetGo("the state of main");
  EXPECT_EQ(counters_.migrations_pending.value(), 1);
  const std::string data =
      TextMessage(proto::kMsgcMigrateData, "the state of main");
  Say(&there_.client->peer, data);
  EXPECT_EQ(there_.server.ReadAll(), data);
  ExpectMigrations(kSeamless, 1, 0, 0);
  EXPECT_EQ(counters_.migrations_pending.value(), 0);
  LinkThere(ChannelType::kCursor);
  main_->peer.Reset();
  Run();
  EXPECT_EQ(Closed(CloseReason::kMigrated), 1);
  EXPECT_EQ(counters_.sessions_open.value(), 1);
}

TEST_F(TakeoverTest, OtherDataThanTheSourcesFailsIt) {
  BeginMigration(kSeamless);
  Link display = LinkThere(ChannelType::kDisplay);
  AskForSeamless(proto::kMsgMainMigrateDstSeamlessAck);
  LetGo("the state of main");
  Say(&there_.client->peer,
      TextMessage(proto::kMsgcMigrateData, "the state of pain"));
  EXPECT_EQ(there_.server.ReadAll(), "");
  EXPECT_TRUE(IsEnded(there_.server) && IsEnded(display.server));
  EXPECT_EQ(Refusals(ChannelType::kMain, GuardRule::kMigrateData), 1);
  EXPECT_EQ(Closed(CloseReason::kClientGuard), 1);
  EXPECT_EQ(Closed(CloseReason::kMigrationOver), 1);
  ExpectMigrations(kSeamless, 0, 1, 0);
  EXPECT_EQ(counters_.sessions_open.value(), 1);
}

TEST_F(TakeoverTest, MigrateEndBeforeTheSourcesFailsIt) {
  BeginMigration(kSemi);
  SayConnected();
  TakeOver();
  EXPECT_EQ(there_.server.ReadAll(), "");
  EXPECT_EQ(Refusals(ChannelType::kMain, GuardRule::kMigrateEnd), 1);
  ExpectMigrations(kSemi, 0, 1, 0);
  ExpectAtSource();
}

TEST_F(TakeoverTest, ADestinationThatCannotIsTakenOverByMigrateEnd) {
  BeginMigration(kSeamless);
  Link display = LinkThere(ChannelType::kDisplay);
  AskForSeamless(proto::kMsgMainMigrateDstSeamlessNack);
  SourceEnds();
  TakeOver();
  ExpectMigrations(kSeamless, 1, 0, 0);
  // It begins anew there, and so does its display.
  display.client->peer.Close();
  Run();
  ExpectSeenThrough(&display);
}

TEST_F(TakeoverTest, ASourceThatIsGoneFirstDoesNotEndTheSession) {
  for (const bool by_client : {true, false}) {
    BeginMigration(kSemi);
    Link display = LinkThere(ChannelType::kDisplay);
    HandOver();
    if (by_client) {
      main_->peer.Close();
    } else {
      main_server_.Reset();
    }
    Run();
    EXPECT_EQ(counters_.sessions_open.value(), 1);
    EXPECT_FALSE(IsEnded(there_.server) || IsEnded(display.server));
    TakeOver();
    EXPECT_EQ(there_.server.ReadAll(), Message(proto::kMsgcMainMigrateEnd, {}));
    EXPECT_EQ(counters_.migrations_pending.value(), 0);
    LinkThere(ChannelType::kCursor);
    there_.client->peer.Reset();
    Run();
    ExpectSeenThrough(&display);
    ExpectGaugesAtRest();
    counters_.display_safe_end[static_cast<size_t>(SafeEnd::kWaited)].Set(0);
    ticket_text_ = *vault_.Issue("vm", "", driver_.NowMs());
  }
  ExpectMigrations(kSemi, 2, 0, 0);
}

// How a client may leave a channel.
enum class Leave { kClose, kReset, kHalfClose };
constexpr Leave kWays[] = {Leave::kClose, Leave::kReset, Leave::kHalfClose};

void LeaveBy(Leave way, SimPeer* peer) {
  switch (way) {
    case Leave::kClose:
      peer->Close();
      break;
    case Leave::kReset:
      peer->Reset();
      break;
    case Leave::kHalfClose:
      peer->ShutdownWrite();
      break;
  }
}

class LeavingTest : public TakeoverTest,
                    public testing::WithParamInterface<Leave> {};
INSTANTIATE_TEST_SUITE_P(Ways, LeavingTest, testing::ValuesIn(kWays));

TEST_P(LeavingTest, ADisplayLeftBeforeMigrateEndTakesMainAlong) {
  BeginMigration(kSemi);
  Link display = LinkThere(ChannelType::kDisplay);
  Link inputs = LinkThere(ChannelType::kInputs);
  HandOver();
  LeaveBy(GetParam(), &display.client->peer);
  Run();
  EXPECT_TRUE(IsEnded(there_.server) && IsEnded(inputs.server));
  EXPECT_TRUE(IsEnded(display.server));
  EXPECT_EQ(display.server.ReadAll(), "");
  ExpectMainEndedFirst(display);
  ExpectMainEndedFirst(inputs);
  ExpectMigrations(kSemi, 0, 1, 0);
  // No MIGRATE_END can follow.
  TakeOver();
  EXPECT_EQ(there_.server.ReadAll(), "");
  EXPECT_EQ(SafeEnds(SafeEnd::kNotNeeded), 1);
}

TEST_P(LeavingTest, ALinkLeftWhileLinkingFailsIt) {
  BeginMigration(kSemi);
  Link usb = LinkThere(ChannelType::kUsbredir);
  LeaveBy(GetParam(), &usb.client->peer);
  Run();
  EXPECT_TRUE(IsEnded(there_.server) && IsEnded(usb.server));
  ExpectMigrations(kSemi, 0, 1, 0);
  ExpectAtSource();
}

TEST_P(LeavingTest, ADisplayWhoseInitCameEarlyIsLeftAtOnce) {
  BeginMigration(kSemi);
  Link display = LinkThere(ChannelType::kDisplay);
  HandOver();
  Say(&display.client->peer, DisplayInitMessage());
  LeaveBy(GetParam(), &display.client->peer);
  Run();
  EXPECT_TRUE(IsEnded(there_.server) && IsEnded(display.server));
  EXPECT_EQ(SafeEnds(SafeEnd::kNotNeeded), 1);
  ExpectMigrations(kSemi, 0, 1, 0);
}

TEST_P(LeavingTest, ADisplayLeftWhenTheSourceIsGoneEndsTheSession) {
  BeginMigration(kSemi);
  Link display = LinkThere(ChannelType::kDisplay);
  HandOver();
  main_->peer.Close();
  Run();
  EXPECT_EQ(counters_.sessions_open.value(), 1);
  LeaveBy(GetParam(), &display.client->peer);
  Run();
  EXPECT_TRUE(IsEnded(there_.server) && IsEnded(display.server));
  ExpectMainEndedFirst(display);
  TakeOver();
  EXPECT_EQ(there_.server.ReadAll(), "");
  ExpectGaugesAtRest();
}

TEST_P(LeavingTest, ADisplayWithoutInitIsGivenOne) {
  Link display = TakeOverWithDisplay();
  LeaveBy(GetParam(), &display.client->peer);
  Run();
  ExpectSeenThrough(&display);
  EXPECT_EQ(counters_.sessions_open.value(), 1);
}

TEST_P(LeavingTest, HalfAnInitIsMadeWhole) {
  Console console = *target_.console;
  console.guard = GuardMode::kOff;  // so that half of it goes on
  target_.console = std::make_shared<const Console>(console);
  Link display = TakeOverWithDisplay();
  Say(&display.client->peer, DisplayInitMessage().substr(0, 10));
  LeaveBy(GetParam(), &display.client->peer);
  Run();
  ExpectSeenThrough(&display);
}

TEST_P(LeavingTest, ADisplayIsSeenThroughFromItsInitOn) {
  Link display = TakeOverWithDisplay();
  Say(&display.client->peer, DisplayInitMessage());
  LeaveBy(GetParam(), &display.client->peer);
  Run();
  ExpectSeenThrough(&display);
}

TEST_P(LeavingTest, MainLeftEndsTheSessionButSeesTheDisplayThrough) {
  Link display = TakeOverWithDisplay();
  there_.server.Close();
  LeaveBy(GetParam(), &there_.client->peer);
  Run();
  EXPECT_EQ(counters_.sessions_open.value(), 0);
  ExpectSeenThrough(&display);
}

TEST_F(TakeoverTest, ADisplayThatDoesNotSayInitIsLeft) {
  Link display = TakeOverWithDisplay();
  RunFor(kDestinationDisplayMs - 1);
  EXPECT_FALSE(IsEnded(display.client->peer));
  RunFor(2);
  EXPECT_TRUE(IsEnded(display.client->peer));
  EXPECT_EQ(Closed(CloseReason::kClientProtocol), 1);
  ExpectSeenThrough(&display);
}

TEST_F(TakeoverTest, ADisplayThatSaysInitGoesOn) {
  Link display = TakeOverWithDisplay();
  Say(&display.client->peer, DisplayInitMessage());
  EXPECT_EQ(display.server.ReadAll(), DisplayInitMessage());
  RunFor(kDestinationDisplayMs + 1);
  Say(&display.server, FirstDisplayMessage());
  EXPECT_EQ(display.client->peer.ReadAll(), FirstDisplayMessage());
  RunFor(kDisplayCommittedMs + 1);
  EXPECT_FALSE(IsEnded(display.server));
}

TEST_F(TakeoverTest, ASeamlessDisplayGoesAtAnyTime) {
  BeginMigration(kSeamless);
  Link display = LinkThere(ChannelType::kDisplay);
  AskForSeamless(proto::kMsgMainMigrateDstSeamlessAck);
  LetGo("data");
  Say(&there_.client->peer, TextMessage(proto::kMsgcMigrateData, "data"));
  display.client->peer.Reset();
  Run();
  EXPECT_TRUE(IsEnded(display.server));
  EXPECT_EQ(display.server.ReadAll(), "");
  EXPECT_EQ(counters_.sessions_open.value(), 1);
}

TEST_F(TakeoverTest, ADestinationThatDiesWhileItWaitsFailsIt) {
  BeginMigration(kSemi);
  Link inputs = LinkThere(ChannelType::kInputs);
  SayConnected();
  inputs.server.Close();
  Run();
  EXPECT_TRUE(IsEnded(there_.server));
  ExpectMigrations(kSemi, 0, 1, 0);
  ExpectAtSource();
}

TEST_F(TakeoverTest, ThereAndBack) {
  BeginMigration(kSemi);
  Client* first_main = main_;
  SimPeer first_server = std::move(main_server_);
  Link left_behind = std::move(there_);
  main_ = left_behind.client;
  main_server_ = std::move(left_behind.server);
  Say(&first_main->peer, Message(proto::kMsgcMainMigrateConnected, {}));
  Say(&first_server, Message(proto::kMsgMainMigrateEnd, {}));
  Say(&main_->peer, Message(proto::kMsgcMainMigrateEnd, {}));
  ExpectMigrations(kSemi, 1, 0, 0);

  proto::DstInfo back = Destination();
  back.port = kServerPort;
  EXPECT_EQ(Announce(kSemi, back).port, kPlacePort);
  there_.client = Open(ChannelType::kMain, kSessionId);
  EXPECT_EQ(dialler_.dialled().back(), kServerPort);
  there_.server = AnswerLink();
  AnswerTicket(&there_.server, LinkError::kOk, kDestinationPassword);
  SayConnected();
  // A main that was left behind has no say in it any more.
  Say(&first_server, Message(proto::kMsgMainMigrateEnd, {}));
  EXPECT_EQ(counters_.migrations_pending.value(), 1);
  main_server_.ReadAll();
  first_main->peer.Reset();
  Run();
  EXPECT_EQ(counters_.sessions_open.value(), 1);
  SourceEnds();
  TakeOver();
  ExpectMigrations(kSemi, 2, 0, 0);
  Client* cursor = Open(ChannelType::kCursor, kSessionId);
  EXPECT_EQ(dialler_.dialled().back(), kServerPort);
  SimPeer server = AnswerLink();
  AnswerTicket(&server, LinkError::kOk, kDestinationPassword);
  EXPECT_EQ(cursor->peer.ReadAll(), Result(LinkError::kOk));
}

TEST_F(TakeoverTest, WhoWasLeftBehindCannotHandOverTheNextOne) {
  BeginMigration(kSemi);
  HandOver();
  TakeOver();
  SimPeer first_server = std::move(main_server_);
  main_ = there_.client;
  main_server_ = std::move(there_.server);
  proto::DstInfo back = Destination();
  back.port = kServerPort;
  Announce(kSemi, back);
  there_.client = Open(ChannelType::kMain, kSessionId);
  there_.server = AnswerLink();
  AnswerTicket(&there_.server, LinkError::kOk, kDestinationPassword);
  SayConnected();
  Say(&first_server, Message(proto::kMsgMainMigrateEnd, {}));
  TakeOver();
  EXPECT_EQ(there_.server.ReadAll(), "");
  EXPECT_EQ(Refusals(ChannelType::kMain, GuardRule::kMigrateEnd), 1);
  ExpectMigrations(kSemi, 1, 1, 0);
}

}  // namespace
}  // namespace spicegate
