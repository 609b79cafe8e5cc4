// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/config_portal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;

constexpr char kClouds[] =
    R"("clouds": [{"name": "b", "kind": "http", "url": "https://b"}])";

// A configuration whose portal has `members`.
std::string With(const std::string& members, const std::string& more = "") {
  return R"({"portal": {)" + members + "}, " + kClouds + more + "}";
}

PortalConfig Portal(const std::string& members, const std::string& more = "") {
  const auto config = ParseConfig(With(members, more), "/etc/sg/c.json");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? config->portal : PortalConfig();
}

std::string ErrorOf(const std::string& text) {
  const absl::Status status = ParseConfig(text, "f").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(status.message());
}

AddressBytes Address(const char* text) {
  AddressBytes bytes{};
  EXPECT_TRUE(ParseHostAddress(text, &bytes)) << text;
  return bytes;
}

TEST(ConfigPortal, IsOffByItself) {
  const auto config = ParseConfig("{}", "f");
  ASSERT_TRUE(config.ok());
  EXPECT_FALSE(config->portal.enabled);
  EXPECT_TRUE(config->clouds.empty());
  EXPECT_EQ(config->limits.portal_failures, 10);
  EXPECT_EQ(config->limits.portal_connections, 2048);
}

TEST(ConfigPortal, HasDefaults) {
  const PortalConfig portal = Portal(R"("address": "*:13002")");
  EXPECT_TRUE(portal.enabled);
  EXPECT_EQ(FormatBindAddress(portal.address), "*:13002");
  EXPECT_TRUE(portal.tls);
  EXPECT_EQ(portal.certificate_path, "");
  EXPECT_EQ(portal.key_path, "");
  EXPECT_TRUE(portal.trusted_proxies.empty());
  EXPECT_FALSE(portal.proxy_protocol);
}

TEST(ConfigPortal, ReadsAll) {
  const PortalConfig portal = Portal(
      R"("address": "10.0.0.1:0", "certificate": "p.crt", "key": "/p.key",
         "trusted_proxies": ["10.0.0.0/8", "fd00::1"],
         "proxy_protocol": true)",
      R"(, "limits": {"portal_failures": 3, "portal_connections": 16})");
  EXPECT_EQ(portal.address.port, 0);
  EXPECT_EQ(portal.certificate_path, "/etc/sg/p.crt");
  EXPECT_EQ(portal.key_path, "/p.key");
  EXPECT_TRUE(portal.trusted_proxies.HoldsAddress(Address("10.1.2.3")));
  EXPECT_TRUE(portal.trusted_proxies.HoldsAddress(Address("fd00::1")));
  EXPECT_FALSE(portal.trusted_proxies.HoldsAddress(Address("fd00::2")));
  EXPECT_TRUE(portal.proxy_protocol);
}

TEST(ConfigPortal, NeedsAnAddressAndClouds) {
  EXPECT_THAT(ErrorOf(With("")), HasSubstr("portal.address: expected"));
  EXPECT_THAT(ErrorOf(R"({"portal": {"address": "*:1"}})"),
              HasSubstr("clouds: expected at least one beside portal"));
  EXPECT_THAT(ErrorOf(std::string("{") + kClouds + "}"),
              HasSubstr("portal: expected an object beside clouds"));
  EXPECT_THAT(ErrorOf(R"({"portal": {"address": "*:1"}, "clouds": []})"),
              HasSubstr("clouds: expected an array of 1 to 64 objects"));
  EXPECT_THAT(ErrorOf(With(R"("address": "*:1", "adress": "*:1")")),
              HasSubstr("portal: expected one of the keys address, tls"));
}

TEST(ConfigPortal, IsPlainOnlyWhereNobodyListens) {
  EXPECT_THAT(ErrorOf(With(R"("address": "*:1", "tls": false)")),
              HasSubstr("portal.tls: expected true, or a loopback address"));
  EXPECT_THAT(ErrorOf(With(R"("address": "10.0.0.1:1", "tls": false)")),
              HasSubstr("got false at 10.0.0.1:1"));
  EXPECT_FALSE(Portal(R"("address": "127.0.0.2:1", "tls": false)").tls);
  EXPECT_FALSE(Portal(R"("address": "[::1]:1", "tls": false)").tls);
  EXPECT_FALSE(Portal(R"("address": "*:1", "tls": false,
                         "trusted_proxies": ["10.0.0.1"])")
                   .tls);
}

TEST(ConfigPortal, WantsCertificateAndKeyTogether) {
  EXPECT_THAT(ErrorOf(With(R"("address": "*:1", "certificate": "c")")),
              HasSubstr("portal.key: expected a file name beside certificate"));
  EXPECT_THAT(ErrorOf(With(R"("address": "*:1", "key": "k")")),
              HasSubstr("portal.certificate: expected a file name beside key"));
  EXPECT_THAT(ErrorOf(With(R"("address": "[::1]:1", "tls": false,
                              "certificate": "c", "key": "k")")),
              HasSubstr("portal.certificate: expected none with tls false"));
}

TEST(ConfigPortal, BelievesNobodyByItself) {
  EXPECT_THAT(
      ErrorOf(With(R"("address": "*:1", "proxy_protocol": true)")),
      HasSubstr("portal.trusted_proxies: expected the balancers' addresses"));
  EXPECT_THAT(
      ErrorOf(With(R"("address": "*:1", "trusted_proxies": ["lb.example"])")),
      HasSubstr("portal.trusted_proxies[0]: expected an address, or a net"));
  EXPECT_THAT(ErrorOf(With(R"("address": "*:1", "trusted_proxies": [])")),
              HasSubstr("portal.trusted_proxies: expected an array of 1 to"));
}

TEST(ConfigPortal, NeedsAListenerForItsTickets) {
  const std::string connect =
      R"(, "listeners": [{"address": "*:3128", "protocol": "connect"}])";
  const std::string portal = R"("address": "*:1")";
  EXPECT_TRUE(Portal(portal, connect).enabled);
  EXPECT_THAT(
      ErrorOf(With(portal, connect + R"(, "connect": {"tickets": false, "allow":
                           [{"hosts": ["hv1"], "ports": [5900]}]})")),
      HasSubstr("portal.address: expected a portal beside a listener"));
}

TEST(ConfigPortal, HasAnAddressOfItsOwn) {
  EXPECT_THAT(ErrorOf(With(R"("address": "*:5931")")),
              HasSubstr("portal.address: expected an address of its own, got "
                        "that of listeners[1]"));
  EXPECT_THAT(ErrorOf(With(R"("address": "127.0.0.1:9480")")),
              HasSubstr("got that of admin"));
  Portal(R"("address": "127.0.0.1:9480")",
         R"(, "admin": {"unix": "/run/admin.sock"})");
  Portal(R"("address": "*:0")", R"(, "listeners": [{"address": "*:0"}])");
}

TEST(ConfigPortal, BoundsItsLimits) {
  const auto limits = [](const std::string& members) {
    return ErrorOf(R"({"limits": {)" + members + "}}");
  };
  EXPECT_THAT(limits(R"("portal_failures": 0)"),
              HasSubstr("limits.portal_failures: expected a whole number from "
                        "1 to 10000"));
  EXPECT_THAT(limits(R"("portal_connections": 15)"),
              HasSubstr("limits.portal_connections: expected a whole number "
                        "from 16 to 65536"));
}

}  // namespace
}  // namespace spicegate
