// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/nova_protocol.h"

#include <gtest/gtest.h>

#include "absl/status/status.h"

namespace spicegate {
namespace {

constexpr char kInstance[] = "3f0a1c5e-6b7d-4e2f-9a8b-0c1d2e3f4a5b";

// A reply with these members behind the instance.
std::string Reply(const std::string& members) {
  return R"({"console":{"instance_uuid":")" + std::string(kInstance) + "\"," +
         members + "}}";
}

bool IsBroken(const std::string& body) {
  return absl::IsInvalidArgument(ParseNovaReply(body).status());
}

// Not of such a service at all.
bool IsForeign(const std::string& body) {
  return absl::IsDataLoss(ParseNovaReply(body).status());
}

TEST(NovaToken, IsAUuid) {
  EXPECT_TRUE(IsNovaToken(kInstance));
  EXPECT_TRUE(IsNovaToken("3F0A1C5E-6B7D-4E2F-9A8B-0C1D2E3F4A5B"));
  for (const char* token : {"", "3f0a1c5e6b7d4e2f9a8b0c1d2e3f4a5b",
                            "3f0a1c5e-6b7d-4e2f-9a8b-0c1d2e3f4a5",
                            "3f0a1c5e-6b7d-4e2f-9a8b-0c1d2e3f4a5b0",
                            "3f0a1c5e-6b7d-4e2f-9a8b-0c1d2e3f4a5g",
                            "3f0a1c5e06b7d-4e2f-9a8b-0c1d2e3f4a5b",
                            "../../../../../../os-hypervisors/all",
                            "%66%66%66%66-6b7d-4e2f-9a8b-0c",
                            "3f0a1c5e-6b7d-4e2f-9a8b-0c1d2e3f4a5-"}) {
    EXPECT_FALSE(IsNovaToken(token)) << token;
  }
}

TEST(NovaCall, AsksAtTheMicroversion) {
  const HttpCall call =
      NovaCall("http://nova:8774/v2.1", kInstance, Secret("gate"));
  EXPECT_EQ(call.method, "GET");
  EXPECT_EQ(call.url, "http://nova:8774/v2.1/os-console-auth-tokens/" +
                          std::string(kInstance));
  EXPECT_EQ(call.body, "");
  EXPECT_EQ(call.headers, (std::vector<std::pair<std::string, std::string>>{
                              {"Accept", "application/json"},
                              {"OpenStack-API-Version", "compute 2.99"},
                              {"X-Auth-Token", "gate"}}));
  EXPECT_EQ(call.max_body_bytes, kMaxNovaReplyBytes);
}

TEST(NovaReply, AsNovaWritesIt) {
  const auto console = ParseNovaReply(Reply(
      R"("host": "10.0.0.7", "port": 5900, "tls_port": 5901,
         "internal_access_path": null)"));
  ASSERT_TRUE(console.ok()) << console.status();
  EXPECT_EQ(console->id, kInstance);
  EXPECT_EQ(console->host, "10.0.0.7");
  EXPECT_EQ(console->port, 5900);
  EXPECT_EQ(console->tls_port, 5901);
  EXPECT_EQ(console->ticket, "");
}

TEST(NovaReply, WithoutATlsPort) {
  for (const char* none : {"null", "-1", "0"}) {
    const auto console = ParseNovaReply(
        Reply(R"("host":"hv1","port":5900,"tls_port":)" + std::string(none)));
    ASSERT_TRUE(console.ok()) << none;
    EXPECT_EQ(console->tls_port, 0);
    EXPECT_EQ(console->port, 5900);
  }
}

TEST(NovaReply, WithoutThatKeyIsAnotherConsole) {
  EXPECT_TRUE(absl::IsNotFound(
      ParseNovaReply(
          Reply(R"("host":"10.0.0.7","port":6080,"internal_access_path":null)"))
          .status()));
}

TEST(NovaReply, TlsAlone) {
  const auto console =
      ParseNovaReply(Reply(R"("host":"hv1","port":null,"tls_port":65535)"));
  ASSERT_TRUE(console.ok());
  EXPECT_EQ(console->port, 0);
  EXPECT_EQ(console->tls_port, 65535);
}

TEST(NovaReply, HostsThatCanBeDialled) {
  for (const char* host :
       {"10.0.0.7", "fd00::7", "hv-1.example.org", "hv_2", "::ffff:10.0.0.7"}) {
    const auto console = ParseNovaReply(Reply(
        R"("port":1,"tls_port":null,"host":")" + std::string(host) + "\""));
    ASSERT_TRUE(console.ok()) << host;
    EXPECT_EQ(console->host, host);
  }
}

TEST(NovaReply, OtherHostsAreBroken) {
  for (const std::string& host :
       {std::string(""), std::string("[fd00::7]"), std::string("hv1:22"),
        std::string("hv1/"), std::string("a b"), std::string("fe80::1%eth0"),
        std::string("127.1"), std::string("0x7f.1"), std::string("hv1\\u0000"),
        std::string("hv1\\r\\n"), std::string("\xc3\xa4.example"),
        std::string(254, 'a')}) {
    EXPECT_TRUE(
        IsBroken(Reply(R"("port":1,"tls_port":null,"host":")" + host + "\"")))
        << host;
  }
  EXPECT_TRUE(IsBroken(Reply(R"("port":1,"tls_port":null,"host":null)")));
  EXPECT_TRUE(IsBroken(Reply(R"("port":1,"tls_port":null,"host":7)")));
  EXPECT_TRUE(IsBroken(Reply(R"("port":1,"tls_port":null)")));
}

TEST(NovaReply, OtherPortsAreBroken) {
  for (const char* port : {"65536", "-2", "5900.0", "5900.5", "\"5900\"", "[]",
                           "true", "1e3", "18446744073709551615"}) {
    EXPECT_TRUE(IsBroken(
        Reply(R"("host":"hv1","tls_port":1,"port":)" + std::string(port))))
        << port;
    EXPECT_TRUE(IsBroken(
        Reply(R"("host":"hv1","port":1,"tls_port":)" + std::string(port))))
        << port;
  }
  EXPECT_TRUE(IsBroken(Reply(R"("host":"hv1","port":null,"tls_port":null)")));
  EXPECT_TRUE(IsBroken(Reply(R"("host":"hv1","port":0,"tls_port":null)")));
}

TEST(NovaReply, RefusesWhatIsNone) {
  for (const std::string& body :
       {std::string(), std::string("null"), std::string("{}"),
        std::string(R"({"console":null})"), std::string(R"({"console":[]})"),
        std::string("<html>busy</html>"), std::string(1000, '{'),
        Reply(R"("host":"hv1","port":1,"tls_port":1)").substr(1),
        Reply(R"("host":"hv1","host":"hv2","port":1,"tls_port":1)"),
        Reply(R"("host":"hv1","port":1,"tls_port":1)") +
            std::string(kMaxNovaReplyBytes, ' ')}) {
    EXPECT_TRUE(IsForeign(body)) << body.substr(0, 80);
  }
  EXPECT_TRUE(IsBroken(
      R"({"console":{"instance_uuid":"../x","host":"hv1","port":1,
          "tls_port":1}})"));
  EXPECT_TRUE(IsBroken(R"({"console":{"host":"hv1","port":1,"tls_port":1}})"));
}

TEST(NovaReply, UnknownMembersAreNoHarm) {
  EXPECT_TRUE(
      ParseNovaReply(
          Reply(R"("host":"h","port":1,"tls_port":null,"new":{"a":[1]})"))
          .ok());
}

TEST(NovaNotFound, IsNovasOwnWord) {
  EXPECT_TRUE(IsNovaNotFound(
      R"({"itemNotFound": {"code": 404, "message": "Token not found"}})"));
  EXPECT_FALSE(IsNovaNotFound(""));
  EXPECT_FALSE(IsNovaNotFound("404 page not found"));
  EXPECT_FALSE(IsNovaNotFound(R"({"itemNotFound": null})"));
  EXPECT_FALSE(IsNovaNotFound(R"({"error": {"code": 404}})"));
}

}  // namespace
}  // namespace spicegate
