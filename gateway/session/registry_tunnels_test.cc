// SPDX-License-Identifier: Apache-2.0
//
// Sessions of tunnels in the registry, and what ends sessions by their console.
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "gateway/base/clock.h"
#include "gateway/base/limits.h"
#include "gateway/base/unique_fd.h"
#include "gateway/session/session_fixture.h"

namespace spicegate {
namespace {

using proto::ChannelType;

// Both ends of a connection of the kernel's, over loopback.
struct RealConnection {
  UniqueFd client;
  uint16_t port = 0;  // of the client's end
};

RealConnection Connect() {
  absl::StatusOr<UniqueFd> listener = ListenTcp("127.0.0.1", 0);
  EXPECT_TRUE(listener.ok()) << listener.status();
  const SocketAddress to = LocalAddress(listener->get());
  RealConnection connection;
  connection.client = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(connection.client.get(), to.get(), to.len), 0);
  const SocketAddress local = LocalAddress(connection.client.get());
  connection.port =
      ntohs(reinterpret_cast<const sockaddr_in*>(&local.storage)->sin_port);
  return connection;
}

class RegistryTunnelsTest : public SessionFixture {
 protected:
  struct Tunnel {
    Handle session;
    Handle channel;
    SimPeer client;
    SimPeer server;
  };

  SessionTerms Terms(const std::string& console) {
    SessionTerms terms;
    auto named = std::make_shared<Console>();
    named->name = console;
    terms.target.console = std::move(named);
    terms.client = kClientAddress;
    terms.tunnel = true;
    return terms;
  }

  Tunnel AddTunnel(const std::string& group, const std::string& console) {
    Tunnel tunnel;
    tunnel.session = registry_.JoinTunnels(
        TicketClaim::Unvaulted(TicketVault::DigestOf(group), console),
        Terms(console));
    auto client = network_.Connection();
    auto server = network_.Connection();
    tunnel.client = std::move(client.second);
    tunnel.server = std::move(server.second);
    links_open_.fetch_add(1);
    counters_.links_open.Add(1);
    tunnel.channel = registry_.AddChannel(
        tunnel.session, {ChannelType::kTunnel, 0}, proto::HeaderKind::kMini,
        Leg::Plain(&driver_, client.first), Leg::Plain(&driver_, server.first),
        nullptr, /*bytes_sent=*/0);
    return tunnel;
  }

  void EndBoth(Tunnel* tunnel) {
    tunnel->client.Close();
    tunnel->server.Close();
    Run();
  }
};

TEST_F(RegistryTunnelsTest, OneGroupIsOneSessionAsLongAsItHasTunnels) {
  Tunnel first = AddTunnel("group", "vm1");
  Tunnel second = AddTunnel("group", "vm1");
  EXPECT_EQ(first.session, second.session);
  EXPECT_NE(AddTunnel("other", "vm1").session, first.session);
  EndBoth(&first);
  Tunnel third = AddTunnel("group", "vm1");
  EXPECT_EQ(third.session, second.session);
  EndBoth(&second);
  EndBoth(&third);
  EXPECT_EQ(registry_.Get(first.session), nullptr);
  EXPECT_NE(AddTunnel("group", "vm1").session, first.session);
}

TEST_F(RegistryTunnelsTest, TunnelsThatLingerTakeNoRoom) {
  limits_.max_channels_per_session = 2;
  Tunnel first = AddTunnel("group", "vm1");
  Tunnel second = AddTunnel("group", "vm1");
  EXPECT_FALSE(registry_.HasRoom(*registry_.Get(first.session)));
  first.client.Reset();
  Run();
  EXPECT_FALSE(IsEnded(first.server));
  EXPECT_TRUE(registry_.HasRoom(*registry_.Get(second.session)));
  EXPECT_EQ(links_open_.load(), 2);  // but they count in the process
}

TEST_F(RegistryTunnelsTest, ASessionThatIsEndingIsNotJoined) {
  Tunnel first = AddTunnel("group", "vm1");
  EXPECT_EQ(registry_.CloseConsole("vm1", CloseReason::kDisconnected), 1);
  // The server's leg is still there, but nobody gets in with it.
  Tunnel second = AddTunnel("group", "vm1");
  EXPECT_NE(second.session, first.session);
  Run();
  EXPECT_TRUE(IsEnded(first.client));
  EXPECT_FALSE(IsEnded(second.client));
}

TEST_F(RegistryTunnelsTest, ATunnelIsNoSessionOfLinks) {
  AddTunnel("group", "vm1");
  EXPECT_FALSE(registry_.FindSession(TicketVault::DigestOf("group"), 0));
  EXPECT_EQ(registry_.SwitchedTo(TicketVault::DigestOf("group")), std::nullopt);
}

TEST_F(RegistryTunnelsTest, AConsolesSessionsEndAndNoOthers) {
  OpenMain();  // of "vm"
  Tunnel ours = AddTunnel("group", "vm");
  Tunnel also_ours = AddTunnel("group", "vm");
  Tunnel other = AddTunnel("other", "vm2");
  EXPECT_EQ(registry_.CloseConsole("VM", CloseReason::kDisconnected), 0);
  EXPECT_EQ(registry_.CloseConsole("vm", CloseReason::kDisconnected), 2);
  Run();
  EXPECT_TRUE(IsEnded(main_->peer));
  EXPECT_TRUE(IsEnded(ours.client));
  EXPECT_TRUE(IsEnded(also_ours.client));
  EXPECT_FALSE(IsEnded(other.client));
  // A main channel, and each of the tunnels, which have none.
  EXPECT_EQ(Closed(CloseReason::kDisconnected), 3);
  EXPECT_EQ(counters_.sessions_open.value(), 1);
  EXPECT_EQ(registry_.CloseConsole("vm", CloseReason::kDisconnected), 0);
}

TEST_F(RegistryTunnelsTest, AMarkLivesAsLongAsItsChannel) {
  own_sockets_.set_wanted();
  const RealConnection first = Connect();
  const RealConnection second = Connect();
  Tunnel short_lived = AddTunnel("group", "vm1");
  Tunnel long_lived = AddTunnel("group", "vm1");
  registry_.KeepMark(short_lived.channel,
                     OwnSocketMark(&own_sockets_, first.client.get()));
  registry_.KeepMark(long_lived.channel,
                     OwnSocketMark(&own_sockets_, second.client.get()));
  const auto marked = [this](const RealConnection& connection) {
    return own_sockets_.Has("127.0.0.1", connection.port,
                            MonotonicMs() + 2 * OwnSockets::kKeptMs);
  };
  EXPECT_TRUE(marked(first) && marked(second));
  EndBoth(&short_lived);
  EXPECT_FALSE(marked(first));
  EXPECT_TRUE(marked(second));
  EndBoth(&long_lived);
  EXPECT_FALSE(marked(second));
}

TEST_F(RegistryTunnelsTest, AMarkOfAChannelThatIsGoneIsDropped) {
  own_sockets_.set_wanted();
  const RealConnection connection = Connect();
  Tunnel tunnel = AddTunnel("group", "vm1");
  EndBoth(&tunnel);
  registry_.KeepMark(tunnel.channel,
                     OwnSocketMark(&own_sockets_, connection.client.get()));
  EXPECT_FALSE(own_sockets_.Has("127.0.0.1", connection.port,
                                MonotonicMs() + 2 * OwnSockets::kKeptMs));
}

}  // namespace
}  // namespace spicegate
