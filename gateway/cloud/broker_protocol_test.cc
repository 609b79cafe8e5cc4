// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/broker_protocol.h"

#include <gtest/gtest.h>

#include "absl/status/status.h"

namespace spicegate {
namespace {

constexpr char kLeast[] = R"("id":"vm-7","host":"10.0.0.7","port":5900)";

std::string Reply(const std::string& members) {
  return R"({"console":{)" + members + "}}";
}

// A reply with what is needed and that.
std::string With(const std::string& members) {
  return Reply(std::string(kLeast) + "," + members);
}

bool IsBroken(const std::string& body) {
  return absl::IsInvalidArgument(ParseBrokerReply(body).status());
}

// Not of such a service at all.
bool IsForeign(const std::string& body) {
  return absl::IsDataLoss(ParseBrokerReply(body).status());
}

TEST(BrokerToken, LettersAndLength) {
  EXPECT_TRUE(IsBrokerToken("AZaz09._~-"));
  EXPECT_TRUE(IsBrokerToken("12345678"));
  EXPECT_TRUE(IsBrokerToken(std::string(256, 'a')));
  EXPECT_FALSE(IsBrokerToken(""));
  EXPECT_FALSE(IsBrokerToken("1234567"));
  EXPECT_FALSE(IsBrokerToken(std::string(257, 'a')));
  for (const char* token : {"12345678/", "12345678%", "12345678 ", "\"12345678",
                            "1234567\xc3\xa4", "12345678\n"}) {
    EXPECT_FALSE(IsBrokerToken(token)) << token;
  }
}

TEST(BrokerCall, PostsTheToken) {
  const HttpCall call =
      BrokerCall("https://b/console", "abc-12345", Secret("sesame"));
  EXPECT_EQ(call.method, "POST");
  EXPECT_EQ(call.url, "https://b/console");
  EXPECT_EQ(call.body, R"({"token":"abc-12345"})");
  EXPECT_EQ(call.headers, (std::vector<std::pair<std::string, std::string>>{
                              {"Accept", "application/json"},
                              {"Content-Type", "application/json"},
                              {"Authorization", "Bearer sesame"}}));
  EXPECT_EQ(BrokerCall("https://b", "abc-12345", Secret()).headers.size(), 2u);
}

TEST(BrokerReply, TheLeast) {
  const auto console = ParseBrokerReply(Reply(kLeast));
  ASSERT_TRUE(console.ok()) << console.status();
  EXPECT_EQ(console->id, "vm-7");
  EXPECT_EQ(console->host, "10.0.0.7");
  EXPECT_EQ(console->port, 5900);
  EXPECT_EQ(console->tls_port, 0);
  EXPECT_EQ(console->title + console->ticket + console->ca_pem +
                console->host_subject + console->policy_name,
            "");
}

TEST(BrokerReply, TheMost) {
  const auto console = ParseBrokerReply(
      R"({"version":2,"console":{"id":"vm-7","title":"B\u00fcro","host":"fd00::7",
          "port":5900,"tls_port":5901,"password":"p\"w","new":[],
          "ca":"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
          "host_subject":"O=Test,CN=hv1","policy":"strict"}})");
  ASSERT_TRUE(console.ok()) << console.status();
  EXPECT_EQ(console->title, "B\xc3\xbcro");
  EXPECT_EQ(console->host, "fd00::7");
  EXPECT_EQ(console->tls_port, 5901);
  EXPECT_EQ(console->ticket, "p\"w");
  EXPECT_NE(console->ca_pem.find("AA=="), std::string::npos);
  EXPECT_EQ(console->host_subject, "O=Test,CN=hv1");
  EXPECT_EQ(console->policy_name, "strict");
}

TEST(BrokerReply, NullIsAbsent) {
  EXPECT_TRUE(ParseBrokerReply(With(R"("tls_port":null,"title":null,
      "password":null,"ca":null,"host_subject":null,"policy":null)"))
                  .ok());
  EXPECT_TRUE(IsBroken(Reply(R"("id":null,"host":"h","port":1)")));
  EXPECT_TRUE(IsBroken(Reply(R"("id":"a","host":null,"port":1)")));
  EXPECT_TRUE(IsBroken(Reply(R"("id":"a","host":"h","port":null)")));
}

TEST(BrokerReply, IdsFitIntoConsoleNames) {
  const auto with_id = [](const std::string& id) {
    return Reply(R"("host":"h","port":1,"id":")" + id + "\"");
  };
  EXPECT_TRUE(ParseBrokerReply(with_id(std::string(95, 'a'))).ok());
  EXPECT_TRUE(IsBroken(with_id(std::string(96, 'a'))));
  EXPECT_TRUE(IsBroken(with_id("a/b")));
  EXPECT_TRUE(IsBroken(with_id("a b")));
  EXPECT_TRUE(IsBroken(with_id("")));
}

TEST(BrokerReply, EachMemberIsJudged) {
  for (const std::string& members :
       {std::string(R"("title":7)"), std::string(R"("title":"a\nb")"),
        "\"title\":\"" + std::string(257, 'a') + "\"",
        "\"password\":\"" + std::string(60, 'a') + "\"",
        std::string(R"("password":"a\u0000b")"), std::string(R"("password":1)"),
        std::string(R"("ca":"AA==")"),
        "\"ca\":\"-----BEGIN CERTIFICATE-----" + std::string(32 * 1024, 'a') +
            "\"",
        std::string(R"("host_subject":"hv1")"),
        std::string(R"("host_subject":"CN=a\nb")"),
        std::string(R"("policy":"a b")"), std::string(R"("tls_port":65536)"),
        std::string(R"("tls_port":"5901")")}) {
    EXPECT_TRUE(IsBroken(With(members))) << members.substr(0, 60);
  }
}

TEST(BrokerReply, RefusesWhatIsNone) {
  for (const std::string& body :
       {std::string(), std::string("7"), std::string("{}"),
        std::string(R"({"console":"vm"})"), "[" + Reply(kLeast) + "]",
        Reply(kLeast) + "x",
        Reply(kLeast) + std::string(kMaxBrokerReplyBytes, ' ')}) {
    EXPECT_TRUE(IsForeign(body)) << body.substr(0, 60);
  }
}

TEST(BrokerReply, ErrorsHoldNothingOfIt) {
  const auto console =
      ParseBrokerReply(With("\"password\":\"" + std::string(60, 's') + "\""));
  EXPECT_EQ(console.status().message().find("ssss"), std::string::npos);
}

}  // namespace
}  // namespace spicegate
