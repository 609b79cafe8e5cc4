// SPDX-License-Identifier: Apache-2.0
//
// Tunnels against a scripted server on the simulated network: what is dialled
// for whom, and what is not.
#include "gateway/session/tunnel_opener.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "gateway/base/limits.h"
#include "gateway/server_link/tls_for_tests.h"
#include "gateway/session/session_fixture.h"

namespace spicegate {
namespace {

using proto::ChannelType;

// Nothing that a guard would let through.
constexpr char kRecord[] = "\x16\x03\x01 whatever";

class TunnelOpenerTest : public SessionFixture {
 protected:
  TunnelOpenerTest() {
    ChangeConsole([](Console* console) {
      console->port = 1;
      console->tls_port = kServerPort;
      console->host_subject = "CN=vm";
    });
    target_.tls = TestTls("CN=vm");
  }

  template <typename Change>
  void ChangeConsole(Change change) {
    Console console = *target_.console;
    change(&console);
    target_.console = std::make_shared<const Console>(console);
  }

  Task<void> ServeTunnel(Client* client, std::unique_ptr<Passage> passage) {
    client->refusal =
        co_await tunnels_.Open(client->opening, std::move(passage));
    End(client);
  }

  Client* OpenTunnel(std::unique_ptr<Passage> passage) {
    Client* client = Arrive(ChannelType::kTunnel, 0);
    Spawn(ServeTunnel(client, std::move(passage)));
    Run();
    return client;
  }

  // That is refused, without a word to any server.
  void ExpectRefused(CloseReason reason) {
    Client* client = OpenTunnel(PassageToConsole());
    EXPECT_EQ(client->refusal, reason);
    EXPECT_TRUE(dialler_.dialled().empty());
    EXPECT_FALSE(asked_access_);
    EXPECT_EQ(counters_.sessions_opened.value(), 0);
  }

  void ExpectRelayed(Client* client, SimPeer* server) {
    client->peer.WriteString(kRecord);
    Run();
    EXPECT_EQ(server->ReadAll(), kRecord);
    server->WriteString("an answer");
    Run();
    EXPECT_EQ(client->peer.ReadAll(), "an answer");
  }

  int64_t OpenTunnels() const {
    return counters_.channels_open[static_cast<size_t>(ChannelType::kTunnel)]
        .value();
  }

  void MakeQmp() {
    ChangeConsole([](Console* console) {
      console->host.clear();
      console->port = console->tls_port = 0;
      console->ticket.clear();
      console->qmp_path = "/run/vm.qmp";
    });
  }

  void GiveAccess(uint16_t tls_port) {
    ServerAccess access;
    access.result = ServerAccess::Result::kOk;
    access.host = "127.0.0.1";
    access.port = 1;
    access.tls_port = tls_port;
    access.ticket = "set over QMP";
    access_.Deliver(asked_access_, access);
    Run();
  }

  TunnelOpener tunnels_{servers_, &registry_, &openings_,
                        [this](const TicketClaim& ticket) {
                          return ticket.console() == "vm" && known_
                                     ? std::optional<ConsoleTarget>(target_)
                                     : std::nullopt;
                        }};
};

TEST_F(TunnelOpenerTest, AConsolesTunnelLeadsToItsTlsPort) {
  Client* client = OpenTunnel(PassageToConsole());
  EXPECT_TRUE(client->done);
  EXPECT_EQ(client->refusal, std::nullopt);
  EXPECT_EQ(dialler_.dialled(), std::vector<uint16_t>{kServerPort});
  SimPeer server = network_.AcceptPeer(listener_);
  EXPECT_EQ(server.ReadAll(), "") << "nothing of ours belongs into a tunnel";
  ExpectRelayed(client, &server);
  EXPECT_EQ(OpenTunnels(), 1);
  EXPECT_EQ(counters_.sessions_open.value(), 1);
}

TEST_F(TunnelOpenerTest, TunnelsOfOneTicketAreOneSession) {
  Client* first = OpenTunnel(PassageToConsole());
  SimPeer first_server = network_.AcceptPeer(listener_);
  Client* second = OpenTunnel(PassageToConsole());
  SimPeer second_server = network_.AcceptPeer(listener_);
  EXPECT_EQ(counters_.sessions_open.value(), 1);
  EXPECT_EQ(OpenTunnels(), 2);
  // None of them is the main one: the session is over with the last.
  first->peer.Close();
  first_server.Close();
  Run();
  EXPECT_EQ(OpenTunnels(), 1);
  EXPECT_EQ(counters_.sessions_open.value(), 1);
  ExpectRelayed(second, &second_server);
  const TicketDigest digest = TicketVault::DigestOf(ticket_text_);
  EXPECT_TRUE(vault_.Claim(digest, driver_.NowMs()));
  second->peer.Close();
  second_server.Close();
  Run();
  EXPECT_EQ(counters_.sessions_open.value(), 0);
  EXPECT_FALSE(vault_.Claim(digest, driver_.NowMs()));
  EXPECT_EQ(counters_.sessions_opened.value(), 1);
}

TEST_F(TunnelOpenerTest, ATicketLivesOnWhenItsFirstTunnelFails) {
  driver_.Close(listener_, false);
  Client* client = OpenTunnel(PassageToConsole());
  EXPECT_EQ(client->refusal, CloseReason::kServerConnect);
  EXPECT_EQ(counters_.sessions_opened.value(), 0);
  EXPECT_TRUE(
      vault_.Claim(TicketVault::DigestOf(ticket_text_), driver_.NowMs()));
  listener_ = network_.Listen(SimAddress(kServerPort));
}

TEST_F(TunnelOpenerTest, APlaceThatIsConnectedAlreadyIsNotDialled) {
  SimPeer server;
  Client* client = OpenTunnel(PassageTo("hv1.example.test:5901", &server));
  EXPECT_EQ(client->refusal, std::nullopt);
  EXPECT_TRUE(dialler_.dialled().empty());
  ExpectRelayed(client, &server);
}

TEST_F(TunnelOpenerTest, PlacesHaveSessionsByTheirGroup) {
  SimPeer a1, a2, b;
  OpenTunnel(PassageTo("a:5901", &a1));
  OpenTunnel(PassageTo("a:5901", &a2));
  EXPECT_EQ(counters_.sessions_open.value(), 1);
  OpenTunnel(PassageTo("b:5901", &b));
  EXPECT_EQ(counters_.sessions_open.value(), 2);
}

TEST_F(TunnelOpenerTest, AConsoleThatLeftTheDirectoryIsRefused) {
  known_ = false;
  ExpectRefused(CloseReason::kConsoleUnknown);
}

TEST_F(TunnelOpenerTest, NoTunnelsWhereTheyAreSwitchedOff) {
  connect_->tunnels = false;
  ExpectRefused(CloseReason::kTunnelRefused);
}

TEST_F(TunnelOpenerTest, NoTunnelToAServerWithoutTls) {
  target_.tls = nullptr;
  ExpectRefused(CloseReason::kTunnelRefused);
}

TEST_F(TunnelOpenerTest, NoTunnelAroundTheConsolesPolicy) {
  ChangeConsole([](Console* console) { console->policy_name = "kiosk"; });
  ExpectRefused(CloseReason::kTunnelRefused);
}

TEST_F(TunnelOpenerTest, NoTunnelAroundTheTicketsPolicy) {
  ticket_text_ = *vault_.Issue("vm", "visitor", driver_.NowMs());
  ExpectRefused(CloseReason::kTunnelRefused);
}

TEST_F(TunnelOpenerTest, AServerThatNeverAnswersIsLetGoInTime) {
  // Its name is never resolved: nothing of it is there to time out.
  ChangeConsole([](Console* console) { console->host = "vm.example.test"; });
  Client* client = OpenTunnel(PassageToConsole());
  RunFor(limits_.server_connect_ms - 1);
  EXPECT_FALSE(client->done);
  RunFor(2);
  EXPECT_EQ(client->refusal, CloseReason::kServerResolve);
}

TEST_F(TunnelOpenerTest, AServerOverQmpIsAskedFirst) {
  MakeQmp();
  Client* client = OpenTunnel(PassageToConsole());
  EXPECT_TRUE(dialler_.dialled().empty());
  EXPECT_EQ(question_.console, "vm");
  EXPECT_EQ(question_.host, "");
  GiveAccess(kServerPort);
  EXPECT_EQ(client->refusal, std::nullopt);
  SimPeer server = network_.AcceptPeer(listener_);
  ExpectRelayed(client, &server);
}

TEST_F(TunnelOpenerTest, AServerOverQmpThatDoesNotAnswerIsRefused) {
  MakeQmp();
  Client* client = OpenTunnel(PassageToConsole());
  RunFor(limits_.server_connect_ms + 1);
  EXPECT_EQ(client->refusal, CloseReason::kServerQmp);
  EXPECT_TRUE(dialler_.dialled().empty());
}

TEST_F(TunnelOpenerTest, AServerOverQmpWithoutATlsPortIsRefused) {
  MakeQmp();
  Client* client = OpenTunnel(PassageToConsole());
  GiveAccess(0);
  EXPECT_EQ(client->refusal, CloseReason::kServerQmp);
  EXPECT_TRUE(dialler_.dialled().empty());
}

TEST_F(TunnelOpenerTest, TheNumberOfTunnelsIsBounded) {
  limits_.max_channels_per_session = 1;
  SimPeer first, second;
  OpenTunnel(PassageTo("a:5901", &first));
  Client* client = OpenTunnel(PassageTo("a:5901", &second));
  EXPECT_EQ(client->refusal, CloseReason::kTooManyChannels);
  EXPECT_TRUE(IsEnded(second));
  EXPECT_FALSE(IsEnded(first));
}

TEST_F(TunnelOpenerTest, AStopEndsWhatIsUnderWay) {
  ChangeConsole([](Console* console) { console->host = "vm.example.test"; });
  Client* client = OpenTunnel(PassageToConsole());
  names_.CancelAll();
  Run();
  EXPECT_TRUE(client->done);
  EXPECT_TRUE(client->refusal.has_value());
}

TEST_F(TunnelOpenerTest, ASessionThatEndsTakesItsTunnelsAlong) {
  Client* client = OpenTunnel(PassageToConsole());
  SimPeer server = network_.AcceptPeer(listener_);
  EXPECT_EQ(registry_.CloseConsole("vm", CloseReason::kDisconnected), 1);
  Run();
  EXPECT_TRUE(IsEnded(client->peer));
  EXPECT_EQ(Closed(CloseReason::kDisconnected), 1);
  EXPECT_EQ(counters_.sessions_open.value(), 0);
}

}  // namespace
}  // namespace spicegate
