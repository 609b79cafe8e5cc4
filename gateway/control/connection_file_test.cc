// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/connection_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const BoundListener kPlain = {{"", 5930}, false, false};
const BoundListener kNeedSecured = {{"", 5930}, false, true};
const BoundListener kTls = {{"", 5931}, true, false};
const BoundListener kConnect = {
    {"", 3128}, false, false, ListenerProtocol::kConnect};

Console Vm1() {
  Console console;
  console.name = "vm1";
  console.host = "10.0.0.5";
  console.ticket = "server-secret";
  console.ca_pem = "server-ca";
  return console;
}

PublicEndpoint Resolve(const PublicConfig& config,
                       const std::vector<BoundListener>& listeners) {
  return ResolvePublicEndpoint(config, listeners, "machine.example");
}

TEST(PublicEndpoint, HasTheTlsPortOnlyByDefault) {
  const PublicEndpoint endpoint = Resolve({}, {kPlain, kTls});
  EXPECT_EQ(endpoint.host, "machine.example");
  EXPECT_EQ(endpoint.tls_port, 5931);
  EXPECT_EQ(endpoint.port, 0);
}

TEST(PublicEndpoint, HasThePlainPortWhereThereIsNoTls) {
  const PublicEndpoint endpoint = Resolve({}, {kPlain});
  EXPECT_EQ(endpoint.tls_port, 0);
  EXPECT_EQ(endpoint.port, 5930);
  // One that only sends viewers to TLS comes last.
  const BoundListener other = {{"", 7}, false, false};
  EXPECT_EQ(Resolve({}, {kNeedSecured, other}).port, 7);
  EXPECT_EQ(Resolve({}, {kNeedSecured}).port, 5930);
}

TEST(PublicEndpoint, TakesWhatTheConfigurationGives) {
  PublicConfig config;
  config.host = "desktops.example.org";
  config.port = 1;
  config.tls_port = 2;
  const PublicEndpoint endpoint = Resolve(config, {kPlain, kTls});
  EXPECT_EQ(endpoint.host, "desktops.example.org");
  EXPECT_EQ(endpoint.port, 1);
  EXPECT_EQ(endpoint.tls_port, 2);
  // TLS may end at a balancer in front of a plain listener.
  config.port = 0;
  EXPECT_EQ(Resolve(config, {kPlain}).port, 0);
  EXPECT_EQ(Resolve(config, {kPlain}).tls_port, 2);
}

TEST(PublicEndpoint, ThePlainPortServesDesktops) {
  EXPECT_EQ(ResolvePlainPort({}, {kTls, kPlain}), 5930);
  EXPECT_EQ(ResolvePlainPort({}, {kTls, kNeedSecured}), 0);
  const BoundListener other = {{"", 7}, false, false};
  EXPECT_EQ(ResolvePlainPort({}, {kNeedSecured, other, kPlain}), 7);
  PublicConfig config;
  config.port = 1;
  EXPECT_EQ(ResolvePlainPort(config, {kPlain}), 1);
  EXPECT_EQ(ResolvePlainPort(config, {}), 1);
}

TEST(PublicEndpoint, TakesAListenersAddressWhenItHasOne) {
  BoundListener one = kTls;
  one.address.host = "127.0.0.1";
  EXPECT_EQ(Resolve({}, {kPlain, one}).host, "127.0.0.1");
  BoundListener every = kPlain;
  every.address.host = "::";
  EXPECT_EQ(Resolve({}, {every, one}).host, "127.0.0.1");
  EXPECT_EQ(Resolve({}, {every}).host, "machine.example");
}

TEST(PublicEndpoint, ListenersForConnectDoNotCount) {
  BoundListener one = kConnect;
  one.address.host = "127.0.0.1";
  BoundListener secured = one;
  secured.tls = true;
  const PublicEndpoint endpoint = Resolve({}, {one, secured, kPlain});
  EXPECT_EQ(endpoint.host, "machine.example");
  EXPECT_EQ(endpoint.tls_port, 0);
  EXPECT_EQ(endpoint.port, 5930);
  EXPECT_EQ(Resolve({}, {one}).port, 0);
  EXPECT_EQ(ResolvePlainPort({}, {one, kPlain}), 5930);
  EXPECT_EQ(ResolvePlainPort({}, {one}), 0);
}

TEST(ConnectEndpoint, IsTheFirstSuchListener) {
  BoundListener second = kConnect;
  second.address = {"127.0.0.1", 3129};
  const ConnectEndpoint endpoint =
      ResolveConnectEndpoint({}, {kTls, kConnect, second}, "machine.example");
  EXPECT_EQ(endpoint.host, "machine.example");
  EXPECT_EQ(endpoint.port, 3128);
  EXPECT_FALSE(endpoint.tls);
  EXPECT_EQ(ResolveConnectEndpoint({}, {second}, "machine.example").host,
            "127.0.0.1");
  EXPECT_EQ(ResolveConnectEndpoint({}, {kPlain}, "machine.example").port, 0);
}

TEST(ConnectEndpoint, TakesWhatTheConfigurationGives) {
  PublicConfig config;
  config.host = "desktops.example.org";
  config.port = 1;
  ConnectEndpoint endpoint = ResolveConnectEndpoint(config, {kConnect}, "m");
  EXPECT_EQ(endpoint.host, "desktops.example.org");
  EXPECT_EQ(endpoint.port, 3128);
  config.connect = {"proxy.example.org", 443, true};
  endpoint = ResolveConnectEndpoint(config, {kConnect}, "m");
  EXPECT_EQ(endpoint.host, "proxy.example.org");
  EXPECT_EQ(endpoint.port, 443);
  EXPECT_TRUE(endpoint.tls);
  // A balancer's, in front of nothing that we know of.
  EXPECT_EQ(ResolveConnectEndpoint(config, {}, "m").port, 443);
}

TEST(BuildVv, WritesTheFileViewersRead) {
  PublicEndpoint endpoint;
  endpoint.host = "desktops.example.org";
  endpoint.tls_port = 5931;
  endpoint.ca_pem = "-----BEGIN CERTIFICATE-----\nAA==\n";
  endpoint.host_subject = "O=Test,CN=gw";
  Console console = Vm1();
  console.title = "Windows 11";
  EXPECT_EQ(BuildVv(endpoint, console, "TICKET"),
            "[virt-viewer]\n"
            "type=spice\n"
            "host=desktops.example.org\n"
            "tls-port=5931\n"
            "password=TICKET\n"
            "ca=-----BEGIN CERTIFICATE-----\\nAA==\\n\n"
            "host-subject=O=Test,CN=gw\n"
            "title=Windows 11\n"
            "delete-this-file=1\n"
            "toggle-fullscreen=shift+f11\n"
            "release-cursor=shift+f12\n"
            "secure-attention=ctrl+alt+end\n");
}

TEST(BuildVv, LeavesOutWhatThereIsNot) {
  PublicEndpoint endpoint;
  endpoint.host = "::1";
  endpoint.port = 5930;
  endpoint.ca_pem = "PEM";
  const std::string text = BuildVv(endpoint, Vm1(), "T");
  EXPECT_THAT(text, HasSubstr("\nhost=::1\nport=5930\npassword=T\n"));
  EXPECT_THAT(text, Not(HasSubstr("tls-port")));
  EXPECT_THAT(text, Not(HasSubstr("\nca=")));
  EXPECT_THAT(text, Not(HasSubstr("host-subject")));
  EXPECT_THAT(text, HasSubstr("\ntitle=vm1\n"));
}

TEST(BuildVv, ShowsNothingOfTheServer) {
  const std::string text = BuildVv({"gw", 0, 1, "", ""}, Vm1(), "T");
  EXPECT_THAT(text, Not(HasSubstr("server-secret")));
  EXPECT_THAT(text, Not(HasSubstr("server-ca")));
  EXPECT_THAT(text, Not(HasSubstr("10.0.0.5")));
}

TEST(BuildVv, ATitleAddsNoKey) {
  Console console = Vm1();
  console.title = "x\nhost=evil\r\n[virt-viewer]\nca=evil";
  const std::string text = BuildVv({"gw", 0, 1, "", ""}, console, "T");
  EXPECT_THAT(
      text,
      HasSubstr(
          "\ntitle=x\\nhost=evil\\r\\n[virt-viewer]\\nca=evil\ndelete-this"));
}

IssuedTicket TicketFor(Console console) {
  return {"TICKET", 60, std::move(console)};
}

TEST(BuildConnectVv, SpiceInsideConnectShowsOurTicketOnly) {
  Console console = Vm1();
  console.name = "VM-1.Example";
  console.title = "Windows 11";
  const std::string text =
      BuildConnectVv({"gw", 3128, false}, TicketFor(console), "connect");
  EXPECT_EQ(text,
            "[virt-viewer]\n"
            "type=spice\n"
            "proxy=http://ticket:TICKET@gw:3128\n"
            "host=vm-1.example\n"
            "port=5900\n"
            "password=TICKET\n"
            "title=Windows 11\n"
            "delete-this-file=1\n"
            "toggle-fullscreen=shift+f11\n"
            "release-cursor=shift+f12\n"
            "secure-attention=ctrl+alt+end\n");
}

TEST(BuildConnectVv, ATunnelIsForTheServerItself) {
  Console console = Vm1();
  console.tls_port = 5901;
  console.ca_pem = "-----BEGIN CERTIFICATE-----\nAA==\n";
  EXPECT_EQ(BuildConnectVv({"gw", 3128, false}, TicketFor(console), "tunnel"),
            "[virt-viewer]\n"
            "type=spice\n"
            "proxy=http://ticket:TICKET@gw:3128\n"
            "host=10.0.0.5\n"
            "tls-port=5901\n"
            "password=server-secret\n"
            "ca=-----BEGIN CERTIFICATE-----\\nAA==\\n\n"
            "title=vm1\n"
            "delete-this-file=1\n"
            "toggle-fullscreen=shift+f11\n"
            "release-cursor=shift+f12\n"
            "secure-attention=ctrl+alt+end\n");
}

TEST(BuildConnectVv, ATunnelsSubjectStandsInForTheName) {
  Console console = Vm1();
  console.name = "Vm1";
  console.tls_port = 5901;
  console.host_subject = "O=Test,CN=hv1";
  const std::string text =
      BuildConnectVv({"gw", 3128, false}, TicketFor(console), "tunnel");
  EXPECT_THAT(text, HasSubstr("\nhost=vm1\ntls-port=5901\n"));
  EXPECT_THAT(text, HasSubstr("\nhost-subject=O=Test,CN=hv1\n"));
  EXPECT_THAT(text, Not(HasSubstr("10.0.0.5")));
}

TEST(BuildConnectVv, TheProxysUrlFitsItsAddress) {
  const auto proxy = [](const ConnectEndpoint& endpoint) {
    const std::string text =
        BuildConnectVv(endpoint, TicketFor(Vm1()), "connect");
    const size_t at = text.find("proxy=");
    return text.substr(at, text.find('\n', at) - at);
  };
  EXPECT_EQ(proxy({"::1", 1, false}), "proxy=http://ticket:TICKET@[::1]:1");
  EXPECT_EQ(proxy({"[::1]", 1, false}), "proxy=http://ticket:TICKET@[::1]:1");
  EXPECT_EQ(proxy({"10.0.0.1", 3129, true}),
            "proxy=https://ticket:TICKET@10.0.0.1:3129");
}

TEST(BuildConnectVv, ATitleAddsNoKey) {
  Console console = Vm1();
  console.title = "x\nproxy=evil";
  EXPECT_THAT(BuildConnectVv({"gw", 1, false}, TicketFor(console), "connect"),
              HasSubstr("\ntitle=x\\nproxy=evil\ndelete-this"));
}

TEST(EscapeKeyFileValue, EscapesWhatGKeyFileUnescapes) {
  EXPECT_EQ(EscapeKeyFileValue("  a b "), "\\s\\sa b ");
  EXPECT_EQ(EscapeKeyFileValue("a\\nb"), "a\\\\nb");
  EXPECT_EQ(EscapeKeyFileValue("\t\r\n"), "\\t\\r\\n");
  EXPECT_EQ(EscapeKeyFileValue("\x01\x7f\xc3\xa4"), "\xc3\xa4");
  EXPECT_EQ(EscapeKeyFileValue(std::string_view("a\0b", 3)), "ab");
}

}  // namespace
}  // namespace spicegate
