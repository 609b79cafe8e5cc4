// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/qmp_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gateway/qmp/qmp_password.h"
#include "gateway/qmp/qmp_service_fixture.h"

namespace spicegate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Code = absl::StatusCode;

class QmpServiceTest : public QmpServiceFixture {};

TEST_F(QmpServiceTest, ANewPasswordIsSetAndThenExpires) {
  SetConsoles({"vm1"});
  Qemu("vm1").tls_port = 5901;
  const auto server = New("vm1");
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(server->host, "127.0.0.1");
  EXPECT_EQ(server->port, 5900);
  EXPECT_EQ(server->tls_port, 5901);
  EXPECT_EQ(server->unix_path, "");
  EXPECT_EQ(server->password.size(), kQmpPasswordLen);
  EXPECT_GT(server->armed_until_ms, now_ms_ + 10'000);
  EXPECT_LE(server->armed_until_ms, now_ms_ + 20'000);
  EXPECT_THAT(
      Qemu("vm1").commands,
      ElementsAre("query-spice", "set_password " + server->password + " keep",
                  "expire_password +20"));
  EXPECT_EQ(service_->stats().commands.ok, 4u);  // the first look, and these
  EXPECT_EQ(service_->stats().consoles, 1);
}

TEST_F(QmpServiceTest, EachTicketHasAnotherPassword) {
  SetConsoles({"vm1"});
  const std::string first = New("vm1")->password;
  EXPECT_NE(New("vm1")->password, first);
}

TEST_F(QmpServiceTest, AServerOnAUnixSocketHasNoPorts) {
  SetConsoles({"vm1"});
  Qemu("vm1").host = "/run/vm1.spice";
  Qemu("vm1").port = 0;
  const auto server = New("vm1");
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(server->unix_path, "/run/vm1.spice");
  EXPECT_EQ(server->host, "");
  EXPECT_EQ(server->port, 0);
}

TEST_F(QmpServiceTest, ADesktopWithoutPasswordIsNotHandedOut) {
  SetConsoles({"vm1"});
  Qemu("vm1").auth = "none";
  const auto server = New("vm1");
  EXPECT_EQ(server.status().code(), Code::kUnavailable);
  EXPECT_THAT(server.status().message(), HasSubstr("no password"));
  EXPECT_THAT(Qemu("vm1").commands, ElementsAre("query-spice"));
}

TEST_F(QmpServiceTest, ConsolesOfOtherKindsAreUnknown) {
  SetConsoles({"vm1"});
  EXPECT_EQ(New("not-qmp").status().code(), Code::kNotFound);
  EXPECT_EQ(Arm("vm2").status().code(), Code::kNotFound);
  EXPECT_EQ(Disconnect("vm2").code(), Code::kNotFound);
}

TEST_F(QmpServiceTest, ArmingSendsNothingWhileMoreThanHalfOfTheLifeIsLeft) {
  SetConsoles({"vm1"});
  const auto first = New("vm1");
  Qemu("vm1").commands.clear();
  now_ms_ += 8'000;
  const auto second = Arm("vm1");
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->password, first->password);
  EXPECT_EQ(second->armed_until_ms, first->armed_until_ms);
  EXPECT_THAT(Qemu("vm1").commands, IsEmpty());
}

TEST_F(QmpServiceTest, ArmingSetsThePasswordOfBeforeForAnotherWhile) {
  SetConsoles({"vm1"});
  const auto first = New("vm1");
  Qemu("vm1").commands.clear();
  now_ms_ += 12'000;
  const auto second = Arm("vm1");
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->password, first->password);
  EXPECT_EQ(second->armed_until_ms, first->armed_until_ms + 12'000);
  EXPECT_THAT(
      Qemu("vm1").commands,
      ElementsAre("query-spice", "set_password " + first->password + " keep",
                  "expire_password +20"));
}

TEST_F(QmpServiceTest, ArmingMakesAPasswordWhereThereIsNone) {
  SetConsoles({"vm1"});
  const auto server = Arm("vm1");
  ASSERT_TRUE(server.ok());
  EXPECT_EQ(server->password, Qemu("vm1").password);
  EXPECT_EQ(server->password.size(), kQmpPasswordLen);
}

TEST_F(QmpServiceTest, TenThatArmAtOnceCostOneSetOfCommands) {
  SetConsoles({"vm1"});
  Results results;
  for (int i = 0; i < 10; ++i) {
    service_->Arm("vm1", Into(&results));
  }
  EXPECT_THAT(results, IsEmpty());
  Run();
  ASSERT_EQ(results.size(), 10u);
  for (const auto& result : results) {
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->password, Qemu("vm1").password);
  }
  EXPECT_EQ(Qemu("vm1").commands.size(), 3u);
  EXPECT_EQ(Qemu("vm1").num_connections, 1);
}

TEST_F(QmpServiceTest, WhatDoesNotServeAWishIsFollowedByItsOwnCommands) {
  SetConsoles({"vm1"});
  const std::string before = New("vm1")->password;
  now_ms_ += 15'000;
  Qemu("vm1").commands.clear();
  Results armed;
  Results renewed;
  service_->Arm("vm1", Into(&armed));
  service_->NewPassword("vm1", Into(&renewed));
  service_->Arm("vm1", Into(&armed));
  service_->NewPassword("vm1", Into(&renewed));
  Run();
  ASSERT_EQ(armed.size(), 2u);
  ASSERT_EQ(renewed.size(), 2u);
  EXPECT_EQ(armed[0]->password, before);
  EXPECT_NE(renewed[0]->password, before);
  EXPECT_EQ(armed[1]->password, renewed[0]->password);
  EXPECT_EQ(renewed[1]->password, renewed[0]->password);
  EXPECT_EQ(Qemu("vm1").commands.size(), 6u);
}

TEST_F(QmpServiceTest, AMigrationsDestinationGetsThePasswordOfItsSource) {
  SetConsoles({"vm1", "vm1-new"});
  Results results;
  service_->ContinueFrom("vm1-new", "vm1", Into(&results));
  service_->ContinueFrom("vm1-new", "vm2", Into(&results));
  service_->ContinueFrom("vm2", "vm1", Into(&results));
  Run();
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[0].status().code(), Code::kFailedPrecondition);
  EXPECT_EQ(results[1].status().code(), Code::kNotFound);
  EXPECT_FALSE(results[2].ok());

  const std::string password = New("vm1")->password;
  results.clear();
  service_->ContinueFrom("vm1-new", "vm1", Into(&results));
  service_->ContinueFrom("vm1-new", "vm1", Into(&results));
  Run();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_EQ(results[1]->password, password);
  EXPECT_THAT(Qemu("vm1-new").commands,
              ElementsAre("query-spice", "set_password " + password + " keep",
                          "expire_password +20"));
  now_ms_ += 19'000;
  EXPECT_EQ(Arm("vm1-new")->password, password);
}

TEST_F(QmpServiceTest, ADestinationIsFoundByWhereItListens) {
  Qemu("vm1").host = "*";
  Qemu("vm1").port = 6001;
  Qemu("vm2").host = "HV1.example.org";
  Qemu("vm2").port = 6002;
  Qemu("vm2").tls_port = 6003;
  SetConsoles({"vm1", "vm2"});
  const auto arm = [this](const std::string& host, uint16_t port,
                          const std::string& source = "vm2") {
    Results results;
    service_->ArmPlace(source, host, port, Into(&results));
    Run();
    return One(results);
  };
  for (const char* host : {"127.0.0.1", "localhost", "::1"}) {
    const auto server = arm(host, 6001, "vm1");
    ASSERT_TRUE(server.ok()) << host;
    EXPECT_EQ(server->password, Qemu("vm1").password);
  }
  EXPECT_EQ(arm("hv1.EXAMPLE.org", 6002)->password, Qemu("vm2").password);
  EXPECT_EQ(arm("hv1.example.org", 6003)->password, Qemu("vm2").password);
  for (const char* host : {"192.0.2.1", "hv2.example.org", "*", ""}) {
    EXPECT_EQ(arm(host, 6001, "vm1").status().code(), Code::kNotFound) << host;
  }
  EXPECT_EQ(arm("127.0.0.1", 6002).status().code(), Code::kNotFound);
  EXPECT_EQ(arm("127.0.0.1", 0, "vm1").status().code(), Code::kNotFound);
}

TEST_F(QmpServiceTest, NobodysServerOpensTheDesktopOfAnother) {
  Qemu("vm1").port = 6001;
  Qemu("vm2").port = 6002;
  Qemu("vm3").port = 6003;
  SetConsoles({"vm1", "vm2", "vm3"});
  ASSERT_TRUE(New("vm1").ok());
  ASSERT_TRUE(New("vm2").ok());
  const auto arm = [this](const std::string& source, uint16_t port) {
    Results results;
    service_->ArmPlace(source, "127.0.0.1", port, Into(&results));
    Run();
    return One(results);
  };
  EXPECT_EQ(arm("vm1", 6002).status().code(), Code::kNotFound);
  Results results;
  service_->ContinueFrom("vm2", "vm1", Into(&results));
  service_->ContinueFrom("vm3", "vm2", Into(&results));
  Run();
  EXPECT_EQ(arm("vm1", 6002)->password, Qemu("vm1").password);
  EXPECT_TRUE(arm("vm1", 6003).ok());  // by way of vm2
  EXPECT_EQ(arm("vm2", 6001).status().code(), Code::kNotFound);
  // vm2 is given to somebody else.
  ASSERT_TRUE(New("vm2").ok());
  EXPECT_EQ(arm("vm1", 6002).status().code(), Code::kNotFound);
  EXPECT_EQ(arm("vm1", 6003).status().code(), Code::kNotFound);
}

TEST_F(QmpServiceTest, OfSeveralAtOnePlaceTheLastSeenIsThere) {
  SetConsoles({"vm1", "vm2", "vm3"});
  now_ms_ += 1;
  ASSERT_TRUE(New("vm2").ok());
  now_ms_ += 15'000;
  Results results;
  service_->ArmPlace("vm2", "127.0.0.1", 5900, Into(&results));
  Run();
  EXPECT_EQ(One(results)->password, Qemu("vm2").password);
  EXPECT_THAT(Qemu("vm1").commands, IsEmpty());
  EXPECT_THAT(Qemu("vm3").commands, IsEmpty());
}

TEST_F(QmpServiceTest, DisconnectLeavesAPasswordThatNobodyKnows) {
  SetConsoles({"vm1"});
  const std::string before = New("vm1")->password;
  Qemu("vm1").commands.clear();
  ASSERT_TRUE(Disconnect("vm1").ok());
  const std::string unknown = Qemu("vm1").password;
  EXPECT_NE(unknown, before);
  EXPECT_THAT(
      Qemu("vm1").commands,
      ElementsAre("query-spice", "set_password " + unknown + " disconnect",
                  "expire_password now"));
  const auto after = Arm("vm1");
  ASSERT_TRUE(after.ok());
  EXPECT_NE(after->password, before);
  EXPECT_NE(after->password, unknown);
}

TEST_F(QmpServiceTest, WhoArmsBehindADisconnectDoesNotShareItsPassword) {
  SetConsoles({"vm1"});
  Results results;
  service_->Disconnect("vm1", [](absl::Status) {});
  service_->Arm("vm1", Into(&results));
  Run();
  ASSERT_EQ(results.size(), 1u);
  EXPECT_EQ(results[0]->password, Qemu("vm1").password);
  EXPECT_THAT(Qemu("vm1").commands.back(), StartsWith("expire_password +"));
}

TEST_F(QmpServiceTest, ACallerMayCallAgainFromWithin) {
  SetConsoles({"vm1"});
  Results results;
  service_->NewPassword("vm1", [&](absl::StatusOr<QmpServer> first) {
    results.push_back(first);
    service_->NewPassword("vm1", Into(&results));
  });
  Run();
  ASSERT_EQ(results.size(), 2u);
  EXPECT_NE(results[0]->password, results[1]->password);
}

}  // namespace
}  // namespace spicegate
