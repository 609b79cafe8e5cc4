// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/config_connect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/status/status.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;

constexpr char kDoor[] =
    R"("listeners": [{"address": "*:3128", "protocol": "connect"}])";

Config Parse(const std::string& text) {
  const absl::StatusOr<Config> config = ParseConfig(text, "/etc/sg/c.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : Config();
}

// A configuration with a CONNECT listener and `members`.
Config WithDoor(const std::string& members) {
  return Parse("{" + std::string(kDoor) + ", " + members + "}");
}

// The error without the file's name in front.
std::string ErrorOf(const std::string& text) {
  const absl::Status status = ParseConfig(text, "f").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  const std::string message(status.message());
  EXPECT_EQ(message.substr(0, 3), "f: ") << text;
  return message.substr(std::min<size_t>(3, message.size()));
}

std::string DoorError(const std::string& members) {
  return ErrorOf("{" + std::string(kDoor) + ", " + members + "}");
}

std::string ListenerError(const std::string& members) {
  return ErrorOf(R"({"listeners": [{"address": "*:1", )" + members + "}]}");
}

AddressBytes Address(const char* text) {
  AddressBytes bytes{};
  EXPECT_TRUE(ParseHostAddress(text, &bytes)) << text;
  return bytes;
}

TEST(ConfigConnect, NothingIsOnByItself) {
  const Config config = Parse("{}");
  EXPECT_EQ(config.listeners.size(), 2U);
  EXPECT_EQ(config.FirstConnectListener(), nullptr);
  EXPECT_FALSE(config.proxmox.enabled);
  EXPECT_TRUE(config.connect.allow.empty());
  for (const ListenerConfig& listener : config.listeners) {
    EXPECT_EQ(listener.protocol, ListenerProtocol::kSpice);
    EXPECT_FALSE(listener.proxy_protocol);
  }
}

TEST(ConfigConnect, ReadsListeners) {
  const Config config = Parse(R"({"listeners": [
    {"address": "*:1", "protocol": "spice", "need_secured": true},
    {"address": "*:2", "protocol": "connect", "tls": true,
     "proxy_protocol": true, "proxy_from": ["10.0.0.0/8", "::1"]},
    {"address": "*:3", "proxy_protocol": true}]})");
  ASSERT_EQ(config.listeners.size(), 3U);
  EXPECT_EQ(config.listeners[0].protocol, ListenerProtocol::kSpice);
  EXPECT_FALSE(config.listeners[0].proxy_protocol);
  const ListenerConfig& connect = config.listeners[1];
  EXPECT_EQ(&connect, config.FirstConnectListener());
  EXPECT_EQ(connect.protocol, ListenerProtocol::kConnect);
  EXPECT_TRUE(connect.tls);
  EXPECT_TRUE(connect.proxy_protocol);
  EXPECT_TRUE(connect.proxy_from.HoldsAddress(Address("10.9.8.7")));
  EXPECT_TRUE(connect.proxy_from.HoldsAddress(Address("::1")));
  EXPECT_FALSE(connect.proxy_from.HoldsAddress(Address("11.0.0.1")));
  EXPECT_TRUE(config.listeners[2].proxy_protocol);
  EXPECT_TRUE(config.listeners[2].proxy_from.empty());
  EXPECT_TRUE(config.HasTlsListener());
}

TEST(ConfigConnect, ChecksListeners) {
  EXPECT_EQ(ListenerError(R"("protocol": "http")"),
            "listeners[0].protocol: expected \"spice\" or \"connect\", got "
            "\"http\"");
  EXPECT_EQ(ListenerError(R"("protocol": "connect", "need_secured": true)"),
            "listeners[0].need_secured: expected false on a listener with "
            "protocol \"connect\", got true");
  EXPECT_EQ(ListenerError(R"("proxy_from": ["::1"])"),
            "listeners[0].proxy_protocol: expected true beside proxy_from, "
            "got nothing");
  EXPECT_EQ(ListenerError(R"("proxy_protocol": false, "proxy_from": ["::1"])"),
            "listeners[0].proxy_protocol: expected true beside proxy_from, "
            "got false");
  EXPECT_EQ(ListenerError(R"("proxy_protocol": true, "proxy_from": [])"),
            "listeners[0].proxy_from: expected an array of 1 to 256 strings, "
            "got 0");
}

TEST(ConfigConnect, ProxiesHaveNoNames) {
  for (const char* entry :
       {"lb.example.org", ".example.org", "10.0.0.1/8", "127.1", "[::1]"}) {
    EXPECT_EQ(
        ListenerError(R"("proxy_protocol": true, "proxy_from": ["::1", ")" +
                      std::string(entry) + "\"]"),
        "listeners[0].proxy_from[1]: expected an address, or a network "
        "such as 10.1.0.0/16 with no bit set behind the prefix, got \"" +
            std::string(entry) + '"');
  }
}

TEST(ConfigConnect, ADoorIsOpenedWhereNoListenersAreGiven) {
  for (const char* text :
       {R"({"connect": {}})", R"({"proxmox": {"key_file": "k"}})"}) {
    const Config config = Parse(text);
    ASSERT_EQ(config.listeners.size(), 3U);
    const ListenerConfig* door = config.FirstConnectListener();
    ASSERT_NE(door, nullptr);
    EXPECT_EQ(FormatBindAddress(door->address), "*:3128");
    EXPECT_FALSE(door->tls);
    EXPECT_FALSE(door->need_secured);
  }
}

TEST(ConfigConnect, RulesNeedADoor) {
  for (const char* text :
       {R"("connect": {})", R"("proxmox": {"key_file": "k"})"}) {
    EXPECT_EQ(
        ErrorOf(R"({"listeners": [{"address": "*:1"}], )" + std::string(text) +
                "}"),
        "listeners: expected one with protocol \"connect\" beside connect or "
        "proxmox, got none");
  }
}

TEST(ConfigConnect, ADoorNeedsSomebodyWhoGetsThrough) {
  EXPECT_EQ(DoorError(R"("connect": {"tickets": false, "login": true})"),
            "connect: expected tickets, allow or proxmox beside a listener "
            "with protocol \"connect\", got nothing that lets anybody "
            "through");
  const std::string no_tickets = R"("connect": {"tickets": false})";
  EXPECT_FALSE(WithDoor(no_tickets + R"(, "proxmox": {"key_file": "k"})")
                   .connect.tickets);
  EXPECT_FALSE(WithDoor(R"("connect": {"tickets": false,
                  "allow": [{"hosts": ["h.example"], "ports": [1]}]})")
                   .connect.tickets);
  EXPECT_TRUE(WithDoor(R"("workers": 1)").connect.tickets);
}

TEST(ConfigConnect, ReadsWhoMayGoWhere) {
  const Config defaults = WithDoor(R"("connect": {})");
  EXPECT_TRUE(defaults.connect.tickets);
  EXPECT_TRUE(defaults.connect.tunnels);
  EXPECT_FALSE(defaults.connect.login);
  const Config config = WithDoor(R"("connect": {
    "tickets": false, "tunnels": false, "login": true,
    "allow": [{"hosts": ["10.0.0.0/24"], "ports": ["5900-5999", 61000]},
              {"hosts": [".example.org"], "ports": [5000]}]})");
  EXPECT_FALSE(config.connect.tickets);
  EXPECT_FALSE(config.connect.tunnels);
  EXPECT_TRUE(config.connect.login);
  const AllowList& allow = config.connect.allow;
  using Verdict = AllowList::Verdict;
  EXPECT_EQ(allow.Judge("10.0.0.9", 5950), Verdict::kAskAddress);
  EXPECT_EQ(allow.Judge("10.0.0.9", 61000), Verdict::kAskAddress);
  EXPECT_EQ(allow.Judge("10.0.0.9", 5000), Verdict::kRefused);
  EXPECT_EQ(allow.Judge("a.example.org", 5000), Verdict::kAllowed);
}

TEST(ConfigConnect, ChecksWhoMayGoWhere) {
  EXPECT_EQ(DoorError(R"("connect": {"allow": []})"),
            "connect.allow: expected an array of 1 to 256 objects, got 0");
  EXPECT_EQ(DoorError(R"("connect": {"allow": [{"ports": [1]}]})"),
            "connect.allow[0].hosts: expected an array of hosts, got nothing");
  EXPECT_EQ(DoorError(R"("connect": {"allow": [{"hosts": ["h.example"]}]})"),
            "connect.allow[0].ports: expected an array of ports, got nothing");
  EXPECT_THAT(DoorError(R"("connect": {"allow": [{"hosts": ["h:1"],
                                                  "ports": [1]}]})"),
              HasSubstr("connect.allow[0].hosts[0]: expected an address, a "
                        "network"));
  EXPECT_THAT(DoorError(R"("connect": {"allow": [{"hosts": ["h.example"],
                                                  "ports": [1, "9-2"]}]})"),
              HasSubstr("connect.allow[0].ports[1]: expected a port from 1"));
  EXPECT_THAT(DoorError(R"("connect": {"ticket": true})"),
              HasSubstr("connect: expected one of the keys tickets, tunnels, "
                        "login, allow, got \"ticket\""));
}

TEST(ConfigConnect, ReadsProxmox) {
  const Config defaults = WithDoor(R"("proxmox": {"key_file": "www.key"})");
  EXPECT_TRUE(defaults.proxmox.enabled);
  EXPECT_EQ(defaults.proxmox.key_path, "/etc/sg/www.key");
  EXPECT_EQ(defaults.proxmox.node, "");
  EXPECT_EQ(defaults.proxmox.proxy_port, 3128);
  EXPECT_EQ(defaults.proxmox.first_port, 61000);
  EXPECT_EQ(defaults.proxmox.last_port, 61999);
  const ProxmoxConfig proxmox = WithDoor(R"("proxmox": {
    "key_file": "/etc/pve/pve-www.key", "node": "PVE1",
    "nodes": {"Pve2": "10.0.0.2", "pve-3": "pve3.example.org"},
    "proxy_port": 3129, "ports": "61000-61099"})")
                                    .proxmox;
  EXPECT_EQ(proxmox.key_path, "/etc/pve/pve-www.key");
  EXPECT_EQ(proxmox.node, "pve1");
  EXPECT_EQ(proxmox.nodes,
            (std::map<std::string, std::string>{
                {"pve2", "10.0.0.2"}, {"pve-3", "pve3.example.org"}}));
  EXPECT_EQ(proxmox.proxy_port, 3129);
  EXPECT_EQ(proxmox.first_port, 61000);
  EXPECT_EQ(proxmox.last_port, 61099);
}

TEST(ConfigConnect, ChecksProxmox) {
  const auto error = [](const std::string& members) {
    return DoorError(R"("proxmox": {"key_file": "k", )" + members + "}");
  };
  EXPECT_EQ(DoorError(R"("proxmox": {})"),
            "proxmox.key_file: expected the file with the cluster's key, got "
            "nothing");
  EXPECT_EQ(error(R"("node": "pve1.example")"),
            "proxmox.node: expected a node's name, 1 to 63 of A-Z a-z 0-9 -, "
            "got \"pve1.example\"");
  EXPECT_EQ(error(R"("nodes": {"a:b": "h"})"),
            "proxmox.nodes: expected each key a node's name, 1 to 63 of A-Z "
            "a-z 0-9 -, got \"a:b\"");
  for (const char* host : {"", "[::1]", "10.0.0.2:3128", "10.0.2"}) {
    EXPECT_EQ(error(R"("nodes": {"a": ")" + std::string(host) + "\"}"),
              "proxmox.nodes.a: expected a host name or an address, without "
              "port, got \"" +
                  std::string(host) + '"');
  }
  EXPECT_THAT(error(R"("ports": "61999-61000")"),
              HasSubstr("proxmox.ports: expected a port from 1"));
  EXPECT_THAT(error(R"("proxy_port": 0)"), HasSubstr("proxmox.proxy_port"));
}

TEST(ConfigConnect, NodesAreOthersAndOnce) {
  const auto error = [](const std::string& nodes) {
    return DoorError(R"("proxmox": {"key_file": "k", "node": "pve1",
                        "nodes": )" +
                     nodes + "}");
  };
  EXPECT_EQ(error(R"({"pve2": "h", "PVE2": "h"})"),
            "proxmox.nodes: expected each node once, got \"PVE2\" again");
  EXPECT_EQ(error(R"({"Pve1": "h"})"),
            "proxmox.nodes: expected other nodes, got this one: \"Pve1\"");
  EXPECT_EQ(error(R"({"localhost": "h"})"),
            "proxmox.nodes: expected other nodes, got this one: "
            "\"localhost\"");
}

TEST(ConfigConnect, ReadsWhatViewersAreTold) {
  const PublicConnect given = WithDoor(R"("public": {"connect":
      {"host": "gw.example.org", "port": 443, "tls": true}})")
                                  .public_address.connect;
  EXPECT_EQ(given.host, "gw.example.org");
  EXPECT_EQ(given.port, 443);
  EXPECT_TRUE(given.tls);
  const PublicConnect none = WithDoor(R"("workers": 1)").public_address.connect;
  EXPECT_EQ(none.host, "");
  EXPECT_EQ(none.port, 0);
  EXPECT_FALSE(none.tls);
}

TEST(ConfigConnect, ViewersSpeakTlsWhereTheListenerDoes) {
  const std::string listeners = R"({"listeners": [
      {"address": "*:1"},
      {"address": "*:2", "protocol": "connect", "tls": true},
      {"address": "*:3", "protocol": "connect"}], "public": )";
  EXPECT_TRUE(Parse(listeners + "{}}").public_address.connect.tls);
  EXPECT_TRUE(Parse(listeners + R"({"connect": {"port": 9}}})")
                  .public_address.connect.tls);
  EXPECT_FALSE(Parse(listeners + R"({"connect": {"tls": false}}})")
                   .public_address.connect.tls);
  EXPECT_EQ(ErrorOf(R"({"public": {"connect": {"port": 1}}})"),
            "public.connect: expected a listener with protocol \"connect\" to "
            "speak of, got none");
  EXPECT_THAT(DoorError(R"("public": {"connect": {"host": "a:1"}})"),
              HasSubstr("public.connect.host: expected a host name"));
}

TEST(ConfigConnect, TunnelsAreNotEndedBetweenTwoPings) {
  const auto limit = [](const std::string& ms) {
    return R"({"limits": {"tunnel_idle_ms": )" + ms + "}}";
  };
  EXPECT_EQ(Parse("{}").limits.tunnel_idle_ms, 900'000);
  for (const int64_t ms : {0, 360'000, 86'400'000}) {
    EXPECT_EQ(Parse(limit(std::to_string(ms))).limits.tunnel_idle_ms, ms);
  }
  EXPECT_EQ(ErrorOf(limit("359999")),
            "limits.tunnel_idle_ms: expected 0 for no limit, or a whole number "
            "from 360000 to 86400000, got 359999");
  EXPECT_THAT(ErrorOf(limit("-1")), HasSubstr("limits.tunnel_idle_ms"));
  EXPECT_THAT(ErrorOf(limit("86400001")), HasSubstr("limits.tunnel_idle_ms"));
}

}  // namespace
}  // namespace spicegate
