// SPDX-License-Identifier: Apache-2.0
//
// How a link comes to its connection. What it says over it: session/*_test.cc.
#include "gateway/server_link/server_link.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "gateway/server_link/dial_fixture.h"

namespace spicegate {
namespace {

constexpr char kLinkMagic[] = "REDQ";

class ServerLinkTest : public DialFixture {
 protected:
  ServerLinkTest() {
    Console console;
    console.name = "vm";
    console.host = "127.0.0.1";
    console.port = kListeningPort;
    target_.console = std::make_shared<const Console>(console);
  }

  void Open(ServerLink* link) {
    Start(link->Open({}));
    EXPECT_FALSE(done_);
  }

  void ExpectLinked(SimPeer* server) {
    EXPECT_EQ(server->ReadAll().substr(0, 4), kLinkMagic);
    server->Close();
    Run();
    EXPECT_EQ(failure_, CloseReason::kServerGone);
  }

  ConsoleTarget target_;
};

TEST_F(ServerLinkTest, DialsTheConsole) {
  ServerLink link(context_, target_);
  Open(&link);
  SimPeer server = network_.AcceptPeer(listener_);
  ASSERT_TRUE(server.open());
  ExpectLinked(&server);
}

TEST_F(ServerLinkTest, AdoptsAConnectionInPlaceOfIt) {
  auto connection = network_.Connection();
  ServerLink link(context_, target_);
  link.Adopt(Leg::Plain(&driver_, connection.first));
  Open(&link);
  EXPECT_FALSE(network_.AcceptPeer(listener_).open());
  ExpectLinked(&connection.second);
}

TEST_F(ServerLinkTest, AnAdoptedServerThatIsSilentIsLetGo) {
  auto connection = network_.Connection();
  ServerLink link(context_, target_);
  link.Adopt(Leg::Plain(&driver_, connection.first));
  Open(&link);
  RunFor(limits_.server_link_ms - 1);
  EXPECT_FALSE(done_);
  RunFor(1);
  EXPECT_EQ(failure_, CloseReason::kServerTimeout);
}

TEST_F(ServerLinkTest, AServerOverQmpIsAskedAndThenDialled) {
  Console console;
  console.name = "vm";
  console.qmp_path = "/run/vm.qmp";
  target_.console = std::make_shared<const Console>(console);
  ServerLink link(context_, target_);
  Open(&link);
  EXPECT_EQ(question_.console, "vm");
  ServerAccess access;
  access.result = ServerAccess::Result::kOk;
  access.host = "127.0.0.1";
  access.port = kListeningPort;
  access_.Deliver(asked_access_, access);
  Run();
  SimPeer server = network_.AcceptPeer(listener_);
  ASSERT_TRUE(server.open());
  ExpectLinked(&server);
}

TEST_F(ServerLinkTest, AbandonedWhileItsServerIsAsked) {
  Console console;
  console.name = "vm";
  console.qmp_path = "/run/vm.qmp";
  target_.console = std::make_shared<const Console>(console);
  ServerLink link(context_, target_);
  Open(&link);
  link.Abandon();
  ServerAccess access;
  access.result = ServerAccess::Result::kOk;
  access.host = "127.0.0.1";
  access.port = kListeningPort;
  access_.Deliver(asked_access_, access);
  Run();
  EXPECT_EQ(failure_, CloseReason::kShutdown);
  EXPECT_FALSE(network_.AcceptPeer(listener_).open());
}

}  // namespace
}  // namespace spicegate
