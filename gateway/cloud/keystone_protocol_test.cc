// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/keystone_protocol.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

#include "absl/status/status.h"

namespace spicegate {
namespace {

constexpr char kReply[] = R"({"token":{
    "expires_at":"2026-08-21T12:00:00.000000Z",
    "issued_at":"2026-08-21T11:00:00.000000Z",
    "methods":["password"],
    "user":{"id":"u1","name":"gw","domain":{"id":"default","name":"Default"}},
    "project":{"id":"p1","name":"service"},
    "roles":[{"id":"r1","name":"admin"}],
    "catalog":[
      {"type":"identity","name":"keystone","id":"1","endpoints":[
        {"interface":"public","region":"RegionOne","region_id":"RegionOne",
         "url":"http://wrong:5000/v3","id":"2"}]},
      {"type":"compute","name":"nova","id":"3","endpoints":[
        {"interface":"internal","region":"RegionOne","region_id":"RegionOne",
         "url":"http://10.0.0.1:8774/v2.1","id":"4"},
        {"interface":"public","region":"RegionOne","region_id":"RegionOne",
         "url":"https://one.example.org:8774/v2.1/p1/","id":"5"},
        {"interface":"public","region":"RegionTwo","region_id":"RegionTwo",
         "url":"https://[fd00::2]:8774/v2.1","id":"6"}]}]}})";

constexpr int64_t kNoonUnixS = 1'787'313'600;  // 2026-08-21T12:00:00Z

absl::StatusOr<KeystoneToken> Parse(const std::string& body,
                                    const ComputeConfig& compute = {},
                                    const std::string& token = "gAAAAA-_=") {
  return ParseKeystoneReply(&token, body, compute, /*wall_s=*/kNoonUnixS - 60);
}

std::string Without(std::string text, const std::string& part) {
  const size_t at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return text.erase(at, part.size());
}

std::string Replaced(std::string text, const std::string& part,
                     const std::string& by) {
  const size_t at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return text.replace(at, part.size(), by);
}

KeystoneConfig PasswordConfig() {
  KeystoneConfig config;
  config.user = "gw";
  config.project = "service";
  return config;
}

TEST(KeystoneUrl, GetsItsVersionOnce) {
  KeystoneConfig config;
  for (const char* url : {"https://ks:5000", "https://ks:5000/",
                          "https://ks:5000/v3", "https://ks:5000/v3/"}) {
    config.url = url;
    EXPECT_EQ(KeystoneAuthUrl(config, true), "https://ks:5000/v3/auth/tokens");
  }
  config.url = "https://ks/identity";
  EXPECT_EQ(KeystoneAuthUrl(config, false),
            "https://ks/identity/v3/auth/tokens?nocatalog");
}

TEST(KeystoneBody, OfAPasswordByNames) {
  KeystoneConfig config = PasswordConfig();
  EXPECT_EQ(KeystoneAuthBody(config, Secret("p\"\\w\xc3\xa4")),
            R"({"auth":{"identity":{"methods":["password"],"password":)"
            R"({"user":{"name":"gw","domain":{"id":"default"},)"
            "\"password\":\"p\\\"\\\\w\xc3\xa4\"}}},"
            R"("scope":{"project":{"name":"service",)"
            R"("domain":{"id":"default"}}}}})");
  config.user_domain = "Users";
  config.project_domain_id = "d7";
  EXPECT_EQ(KeystoneAuthBody(config, Secret("pw")),
            R"({"auth":{"identity":{"methods":["password"],"password":)"
            R"({"user":{"name":"gw","domain":{"name":"Users"},)"
            R"("password":"pw"}}},"scope":{"project":{"name":"service",)"
            R"("domain":{"id":"d7"}}}}})");
}

TEST(KeystoneBody, OfAPasswordByIds) {
  KeystoneConfig config;
  config.user_id = "u1";
  config.project_id = "p1";
  EXPECT_EQ(KeystoneAuthBody(config, Secret("pw")),
            R"({"auth":{"identity":{"methods":["password"],"password":)"
            R"({"user":{"id":"u1","password":"pw"}}},)"
            R"("scope":{"project":{"id":"p1"}}}})");
}

TEST(KeystoneBody, OfAnApplicationCredentialHasNoScope) {
  KeystoneConfig config;
  config.credential = true;
  config.credential_id = "c1";
  EXPECT_EQ(KeystoneAuthBody(config, Secret("s")),
            R"({"auth":{"identity":{"methods":["application_credential"],)"
            R"("application_credential":{"id":"c1","secret":"s"}}}})");
  config.credential_id = "";
  config.credential_name = "gate";
  config.user = "gw";
  EXPECT_EQ(KeystoneAuthBody(config, Secret("s")),
            R"({"auth":{"identity":{"methods":["application_credential"],)"
            R"("application_credential":{"name":"gate","user":{"name":"gw",)"
            R"("domain":{"id":"default"}},"secret":"s"}}}})");
  config.user = "";
  config.user_id = "u1";
  EXPECT_EQ(KeystoneAuthBody(config, Secret("s")),
            R"({"auth":{"identity":{"methods":["application_credential"],)"
            R"("application_credential":{"name":"gate","user":{"id":"u1"},)"
            R"("secret":"s"}}}})");
}

TEST(KeystoneReply, GivesTokenTimesAndEndpoint) {
  const auto token = Parse(kReply);
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(token->token.text(), "gAAAAA-_=");
  EXPECT_EQ(token->expires_unix_s, kNoonUnixS);
  EXPECT_EQ(token->life_s, 3600);
  EXPECT_EQ(token->compute_url, "https://one.example.org:8774/v2.1/p1");
}

TEST(KeystoneReply, EndpointByInterfaceAndRegion) {
  ComputeConfig compute;
  compute.interface = "internal";
  EXPECT_EQ(Parse(kReply, compute)->compute_url, "http://10.0.0.1:8774/v2.1");
  compute.region = "RegionTwo";
  EXPECT_TRUE(absl::IsNotFound(Parse(kReply, compute).status()));
  compute.interface = "public";
  EXPECT_EQ(Parse(kReply, compute)->compute_url, "https://[fd00::2]:8774/v2.1");
  compute.region = "RegionThree";
  EXPECT_TRUE(absl::IsNotFound(Parse(kReply, compute).status()));
}

TEST(KeystoneReply, AConfiguredEndpointNeedsNoCatalog) {
  ComputeConfig compute;
  compute.endpoint = "http://nova:8774/v2.1/";
  const auto token =
      Parse(R"({"token":{"expires_at":"2026-08-21T12:00:00Z"}})", compute);
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_EQ(token->compute_url, "http://nova:8774/v2.1");
  // Nothing says when it was issued: our clock.
  EXPECT_EQ(token->life_s, 60);
  EXPECT_FALSE(
      Parse(R"({"token":{"expires_at":"2026-08-21T12:00:00Z"}})").ok());
}

TEST(KeystoneReply, EndpointsThatCannotBeCalledAreNone) {
  for (const char* url :
       {"ftp://one.example.org", "https://user@one.example.org/", "",
        "https://one.example.org/?a=b", "https://one.example.org/a b",
        "https://one.example.org/\\u000d\\u000aX: y"}) {
    const std::string reply =
        Replaced(Replaced(kReply, "https://one.example.org:8774/v2.1/p1/", url),
                 "https://[fd00::2]:8774/v2.1", "file:///etc/passwd");
    EXPECT_TRUE(absl::IsNotFound(Parse(reply).status())) << url;
  }
}

TEST(KeystoneReply, RefusesWhatIsNone) {
  EXPECT_FALSE(Parse("").ok());
  EXPECT_FALSE(Parse("[]").ok());
  EXPECT_FALSE(Parse("{}").ok());
  EXPECT_FALSE(Parse(R"({"token":[]})").ok());
  EXPECT_FALSE(Parse("<html>").ok());
  EXPECT_FALSE(Parse(Without(kReply, "\"expires_at\"")).ok());
  EXPECT_FALSE(Parse(Replaced(kReply, "2026-08-21T12", "2026-08-21 12")).ok());
  // Over before it began.
  EXPECT_FALSE(Parse(Replaced(kReply, "2026-08-21T12", "2026-08-21T10")).ok());
  EXPECT_FALSE(Parse(Replaced(kReply, "\"catalog\"", "\"catalogue\"")).ok());
  EXPECT_FALSE(Parse(kReply + std::string(kMaxKeystoneReplyBytes, ' ')).ok());
  EXPECT_TRUE(Parse(kReply + std::string(1000, ' ')).ok());
  EXPECT_FALSE(Parse(std::string(100'000, '[')).ok());
}

TEST(KeystoneReply, RefusesTokensThatNoHeaderCarries) {
  EXPECT_FALSE(ParseKeystoneReply(nullptr, kReply, {}, 0).ok());
  for (const std::string& token :
       {std::string(), std::string("a b"), std::string("a\r\nX: y"),
        std::string("\xc3\xa4"), std::string(kMaxKeystoneTokenLen + 1, 'a')}) {
    EXPECT_FALSE(Parse(kReply, {}, token).ok()) << token.size();
  }
  EXPECT_TRUE(Parse(kReply, {}, std::string(kMaxKeystoneTokenLen, 'a')).ok());
}

TEST(KeystoneReply, ErrorsHoldNothingOfIt) {
  const auto token = Parse(R"({"token":"sesame"})", {}, "open-sesame");
  EXPECT_EQ(token.status().message().find("sesame"), std::string::npos);
}

TEST(KeystoneTime, IsUtcWhateverTheTimeZone) {
  setenv("TZ", "Asia/Kathmandu", 1);
  tzset();
  int64_t unix_s = 0;
  ASSERT_TRUE(ParseKeystoneTime("2026-08-21T12:00:00.000000Z", &unix_s));
  EXPECT_EQ(unix_s, kNoonUnixS);
  ASSERT_TRUE(ParseKeystoneTime("1970-01-01T00:00:00Z", &unix_s));
  EXPECT_EQ(unix_s, 0);
  ASSERT_TRUE(ParseKeystoneTime("2024-02-29T23:59:60.5Z", &unix_s));
  EXPECT_EQ(unix_s, 1'709'251'200);
  unsetenv("TZ");
  tzset();
}

TEST(KeystoneTime, RefusesAllElse) {
  int64_t unix_s = 7;
  for (const char* text :
       {"", "Z", "2026-08-21T12:00:00", "2026-08-21T12:00:00+00:00",
        "2026-08-21T12:00:00.Z", "2026-08-21T12:00:00.0000000000Z",
        "2026-13-21T12:00:00Z", "2026-02-29T12:00:00Z", "2026-08-21T24:00:00Z",
        "2026-08-21T12:60:00Z", "2026-08-21T12:00:61Z", "2026-8-21T12:00:000Z",
        "2026-08-21t12:00:00Z", "+026-08-21T12:00:00Z", "1969-08-21T12:00:00Z",
        "2026-00-21T12:00:00Z", "2026-08-00T12:00:00Z",
        "2026-08-21T12:00:-1Z"}) {
    EXPECT_FALSE(ParseKeystoneTime(text, &unix_s)) << text;
  }
  EXPECT_EQ(unix_s, 7);
}

}  // namespace
}  // namespace spicegate
