// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/portal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const BoundListener kPlain = {{"", 5930}, false, false};
const BoundListener kNeedSecured = {{"", 5930}, false, true};
const BoundListener kTls = {{"", 5931}, true, false};

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

TEST(EscapeKeyFileValue, EscapesWhatGKeyFileUnescapes) {
  EXPECT_EQ(EscapeKeyFileValue("  a b "), "\\s\\sa b ");
  EXPECT_EQ(EscapeKeyFileValue("a\\nb"), "a\\\\nb");
  EXPECT_EQ(EscapeKeyFileValue("\t\r\n"), "\\t\\r\\n");
  EXPECT_EQ(EscapeKeyFileValue("\x01\x7f\xc3\xa4"), "\xc3\xa4");
  EXPECT_EQ(EscapeKeyFileValue(std::string_view("a\0b", 3)), "ab");
}

}  // namespace
}  // namespace spicegate
