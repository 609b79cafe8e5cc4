// SPDX-License-Identifier: Apache-2.0
//
// Links that came through CONNECT: to consoles, and to places that are none.
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "gateway/base/limits.h"
#include "gateway/session/session_fixture.h"
#include "proto/messages.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::LinkError;

constexpr char kPlace[] = "hv1.example.test:5900";
constexpr char kGuestPassword[] = "what its user typed";

class OpenerConnectTest : public SessionFixture {
 protected:
  void ComeToConsole() {
    make_passage_ = [this] { return PassageToConsole(); };
  }
  // Each link with a connection of its own, whose end is at_place_.
  void ComeToPlace() {
    ticket_text_ = "no ticket of ours";
    make_passage_ = [this] { return PassageTo(kPlace, &at_place_); };
  }

  Client* OpenAtPlace(ChannelType type, uint32_t connection_id) {
    Client* client = Arrive(type, connection_id);
    client->link.kept_ticket = kGuestPassword;
    Accept(client);
    return client;
  }

  void OpenMainAtPlace() {
    main_ = OpenAtPlace(ChannelType::kMain, 0);
    main_server_ = std::move(at_place_);
    AnswerLinkOn(&main_server_);
    AnswerTicket(&main_server_, LinkError::kOk, kGuestPassword);
    proto::MainInit init;
    init.session_id = kSessionId;
    main_server_.WriteString(Message(103, proto::EncodeMainInit(init)));
    Run();
    EXPECT_EQ(main_->refusal, std::nullopt);
    EXPECT_EQ(main_->peer.ReadAll().substr(0, 4), Result(LinkError::kOk));
  }

  SimPeer at_place_;
};

TEST_F(OpenerConnectTest, AConsolesLinkIsOpenedLikeAnyOther) {
  ComeToConsole();
  OpenMain();
  Client* inputs = Open(ChannelType::kInputs, kSessionId);
  SimPeer server = AnswerLink();
  AnswerTicket(&server, LinkError::kOk);
  EXPECT_EQ(inputs->peer.ReadAll(), Result(LinkError::kOk));
  EXPECT_EQ(dialler_.dialled(),
            (std::vector<uint16_t>{kServerPort, kServerPort}));
  EXPECT_EQ(counters_.sessions_open.value(), 1);
}

TEST_F(OpenerConnectTest, AConsolesTicketForItselfStaysUnknown) {
  ComeToConsole();
  Client* client = Open(ChannelType::kMain, 0);
  SimPeer server = AnswerLink();
  AnswerTicket(&server, LinkError::kPermissionDenied);
  EXPECT_EQ(client->refusal, CloseReason::kServerTicketRefused);
  EXPECT_EQ(client->peer.ReadAll(), "");
}

TEST_F(OpenerConnectTest, APlaceIsLinkedOverTheConnectionAtHand) {
  ComeToPlace();
  OpenMainAtPlace();
  EXPECT_TRUE(dialler_.dialled().empty());
  EXPECT_EQ(counters_.sessions_open.value(), 1);
  const std::array<uint8_t, 12> pong = {};
  main_->peer.WriteString(Message(proto::kMsgcPong, pong));
  Run();
  EXPECT_EQ(main_server_.ReadAll(), Message(proto::kMsgcPong, pong));
}

TEST_F(OpenerConnectTest, FurtherChannelsBringTheirOwnConnections) {
  ComeToPlace();
  OpenMainAtPlace();
  Client* inputs = OpenAtPlace(ChannelType::kInputs, kSessionId);
  AnswerLinkOn(&at_place_);
  AnswerTicket(&at_place_, LinkError::kOk, kGuestPassword);
  EXPECT_EQ(inputs->peer.ReadAll(), Result(LinkError::kOk));
  EXPECT_TRUE(dialler_.dialled().empty());
  EXPECT_EQ(counters_.sessions_open.value(), 1);
}

TEST_F(OpenerConnectTest, AConnectionThatIsNotUsedIsEnded) {
  ComeToPlace();
  OpenMainAtPlace();
  Client* stranger = OpenAtPlace(ChannelType::kInputs, kSessionId + 1);
  EXPECT_EQ(stranger->peer.ReadAll(), Result(LinkError::kBadConnectionId));
  stranger->peer.Close();
  Run();
  EXPECT_EQ(stranger->refusal, CloseReason::kBadConnectionId);
  bool ended = false;
  EXPECT_EQ(at_place_.ReadAll(&ended), "");
  EXPECT_TRUE(ended);
}

TEST_F(OpenerConnectTest, AWrongPasswordOfAPlaceIsTheClientsToKnow) {
  ComeToPlace();
  Client* client = OpenAtPlace(ChannelType::kMain, 0);
  AnswerLinkOn(&at_place_);
  AnswerTicket(&at_place_, LinkError::kPermissionDenied, kGuestPassword);
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kPermissionDenied));
  client->peer.Close();
  Run();
  EXPECT_EQ(client->refusal, CloseReason::kServerTicketRefused);
  EXPECT_EQ(counters_.sessions_opened.value(), 0);
}

TEST_F(OpenerConnectTest, AnotherPasswordIsAnotherSession) {
  ComeToPlace();
  OpenMainAtPlace();
  Client* old = main_;
  SimPeer old_server = std::move(main_server_);
  ticket_text_ = "another digest";
  OpenMainAtPlace();
  EXPECT_EQ(counters_.sessions_open.value(), 2);
  EXPECT_FALSE(IsEnded(old->peer));
}

TEST_F(OpenerConnectTest, APlaceIsGuarded) {
  ComeToPlace();
  OpenMainAtPlace();
  Client* client = OpenAtPlace(ChannelType::kDisplay, kSessionId);
  AnswerLinkOn(&at_place_);
  proto::DisplayInit init;
  init.glz_window_px = kMaxGlzWindowPx + 1;
  client->peer.WriteString(Message(101, proto::EncodeDisplayInit(init)));
  Run();
  EXPECT_EQ(client->refusal, CloseReason::kClientGuard);
  EXPECT_EQ(Refusals(ChannelType::kDisplay, GuardRule::kClaimedSize), 1);
}

TEST_F(OpenerConnectTest, AServerThatHangsUpMeanwhileIsNotDialledAgain) {
  ComeToPlace();
  Client* client = OpenAtPlace(ChannelType::kMain, 0);
  at_place_.Close();
  Run();
  EXPECT_EQ(client->refusal, CloseReason::kServerGone);
  EXPECT_TRUE(dialler_.dialled().empty());
  EXPECT_EQ(client->peer.ReadAll(), "");
}

}  // namespace
}  // namespace spicegate
