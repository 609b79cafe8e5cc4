// SPDX-License-Identifier: Apache-2.0
//
// Opening channels against a scripted SPICE server on the simulated network:
// what is sent to whom, and when.
#include "gateway/session/opener.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "gateway/base/limits.h"
#include "gateway/session/session_fixture.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::LinkError;

class OpenerTest : public SessionFixture {
 protected:
  // The console from now on, with what `change` makes of it.
  template <typename Change>
  void ChangeConsole(Change change) {
    Console console = *target_.console;
    change(&console);
    target_.console = std::make_shared<const Console>(console);
  }

  static Policy Without(ChannelType type) {
    Policy policy;
    policy.refused_channels =
        static_cast<uint16_t>(1u << static_cast<unsigned>(type));
    return policy;
  }

  int64_t Drops(PolicyDrop drop) const {
    return counters_.policy_drops[static_cast<size_t>(drop)].value();
  }

  // A link that the session's policy does not allow.
  void ExpectForbidden(ChannelType type) {
    const size_t num_dialled = dialler_.dialled().size();
    const int64_t num_drops = Drops(PolicyDrop::kChannel);
    Client* client = Open(type, kSessionId);
    EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kChannelNotAvailable));
    client->peer.Close();
    Run();
    EXPECT_EQ(client->refusal, CloseReason::kPolicyRefused);
    EXPECT_EQ(dialler_.dialled().size(), num_dialled);
    EXPECT_EQ(Drops(PolicyDrop::kChannel), num_drops + 1);
  }

  void ExpectAllowed(ChannelType type) {
    Client* client = Open(type, kSessionId);
    SimPeer server = AnswerLink();
    AnswerTicket(&server, LinkError::kOk);
    EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
  }

  // INIT that asks for a window which aborts QEMU.
  static std::string DeadlyInit() {
    proto::DisplayInit init;
    init.glz_window_px = kMaxGlzWindowPx + 1;
    return Message(101, proto::EncodeDisplayInit(init));
  }
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

TEST_F(OpenerTest, WhatTheConsolesPolicyForbidsIsRefused) {
  ChangeConsole([](Console* console) {
    console->policy = Without(ChannelType::kUsbredir);
  });
  OpenMain();
  ExpectForbidden(ChannelType::kUsbredir);
  ExpectAllowed(ChannelType::kWebdav);
}

TEST_F(OpenerTest, ATicketsPolicyForbidsMore) {
  ChangeConsole([](Console* console) {
    console->policy = Without(ChannelType::kUsbredir);
  });
  policies_["visitor"] = Without(ChannelType::kWebdav);
  ticket_text_ = *vault_.Issue("vm", "visitor", driver_.NowMs());
  OpenMain();
  ExpectForbidden(ChannelType::kUsbredir);
  ExpectForbidden(ChannelType::kWebdav);
  ExpectAllowed(ChannelType::kCursor);
}

TEST_F(OpenerTest, ATicketWhosePolicyIsGoneOpensNothing) {
  ticket_text_ = *vault_.Issue("vm", "visitor", driver_.NowMs());
  Client* client = Open(ChannelType::kMain, 0);
  EXPECT_EQ(client->refusal, CloseReason::kPolicyRefused);
  EXPECT_EQ(client->peer.ReadAll(), "");
  EXPECT_TRUE(dialler_.dialled().empty());
}

TEST_F(OpenerTest, ThePolicyIsTheOneTheSessionBeganWith) {
  OpenMain();
  ChangeConsole([](Console* console) {
    console->policy = Without(ChannelType::kUsbredir);
  });
  ExpectAllowed(ChannelType::kUsbredir);
}

TEST_F(OpenerTest, AChannelIsHeldToThePolicy) {
  ChangeConsole([](Console* console) { console->policy.read_only = true; });
  OpenMain();
  Client* inputs = Open(ChannelType::kInputs, kSessionId);
  SimPeer server = AnswerLink();
  AnswerTicket(&server, LinkError::kOk);
  const std::array<uint8_t, 4> key = {};
  inputs->peer.WriteString(Message(101, key));
  Run();
  EXPECT_EQ(server.ReadAll(), "");
  EXPECT_EQ(Drops(PolicyDrop::kReadOnly), 1);
}

TEST_F(OpenerTest, AnInitThatWouldKillTheServerDoesNotReachIt) {
  OpenMain();
  Client* client = Open(ChannelType::kDisplay, kSessionId);
  SimPeer server = AnswerLink();
  client->peer.WriteString(DeadlyInit());
  Run();
  EXPECT_EQ(client->refusal, CloseReason::kClientGuard);
  bool ended = false;
  EXPECT_EQ(server.ReadAll(&ended), "") << "not even the ticket";
  EXPECT_TRUE(ended);
  EXPECT_EQ(Refusals(ChannelType::kDisplay, GuardRule::kClaimedSize), 1);
}

TEST_F(OpenerTest, AGuardThatOnlyCountsOrIsOffLetsItPass) {
  for (const GuardMode mode : {GuardMode::kCount, GuardMode::kOff}) {
    ChangeConsole([mode](Console* console) { console->guard = mode; });
    OpenMain();
    Client* client = Open(ChannelType::kDisplay, kSessionId);
    SimPeer server = AnswerLink();
    client->peer.WriteString(DeadlyInit());
    Run();
    AnswerTicket(&server, LinkError::kOk);
    EXPECT_EQ(server.ReadAll(), DeadlyInit());
    EXPECT_EQ(Refusals(ChannelType::kDisplay, GuardRule::kClaimedSize), 1)
        << "counted in the first of them alone";
  }
}

}  // namespace
}  // namespace spicegate
