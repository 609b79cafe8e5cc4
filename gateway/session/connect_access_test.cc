// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/connect_access.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>

#include "gateway/auth/proxmox_fixture.h"

namespace spicegate {
namespace {

using Kind = ConnectGrant::Kind;

constexpr char kSecret[] = "labsecret";
constexpr int64_t kWallS = 0x6b023028;
constexpr int64_t kFirstUseMs = 60'000;
constexpr char kClient[] = "192.0.2.9:4711";

// A ticket of the cluster for machine 100, signed now.
std::string Ticket(const std::string& node,
                   std::optional<uint16_t> port = 61001,
                   int64_t issued_s = kWallS) {
  return MakeProxmoxTicket(kSecret, issued_s, "100", node, port);
}

ConnectRequest To(const std::string& host, uint16_t port) {
  ConnectRequest request;
  request.minor_version = 0;
  request.target = {host, port};
  return request;
}

// As viewers ask: with a Host header of the same words.
ConnectRequest Viewer(const std::string& host, uint16_t port) {
  ConnectRequest request = To(host, port);
  request.host_header = request.target;
  return request;
}

class ConnectAccessTest : public testing::Test {
 protected:
  void SetUp() override {
    settings_.proxmox_key = ProxmoxKey::FromSecret(kSecret);
    settings_.node = "pve1";
    settings_.nodes = {{"PVE2", "10.0.0.2"}};
    settings_.allow = *AllowList::Parse(
        {{{"10.0.0.0/24", "hv1.example.org"}, {{5900, 5999}}}});
  }

  ConnectDecision Decide(const ConnectRequest& request,
                         std::string_view client = kClient) {
    return DecideConnect(request, client, settings_, &vault_, 0, kWallS,
                         names_);
  }

  std::string Issue(const std::string& console) {
    return *vault_.Issue(console, "", 0);
  }

  void ExpectRefusal(const ConnectRequest& request, CloseReason reason,
                     ConnectStatus answer = ConnectStatus::kForbidden) {
    const ConnectDecision decision = Decide(request);
    EXPECT_FALSE(decision.grant.has_value()) << request.target.host;
    EXPECT_EQ(CloseReasonName(decision.refusal), CloseReasonName(reason))
        << request.target.host;
    EXPECT_EQ(decision.answer, answer);
  }

  // The grant; an empty one where there is none.
  ConnectGrant ExpectGrant(const ConnectRequest& request, Kind kind,
                           std::string_view client = kClient) {
    ConnectDecision decision = Decide(request, client);
    EXPECT_TRUE(decision.grant.has_value())
        << CloseReasonName(decision.refusal) << " " << request.target.host;
    if (!decision.grant.has_value()) {
      return ConnectGrant();
    }
    EXPECT_EQ(decision.grant->kind, kind);
    EXPECT_EQ(decision.answer, ConnectStatus::kOk);
    return *std::move(decision.grant);
  }

  ConnectSettings settings_;
  NamesConsole names_;
  TicketVault vault_{{.first_use_ms = kFirstUseMs, .max_tickets = 100}};
};

// ---- Proxmox tickets.

TEST_F(ConnectAccessTest, AMachineOfThisNodeIsAtLocalhost) {
  for (const char* node : {"pve1", "localhost"}) {
    const ConnectGrant grant =
        ExpectGrant(Viewer(Ticket(node), 61001), Kind::kLocalVm);
    EXPECT_EQ(grant.host, "localhost");
    EXPECT_EQ(grant.port, 61001);
    EXPECT_EQ(grant.hop_request, "");
    EXPECT_EQ(grant.name, std::string("pve/100@") + node);
    EXPECT_FALSE(grant.claim);
  }
  settings_.node = "PVE1";
  ExpectGrant(Viewer(Ticket("pve1"), 61001), Kind::kLocalVm);
}

TEST_F(ConnectAccessTest, TheHeaderComesBeforeTheTarget) {
  ConnectRequest request = To("hv1.example.org", 5900);
  request.host_header = Authority{Ticket("pve1"), 61001};
  EXPECT_EQ(ExpectGrant(request, Kind::kLocalVm).port, 61001);

  request = To(Ticket("pve1"), 61001);
  request.host_header = Authority{"gw.example.org", 0};
  EXPECT_EQ(ExpectGrant(request, Kind::kLocalVm).port, 61001);
  ExpectGrant(To(Ticket("pve1"), 61001), Kind::kLocalVm);

  // Not the better of two.
  request.host_header = Authority{Ticket("pve1", 61001, kWallS - 60), 61001};
  ExpectRefusal(request, CloseReason::kProxmoxExpired);
  request.host_header = Authority{Ticket("pve1"), 0};
  ExpectRefusal(request, CloseReason::kProxmoxPort);
}

TEST_F(ConnectAccessTest, APortMustBeTheSignedOne) {
  ExpectRefusal(Viewer(Ticket("pve1"), 61002), CloseReason::kProxmoxPort);
  ExpectRefusal(Viewer(Ticket("pve1"), 22), CloseReason::kProxmoxPort);
  ConnectRequest request = Viewer(Ticket("pve1"), 61001);
  request.host_header->port = 61002;
  ExpectRefusal(request, CloseReason::kProxmoxPort);
}

TEST_F(ConnectAccessTest, APortMustBeADesktops) {
  for (const uint16_t port : {1, 22, 5900, 60999, 62000, 65535}) {
    ExpectRefusal(Viewer(Ticket("pve1", port), port),
                  CloseReason::kProxmoxPort);
    ExpectRefusal(Viewer(Ticket("pve1", std::nullopt), port),
                  CloseReason::kProxmoxPort);
  }
  for (const uint16_t port : {61000, 61500, 61999}) {
    ExpectGrant(Viewer(Ticket("pve1", port), port), Kind::kLocalVm);
    ExpectGrant(Viewer(Ticket("pve1", std::nullopt), port), Kind::kLocalVm);
  }
  settings_.first_port = 5900;
  settings_.last_port = 5900;
  ExpectGrant(Viewer(Ticket("pve1", 5900), 5900), Kind::kLocalVm);
  ExpectRefusal(Viewer(Ticket("pve1"), 61001), CloseReason::kProxmoxPort);
}

TEST_F(ConnectAccessTest, BadTicketsHaveOneAnswer) {
  std::string forged = Ticket("pve1");
  forged.back() = forged.back() == '0' ? '1' : '0';
  ExpectRefusal(Viewer(forged, 61001), CloseReason::kProxmoxTicket);
  ExpectRefusal(Viewer("pvespiceproxy:x", 61001), CloseReason::kProxmoxTicket);
  ExpectRefusal(Viewer(Ticket("pve1", 61001, kWallS - 40), 61001),
                CloseReason::kProxmoxExpired);
  ExpectRefusal(Viewer(Ticket("pve1", 61001, kWallS + 20), 61001),
                CloseReason::kProxmoxExpired);
  ExpectRefusal(Viewer(std::string(kTicketLen, 'a'), 5900),
                CloseReason::kConnectForbidden);
  // A forged one does not tell whether its port would have done.
  ExpectRefusal(Viewer(forged, 22), CloseReason::kProxmoxTicket);
}

TEST_F(ConnectAccessTest, OtherNodesAreDialledWhereTheyAre) {
  const ConnectGrant grant =
      ExpectGrant(Viewer(Ticket("pve2"), 61001), Kind::kRemoteVm);
  EXPECT_EQ(grant.host, "10.0.0.2");
  EXPECT_EQ(grant.port, 61001);
  EXPECT_EQ(grant.hop_request, "");
  EXPECT_EQ(grant.name, "pve/100@pve2");
}

TEST_F(ConnectAccessTest, UnknownNodesAreAskedByTheirProxy) {
  const std::string ticket = Ticket("pve3");
  settings_.proxy_port = 3129;
  const ConnectGrant grant =
      ExpectGrant(Viewer(ticket, 61001), Kind::kRemoteVm);
  EXPECT_EQ(grant.host, "pve3");
  EXPECT_EQ(grant.port, 3129);
  EXPECT_EQ(grant.hop_request, "CONNECT " + ticket +
                                   ":61001 HTTP/1.0\r\nHost: " + ticket +
                                   ":61001\r\nPVEDisableProxy: true\r\n"
                                   "PVEClientIP: 192.0.2.9\r\n\r\n");
}

TEST_F(ConnectAccessTest, TheProxyIsToldAnAddressOrNothing) {
  const ConnectRequest request = Viewer(Ticket("pve3"), 61001);
  const auto hop_request = [&](std::string_view client) {
    return ExpectGrant(request, Kind::kRemoteVm, client).hop_request;
  };
  EXPECT_TRUE(
      hop_request("[fd00::7]:80")
          .ends_with(
              "\r\nPVEDisableProxy: true\r\nPVEClientIP: fd00::7\r\n\r\n"));
  for (const char* client : {"", "unix", "a\r\nb:1", "/run/socket"}) {
    EXPECT_TRUE(
        hop_request(client).ends_with("\r\nPVEDisableProxy: true\r\n\r\n"))
        << client;
  }
}

TEST_F(ConnectAccessTest, ALoopEndsHere) {
  for (const char* node : {"pve2", "pve3"}) {
    ConnectRequest request = Viewer(Ticket(node), 61001);
    request.pve_disable_proxy = true;
    ExpectRefusal(request, CloseReason::kProxmoxNode, ConnectStatus::kLoop);
  }
  ConnectRequest request = Viewer(Ticket("pve1"), 61001);
  request.pve_disable_proxy = true;
  ExpectGrant(request, Kind::kLocalVm);
  request = Viewer(Ticket("pve3", 61001, kWallS - 60), 61001);
  request.pve_disable_proxy = true;
  ExpectRefusal(request, CloseReason::kProxmoxExpired);
}

TEST_F(ConnectAccessTest, NumbersAreNoNodes) {
  for (const char* node : {"1", "2130706433", "0x7f000001"}) {
    ExpectRefusal(Viewer(Ticket(node), 61001), CloseReason::kProxmoxNode);
  }
  ExpectGrant(Viewer(Ticket("3par"), 61001), Kind::kRemoteVm);
  settings_.nodes["1"] = "10.0.0.3";
  EXPECT_EQ(ExpectGrant(Viewer(Ticket("1"), 61001), Kind::kRemoteVm).host,
            "10.0.0.3");
}

TEST_F(ConnectAccessTest, TheClusterKnowsWhereANodesProxyIs) {
  settings_.addresses = {{"pve3", "192.0.2.3"}, {"1", "192.0.2.1"}};
  for (const auto& [node, address] : settings_.addresses) {
    const ConnectGrant grant =
        ExpectGrant(Viewer(Ticket(node.c_str()), 61001), Kind::kRemoteVm);
    EXPECT_EQ(grant.host, address);
    EXPECT_EQ(grant.port, settings_.proxy_port);
    EXPECT_NE(grant.hop_request, "");
  }
}

TEST_F(ConnectAccessTest, WithoutAKeyTheyAreNothing) {
  settings_.proxmox_key = nullptr;
  ExpectRefusal(Viewer(Ticket("pve1"), 61001), CloseReason::kConnectForbidden);
}

TEST_F(ConnectAccessTest, ABadOneIsNotAskedToLogIn) {
  settings_.login = true;
  ConnectRequest request = Viewer(Ticket("pve1", 61001, 0), 61001);
  request.basic_password = Issue("vm1");
  request.has_credentials = true;
  ExpectRefusal(request, CloseReason::kProxmoxExpired);
}

// ---- Our tickets.

TEST_F(ConnectAccessTest, ATicketOpensItsConsoleFromAnyPlace) {
  const std::string ticket = Issue("vm1");
  ConnectRequest as_target = To(ticket, 5900);
  ConnectRequest as_header = To("vm2", 5900);
  as_header.host_header = Authority{ticket, 0};
  ConnectRequest as_password = Viewer("VM1", 5900);
  as_password.basic_password = ticket;
  as_password.has_credentials = true;
  const TicketDigest group = ExpectGrant(as_target, Kind::kConsole).group;
  for (const ConnectRequest& request : {as_target, as_header, as_password}) {
    const ConnectGrant grant = ExpectGrant(request, Kind::kConsole);
    EXPECT_TRUE(grant.claim);
    EXPECT_EQ(grant.claim.console(), "vm1");
    EXPECT_EQ(grant.name, "vm1");
    EXPECT_EQ(grant.host, "");
    EXPECT_TRUE(grant.group == group);
  }
  EXPECT_FALSE(group == TicketVault::DigestOf(ticket));
}

TEST_F(ConnectAccessTest, TicketsComeBeforeTheList) {
  const std::string ticket = Issue("vm1");
  ConnectRequest request = Viewer("hv1.example.org", 5900);
  request.basic_password = ticket;
  // It is good for vm1, and nobody says that this is where vm1 is.
  ExpectGrant(request, Kind::kAllowed);
  names_ = [](const TicketClaim& claim, const std::string& host) {
    return claim.console() == "vm1" && host == "hv1.example.org";
  };
  ExpectGrant(request, Kind::kConsole);
  request.basic_password = ticket.substr(1);
  ExpectGrant(request, Kind::kAllowed);
  settings_.tickets = false;
  request.basic_password = ticket;
  ExpectGrant(request, Kind::kAllowed);
  ExpectRefusal(Viewer(ticket, 5900), CloseReason::kConnectForbidden);
}

TEST_F(ConnectAccessTest, APasswordDoesNotLeadBackToTheSourceOfAMigration) {
  const std::string source = Issue("vm1");
  const std::string destination = Issue("vm1-there");
  ConnectRequest request = Viewer(destination, 5901);
  request.basic_password = source;
  EXPECT_EQ(ExpectGrant(request, Kind::kConsole).name, "vm1-there");
  request = Viewer("hv2.example.net", 4000);
  request.basic_password = source;
  ExpectRefusal(request, CloseReason::kConnectForbidden);
}

TEST_F(ConnectAccessTest, AnExpiredTicketIsNotLookedUp) {
  const ConnectDecision decision =
      DecideConnect(Viewer(Issue("vm1"), 5900), kClient, settings_, &vault_,
                    kFirstUseMs, kWallS);
  EXPECT_FALSE(decision.grant.has_value());
  EXPECT_EQ(decision.refusal, CloseReason::kConnectForbidden);
  EXPECT_EQ(decision.answer, ConnectStatus::kForbidden);
  // The list would have such a name resolved, to look at its addresses.
  const std::string unknown(kTicketLen, 'a');
  ASSERT_EQ(settings_.allow.Judge(unknown, 5900),
            AllowList::Verdict::kAskAddress);
  for (const std::string& host :
       {unknown, unknown + ".", std::string(kTicketLen, 'A')}) {
    ExpectRefusal(Viewer(host, 5900), CloseReason::kConnectForbidden);
  }
  ExpectGrant(Viewer(unknown + "a", 5900), Kind::kAllowed);
}

TEST_F(ConnectAccessTest, UpperCaseIsAnotherTicket) {
  std::string ticket = Issue("vm1");
  std::transform(ticket.begin(), ticket.end(), ticket.begin(),
                 [](unsigned char c) { return std::toupper(c); });
  ExpectRefusal(Viewer(ticket, 80), CloseReason::kConnectForbidden);
}

// ---- The allow-list.

TEST_F(ConnectAccessTest, TheListLeadsToTheTarget) {
  ConnectGrant grant =
      ExpectGrant(Viewer("hv1.example.org", 5901), Kind::kAllowed);
  EXPECT_EQ(grant.host, "hv1.example.org");
  EXPECT_EQ(grant.port, 5901);
  EXPECT_TRUE(grant.by_name);
  EXPECT_EQ(grant.name, "hv1.example.org:5901");
  EXPECT_FALSE(grant.claim);
  EXPECT_EQ(grant.hop_request, "");
  grant = ExpectGrant(Viewer("hv2.example.org", 5901), Kind::kAllowed);
  EXPECT_FALSE(grant.by_name);
  grant = ExpectGrant(Viewer("10.0.0.7", 5901), Kind::kAllowed);
  EXPECT_FALSE(grant.by_name);
  settings_.allow = *AllowList::Parse({{{"fd00::/8"}, {{5900, 5900}}}});
  EXPECT_EQ(ExpectGrant(Viewer("fd00::1", 5900), Kind::kAllowed).name,
            "[fd00::1]:5900");
}

TEST_F(ConnectAccessTest, TheListDoesNotLookAtTheHeader) {
  ConnectRequest request = To("10.9.9.9", 5900);
  request.host_header = Authority{"hv1.example.org", 5900};
  ExpectRefusal(request, CloseReason::kConnectForbidden);
}

TEST_F(ConnectAccessTest, NothingElseIsDialled) {
  for (const auto& [host, port] :
       std::vector<std::pair<std::string, uint16_t>>{{"10.0.0.7", 22},
                                                     {"10.0.1.7", 5900},
                                                     {"127.0.0.1", 5900},
                                                     {"hv1.example.org", 443},
                                                     {"127.1", 5900},
                                                     {"10.0.0.7%00", 5900},
                                                     {"pvespiceproxy", 61001},
                                                     {"pve1", 61001}}) {
    ExpectRefusal(Viewer(host, port), CloseReason::kConnectForbidden);
  }
  settings_.allow = AllowList();
  ExpectRefusal(Viewer("10.0.0.7", 5900), CloseReason::kConnectForbidden);
}

TEST_F(ConnectAccessTest, LoginAsksWhoHasNoTicket) {
  settings_.login = true;
  ConnectRequest request = Viewer("vm1", 5900);
  ExpectGrant(Viewer("hv1.example.org", 5900), Kind::kAllowed);
  settings_.allow = AllowList();
  ExpectRefusal(request, CloseReason::kConnectForbidden, ConnectStatus::kLogin);
  request.has_credentials = true;
  ExpectRefusal(request, CloseReason::kConnectForbidden, ConnectStatus::kLogin);
  request.basic_password = "wrong";
  ExpectRefusal(request, CloseReason::kConnectForbidden, ConnectStatus::kLogin);
  request.basic_password = Issue("vm1");
  ExpectGrant(request, Kind::kConsole);
}

// ---- Groups.

TEST_F(ConnectAccessTest, AGroupIsOnePersonsDesktop) {
  const auto group = [this](const ConnectRequest& request,
                            std::string_view client = kClient) {
    ConnectDecision decision = Decide(request, client);
    EXPECT_TRUE(decision.grant.has_value()) << request.target.host;
    return decision.grant.has_value() ? decision.grant->group : TicketDigest();
  };
  // The same person's next channel.
  const ConnectRequest allowed = Viewer("hv1.example.org", 5900);
  EXPECT_TRUE(group(allowed, "192.0.2.9:1") == group(allowed, "192.0.2.9:2"));
  EXPECT_TRUE(group(allowed) == group(Viewer("HV1.example.org", 5900)));
  const ConnectRequest machine = Viewer(Ticket("pve1"), 61001);
  EXPECT_TRUE(group(machine, "192.0.2.9:1") == group(machine, "192.0.2.8:2"));

  // Somebody else's, or another desktop.
  const std::string old_form = Ticket("pve1", std::nullopt);
  const std::vector<TicketDigest> others = {
      group(allowed, "192.0.2.8:1"),
      group(allowed, "[fd00::7]:1"),
      group(Viewer("hv1.example.org", 5901)),
      group(Viewer("10.0.0.7", 5900)),
      group(machine),
      group(Viewer(Ticket("pve1", 61001, kWallS - 1), 61001)),
      group(Viewer(old_form, 61001)),
      group(Viewer(old_form, 61002)),
      group(Viewer(Issue("vm1"), 5900)),
      group(Viewer(Issue("vm1"), 5900)),
      group(allowed)};
  for (size_t i = 0; i < others.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      EXPECT_FALSE(others[i] == others[j]) << i << " " << j;
    }
  }
}

}  // namespace
}  // namespace spicegate
