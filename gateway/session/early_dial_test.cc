// SPDX-License-Identifier: Apache-2.0
//
// Who may have a server dialled before its ticket, and what becomes of the
// dial: on the simulated network, with a scripted server that counts links.
#include "gateway/session/early_dial.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "gateway/io/listen.h"
#include "gateway/session/session_fixture.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using proto::LinkError;

class EarlyDialTest : public SessionFixture {
 protected:
  static constexpr int64_t kDeadlineMs = 10'000;

  EarlyDialTest() { OpenMain(); }

  // The client's link message is here: what its worker does then. False when
  // its session is not known.
  bool DialEarly(Client* client) {
    const auto home = connections_.Find(client->link.connection_id);
    if (!home.has_value()) {
      return false;
    }
    Opening* opening = openings_.Get(client->opening);
    opening->early_dial = {home->worker, /*worker=*/1, client->opening};
    early_dials_.Begin({opening->early_dial, home->session,
                        opening->client_address, RequestFor(client->link),
                        driver_.NowMs() + kDeadlineMs});
    Run();
    return true;
  }

  Client* ArriveAndDial(ChannelType type,
                        const std::string& address = kClientAddress) {
    Client* client = Arrive(type, kSessionId, address);
    EXPECT_TRUE(DialEarly(client));
    return client;
  }

  bool ServerIsDialled() { return network_.AcceptPeer(listener_).open(); }

  static bool IsEnded(SimPeer* peer) {
    bool ended = false;
    peer->ReadAll(&ended);
    return ended;
  }

  int64_t Count(EarlyDialOutcome outcome) const {
    return counters_.early_dials[static_cast<size_t>(outcome)].value();
  }
  void ExpectCounts(int64_t used, int64_t dropped, int64_t refused) const {
    EXPECT_EQ(Count(EarlyDialOutcome::kUsed), used);
    EXPECT_EQ(Count(EarlyDialOutcome::kDropped), dropped);
    EXPECT_EQ(Count(EarlyDialOutcome::kRefused), refused);
  }
};

TEST_F(EarlyDialTest, OnlyTheTicketIsLeftToDo) {
  Client* client = ArriveAndDial(ChannelType::kInputs);
  SimPeer server = AnswerLink();
  EXPECT_EQ(server.ReadAll(), "") << "a ticket before the client's";
  EXPECT_EQ(client->peer.ReadAll(), "");
  Accept(client);
  AnswerTicket(&server, LinkError::kOk);
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
  EXPECT_FALSE(ServerIsDialled()) << "a second link for one channel";
  ExpectCounts(1, 0, 0);
}

TEST_F(EarlyDialTest, TheTicketMayOvertakeTheServersReply) {
  Client* client = ArriveAndDial(ChannelType::kInputs);
  Accept(client);
  EXPECT_EQ(client->peer.ReadAll(), "");
  SimPeer server = AnswerLink();
  AnswerTicket(&server, LinkError::kOk);
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
  ExpectCounts(1, 0, 0);
}

TEST_F(EarlyDialTest, ADisplaysTicketStillWaitsForInit) {
  Client* client = ArriveAndDial(ChannelType::kDisplay);
  SimPeer server = AnswerLink();
  Accept(client);
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
  EXPECT_EQ(server.ReadAll(), "");
  client->peer.WriteString(DisplayInitMessage());
  Run();
  AnswerTicket(&server, LinkError::kOk);
  EXPECT_EQ(server.ReadAll(), DisplayInitMessage());
}

TEST_F(EarlyDialTest, AFailureUnderWayIsTheChannels) {
  Client* client = ArriveAndDial(ChannelType::kInputs);
  SimPeer server = network_.AcceptPeer(listener_);
  Accept(client);
  server.Close();
  Run();
  EXPECT_EQ(client->refusal, CloseReason::kServerGone);
  EXPECT_EQ(client->peer.ReadAll(), "");
}

TEST_F(EarlyDialTest, AnEarlierFailureIsTriedAgain) {
  Client* client = ArriveAndDial(ChannelType::kInputs);
  network_.AcceptPeer(listener_).Close();
  Run();
  Accept(client);
  SimPeer server = AnswerLink();
  AnswerTicket(&server, LinkError::kOk);
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
  ExpectCounts(0, 1, 0);
}

TEST_F(EarlyDialTest, ABadTicketEndsIt) {
  Client* client = ArriveAndDial(ChannelType::kInputs);
  SimPeer server = AnswerLink();
  End(client);
  EXPECT_TRUE(IsEnded(&server));
  ExpectCounts(0, 1, 0);
}

TEST_F(EarlyDialTest, AClientThatGoesWhileTheServerIsSlowEndsIt) {
  Client* client = ArriveAndDial(ChannelType::kInputs);
  SimPeer server = network_.AcceptPeer(listener_);
  End(client);
  Run();
  EXPECT_TRUE(IsEnded(&server));
  EXPECT_TRUE(early_dials_.done());
  ExpectCounts(0, 1, 0);
}

TEST_F(EarlyDialTest, OneThatIsDroppedDuringTheNameLookUpConnectsNowhere) {
  Session* session = registry_.Get(connections_.Find(kSessionId)->session);
  Console console = *session->terms.target.console;
  console.host = "vm.example.test";
  session->terms.target.console = std::make_shared<const Console>(console);
  End(ArriveAndDial(ChannelType::kInputs));
  EXPECT_FALSE(early_dials_.done());
  SocketAddress address;
  ASSERT_TRUE(NumericAddress("127.0.0.1", kServerPort, &address));
  names_.Deliver(asked_, {address});
  Run();
  EXPECT_TRUE(early_dials_.done());
  EXPECT_FALSE(ServerIsDialled());
}

TEST_F(EarlyDialTest, AnotherSessionsTicketDoesNotGetIt) {
  Client* client = ArriveAndDial(ChannelType::kInputs);
  SimPeer server = AnswerLink();
  Opening* opening = openings_.Get(client->opening);
  EXPECT_EQ(early_dials_.Take(opening->early_dial, Handle{9, 9},
                              /*destination_of=*/nullptr),
            nullptr);
  EXPECT_TRUE(IsEnded(&server));
  ExpectCounts(0, 1, 0);
  End(client);
}

TEST_F(EarlyDialTest, AnotherAddressMakesNoDial) {
  const std::vector<std::string> strangers = {
      "192.0.2.2:50001", "192.0.2.10:50001", "[2001:db8::1]:50001", "unix:", "",
      "192.0.2.1"};
  for (const std::string& address : strangers) {
    End(ArriveAndDial(ChannelType::kInputs, address));
    EXPECT_FALSE(ServerIsDialled()) << address;
  }
  ExpectCounts(0, 0, static_cast<int64_t>(strangers.size()));
}

TEST_F(EarlyDialTest, AnotherPortIsTheSameClient) {
  Client* client = ArriveAndDial(ChannelType::kInputs, "192.0.2.1:50002");
  EXPECT_TRUE(ServerIsDialled());
  End(client);
}

TEST_F(EarlyDialTest, AnotherIdMakesNoDial) {
  Client* client = Arrive(ChannelType::kInputs, kSessionId + 1);
  EXPECT_FALSE(DialEarly(client));
  // Nor where the index was wrong about the session.
  connections_.Add(kSessionId + 1, *connections_.Find(kSessionId));
  EXPECT_TRUE(DialEarly(client));
  EXPECT_FALSE(ServerIsDialled());
  ExpectCounts(0, 0, 1);
  End(client);
}

TEST_F(EarlyDialTest, MainIsNeverDialledEarly) {
  End(ArriveAndDial(ChannelType::kMain));
  EXPECT_FALSE(ServerIsDialled());
  ExpectCounts(0, 0, 1);
}

TEST_F(EarlyDialTest, ASessionThatEndsTakesItsDialsAlong) {
  Client* linked = ArriveAndDial(ChannelType::kInputs);
  SimPeer linked_server = AnswerLink();
  Client* dialling = ArriveAndDial(ChannelType::kCursor);
  SimPeer dialling_server = network_.AcceptPeer(listener_);
  main_->peer.Reset();
  Run();
  EXPECT_TRUE(IsEnded(&linked_server));
  EXPECT_TRUE(IsEnded(&dialling_server));
  ExpectCounts(0, 2, 0);
  Client* late = Arrive(ChannelType::kInputs, kSessionId);
  EXPECT_FALSE(DialEarly(late));
  End(linked);
  End(dialling);
  End(late);
}

TEST_F(EarlyDialTest, ASessionThatEndsOrHasEndedIsNotDialled) {
  // A display that lingers keeps its session a while.
  Client* display = Open(ChannelType::kDisplay, kSessionId);
  SimPeer display_server = AnswerLink();
  display->peer.WriteString(DisplayInitMessage());
  Run();
  AnswerTicket(&display_server, LinkError::kOk);
  const ConnectionIndex::Home home = *connections_.Find(kSessionId);
  main_->peer.Reset();
  Run();
  ASSERT_NE(registry_.Get(home.session), nullptr);
  // The requests were on their way meanwhile.
  connections_.Add(kSessionId, home);
  End(ArriveAndDial(ChannelType::kInputs));
  display_server.WriteString(Message(3, {}));
  Run();
  ASSERT_EQ(registry_.Get(home.session), nullptr);
  End(ArriveAndDial(ChannelType::kInputs));
  EXPECT_FALSE(ServerIsDialled());
  ExpectCounts(0, 0, 2);
}

TEST_F(EarlyDialTest, ItEndsWithTheDeadlineOfTheTicket) {
  Client* client = ArriveAndDial(ChannelType::kInputs);
  SimPeer server = AnswerLink();
  RunFor(kDeadlineMs - 1);
  EXPECT_FALSE(IsEnded(&server));
  RunFor(2);
  EXPECT_TRUE(IsEnded(&server));
  ExpectCounts(0, 1, 0);
  End(client);
}

TEST_F(EarlyDialTest, DialsInVainAreBounded) {
  for (int i = 0; i < kMaxEarlyDials; ++i) {
    End(ArriveAndDial(ChannelType::kInputs));
    ASSERT_TRUE(ServerIsDialled());
    Run();
  }
  End(ArriveAndDial(ChannelType::kInputs));
  EXPECT_FALSE(ServerIsDialled());
  ExpectCounts(0, kMaxEarlyDials, 1);
  // With a ticket it goes on as ever.
  Client* client = Open(ChannelType::kInputs, kSessionId);
  SimPeer server = AnswerLink();
  AnswerTicket(&server, LinkError::kOk);
  EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
}

TEST_F(EarlyDialTest, DialsThatAreUsedAreNotCounted) {
  for (int i = 0; i <= kMaxEarlyDials; ++i) {
    Client* client = ArriveAndDial(ChannelType::kInputs);
    SimPeer server = AnswerLink();
    Accept(client);
    AnswerTicket(&server, LinkError::kOk);
    EXPECT_EQ(client->peer.ReadAll(), Result(LinkError::kOk));
    client->peer.Reset();
    Run();
  }
  ExpectCounts(kMaxEarlyDials + 1, 0, 0);
}

TEST_F(EarlyDialTest, AStopDropsAll) {
  Client* linked = ArriveAndDial(ChannelType::kInputs);
  SimPeer linked_server = AnswerLink();
  Client* dialling = ArriveAndDial(ChannelType::kCursor);
  EXPECT_FALSE(early_dials_.done());
  early_dials_.DropAll();
  Run();
  EXPECT_TRUE(early_dials_.done());
  EXPECT_TRUE(IsEnded(&linked_server));
  ExpectCounts(0, 2, 0);
  End(linked);
  End(dialling);
}

}  // namespace
}  // namespace spicegate
