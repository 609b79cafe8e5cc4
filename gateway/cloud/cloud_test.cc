// SPDX-License-Identifier: Apache-2.0
//
// What clouds answer to tokens, and who shares an answer.
#include "gateway/cloud/cloud_fixture.h"

namespace spicegate {
namespace {

using absl::StatusCode;

class CloudTest : public CloudFixture {};

TEST_F(CloudTest, FromATokenToADesktop) {
  Begin({Nova()});
  EXPECT_TRUE(Idle());
  const size_t asked = Ask(1);
  EXPECT_EQ(Next().method, "POST");
  EXPECT_EQ(Next().url, "https://prod.keystone/v3/auth/tokens?nocatalog");
  EXPECT_EQ(Next().ca_path, "/keystone-ca.pem");
  EXPECT_EQ(HeaderOf(Next(), "Content-Type"), "application/json");
  EXPECT_NE(Next().body.find(R"("password":"sesame")"), std::string::npos);
  EXPECT_EQ(Next().deadline_ms, 4000);
  AnswerToken("gate-1");
  EXPECT_EQ(Next().method, "GET");
  EXPECT_EQ(Next().url,
            "http://prod.nova/v2.1/os-console-auth-tokens/" + Token(1));
  EXPECT_EQ(HeaderOf(Next(), "X-Auth-Token"), "gate-1");
  EXPECT_EQ(HeaderOf(Next(), "OpenStack-API-Version"), "compute 2.99");
  EXPECT_EQ(Next().ca_path, "/keystone-ca.pem");
  EXPECT_EQ(Next().deadline_ms, 4000);
  EXPECT_TRUE(Waits(asked));
  AnswerConsole();
  ASSERT_EQ(Code(asked), StatusCode::kOk);
  EXPECT_EQ((*results_[asked])->id, Token(7));
  EXPECT_EQ((*results_[asked])->host, "10.0.0.7");
  EXPECT_EQ((*results_[asked])->port, 5900);
  EXPECT_EQ((*results_[asked])->tls_port, 5901);
  EXPECT_EQ(num_called_[asked], 1);
  EXPECT_EQ(Stats().identity.ok, 1u);
  EXPECT_EQ(Stats().console.ok, 1u);
  EXPECT_EQ(Stats().token_expires_unix_s, kIssuedUnixS + 3600);
}

TEST_F(CloudTest, TheCatalogsEndpoint) {
  CloudConfig config = Nova();
  config.compute.endpoint = "";
  config.compute.region = "RegionOne";
  config.compute.ca_path = "/nova-ca.pem";
  Begin({config});
  const size_t asked = Ask(1);
  EXPECT_EQ(Next().url, "https://prod.keystone/v3/auth/tokens");
  Answer(201,
         R"({"token":{"issued_at":")" + Time(kIssuedUnixS) +
             R"(","expires_at":")" + Time(kIssuedUnixS + 3600) +
             R"(","catalog":[{"type":"compute","endpoints":[)"
             R"({"interface":"public","region":"RegionOne",)"
             R"("url":"https://[fd00::5]:8774/v2.1/p1/"}]}]}})",
         {{"x-subject-token", "gate-1"}});
  EXPECT_EQ(
      Next().url,
      "https://[fd00::5]:8774/v2.1/p1/os-console-auth-tokens/" + Token(1));
  EXPECT_EQ(Next().ca_path, "/nova-ca.pem");
  AnswerConsole();
  EXPECT_EQ(Code(asked), StatusCode::kOk);
}

TEST_F(CloudTest, WhatNovaAnswersIsToldToPeople) {
  Begin({Nova()});
  Warm();
  const std::vector<std::pair<int, StatusCode>> answers = {
      {400, StatusCode::kPermissionDenied},
      {403, StatusCode::kPermissionDenied},
      {406, StatusCode::kPermissionDenied},
      {301, StatusCode::kUnavailable},
      {405, StatusCode::kUnavailable},
      {200, StatusCode::kUnavailable},  // without a body
  };
  int number = 100;
  for (const auto& [status, code] : answers) {
    const size_t asked = Ask(++number);
    Answer(status);
    EXPECT_EQ(Code(asked), code) << status;
    EXPECT_EQ(results_[asked]->status().message().find("nova"),
              std::string::npos);
    EXPECT_TRUE(Idle());
  }
  EXPECT_EQ(Stats().console.refused, 2u);
  EXPECT_EQ(Stats().console.error, 4u);
}

TEST_F(CloudTest, OnlyNovasOwn404IsAnExpiredLink) {
  Begin({Nova()});
  Warm();
  const size_t expired = Ask(2);
  AnswerNotFound();
  EXPECT_EQ(Code(expired), StatusCode::kNotFound);
  const size_t elsewhere = Ask(3);
  Answer(404, "404 page not found");
  EXPECT_EQ(Code(elsewhere), StatusCode::kUnavailable);
  EXPECT_EQ(Stats().console.not_found, 1u);
  EXPECT_EQ(Stats().console.error, 1u);
}

TEST_F(CloudTest, AnotherKindOfConsoleIsNotFound) {
  Begin({Nova()});
  Warm();
  const size_t asked = Ask(2);
  AnswerConsole(R"("port":6080)");
  EXPECT_EQ(Code(asked), StatusCode::kNotFound);
}

TEST_F(CloudTest, WhatMustBeEncryptedIsNotDialledOtherwise) {
  CloudConfig config = Nova();
  config.servers.require_secure = true;
  Begin({config});
  Warm();
  EXPECT_EQ((*results_[0])->port, 0);
  EXPECT_EQ((*results_[0])->tls_port, 5901);
  const size_t plain = Ask(2);
  AnswerConsole(R"("port":5900,"tls_port":null)");
  EXPECT_EQ(Code(plain), StatusCode::kFailedPrecondition);
  // An answer that stands.
  EXPECT_EQ(Code(Ask(2)), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Idle());
}

TEST_F(CloudTest, WithoutTrustAnchorsOnlyPlainPortsAreDialled) {
  CloudConfig config = Nova();
  config.servers.ca_path = "";
  Begin({config});
  Warm();
  EXPECT_EQ((*results_[0])->port, 5900);
  EXPECT_EQ((*results_[0])->tls_port, 0);
  const size_t tls = Ask(2);
  AnswerConsole(R"("port":null,"tls_port":5901)");
  EXPECT_EQ(Code(tls), StatusCode::kFailedPrecondition);
}

TEST_F(CloudTest, OneQuestionForAllWhoAskAtOnce) {
  Begin({Nova()});
  for (int i = 0; i < 5; ++i) {
    Ask(1);
  }
  AnswerToken();
  EXPECT_EQ(http_.num_started, 2u);
  AnswerConsole();
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(Code(i), StatusCode::kOk);
    EXPECT_EQ(num_called_[i], 1);
  }
  EXPECT_EQ(Stats().shared, 4u);
  EXPECT_TRUE(Idle());
}

TEST_F(CloudTest, AnAnswerStandsForSomeSeconds) {
  Begin({Nova()});
  Warm();
  Pass(2999);
  EXPECT_EQ(Code(Ask(1)), StatusCode::kOk);
  EXPECT_EQ(Stats().shared, 1u);
  Pass(1);
  const size_t again = Ask(1);
  EXPECT_TRUE(Waits(again));
  AnswerNotFound();
  Pass(1999);
  EXPECT_EQ(Code(Ask(1)), StatusCode::kNotFound);
  EXPECT_TRUE(Idle());
  Pass(1);
  Ask(1);
  EXPECT_TRUE(NextIsNova());
}

TEST_F(CloudTest, AFailureDoesNotStand) {
  Begin({Nova()});
  Warm();
  Ask(2);
  Answer(403);
  Ask(2);
  EXPECT_TRUE(NextIsNova());
}

TEST_F(CloudTest, SixtyFourAtATime) {
  Begin({Nova()});
  Warm();
  for (int i = 0; i < 100; ++i) {
    Ask(1000 + i);
  }
  EXPECT_EQ(http_.open.size(), Cloud::kMaxUnderWay);
  for (int i = 0; i < 100; ++i) {
    AnswerConsole();
    EXPECT_LE(http_.open.size(), Cloud::kMaxUnderWay);
  }
  for (size_t i = 0; i < results_.size(); ++i) {
    EXPECT_EQ(Code(i), StatusCode::kOk) << i;
  }
}

TEST_F(CloudTest, SoManyMayWait) {
  Begin({Nova()});
  Warm();
  const int most =
      static_cast<int>(Cloud::kMaxUnderWay + Cloud::kMaxWaiting) - 1;
  for (int i = 0; i < most; ++i) {
    EXPECT_TRUE(Waits(Ask(1000 + i))) << i;
  }
  EXPECT_TRUE(Waits(Ask(1000)));  // shares, and waits like the others
  EXPECT_EQ(Code(Ask(1000)), StatusCode::kResourceExhausted);
  EXPECT_EQ(Code(Ask(9000)), StatusCode::kResourceExhausted);
  EXPECT_EQ(Stats().console.rejected, 2u);
  // What is known needs no place.
  EXPECT_EQ(Code(Ask(1)), StatusCode::kOk);
  AnswerConsole();
  EXPECT_TRUE(Waits(Ask(9000)));
}

TEST_F(CloudTest, WhoHasAnAnswerWaitsNoMore) {
  Begin({Nova()});
  Warm();
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < Cloud::kMaxWaiting + 1; ++i) {
      EXPECT_TRUE(Waits(Ask(100 + round)));
    }
    EXPECT_EQ(Code(Ask(100 + round)), StatusCode::kResourceExhausted);
    AnswerConsole();
  }
  EXPECT_EQ(Stats().console.rejected, 3u);
}

TEST_F(CloudTest, ABrokersDesktop) {
  Begin({Broker()});
  const size_t asked = Ask(1, "broker");
  EXPECT_EQ(Next().method, "POST");
  EXPECT_EQ(Next().url, "https://broker/console");
  EXPECT_EQ(Next().body, R"({"token":")" + Token(1) + R"("})");
  EXPECT_EQ(HeaderOf(Next(), "Authorization"), "Bearer sesame");
  Answer(200, R"({"console":{"id":"vm-7","host":"hv1","port":5900,
      "tls_port":5901,"password":"pw",
      "ca":"-----BEGIN CERTIFICATE-----"}})");
  ASSERT_EQ(Code(asked), StatusCode::kOk);
  EXPECT_EQ((*results_[asked])->id, "vm-7");
  EXPECT_EQ((*results_[asked])->ticket, "pw");
  // Its own anchors, where the configuration has none.
  EXPECT_EQ((*results_[asked])->tls_port, 5901);
  EXPECT_EQ(Stats().kind, CloudKind::kHttp);
  EXPECT_EQ(Stats().console.ok, 1u);
  EXPECT_EQ(Stats().identity.ok, 0u);
}

TEST_F(CloudTest, WhatABrokerAnswersIsToldToPeople) {
  Begin({Broker()});
  int number = 100;
  for (const auto& [status, code] : std::vector<std::pair<int, StatusCode>>{
           {404, StatusCode::kNotFound},
           {401, StatusCode::kPermissionDenied},
           {403, StatusCode::kPermissionDenied},
           {201, StatusCode::kUnavailable},
           {200, StatusCode::kUnavailable},
           {500, StatusCode::kUnavailable}}) {
    const size_t asked = Ask(++number, "broker");
    Answer(status);
    EXPECT_EQ(Code(asked), code) << status;
    EXPECT_TRUE(Idle());
  }
}

TEST_F(CloudTest, ABrokersSecretIsReadAnewEachTime) {
  Begin({Broker()});
  Ask(1, "broker");
  Answer(404);
  WriteSecret("open");
  Ask(2, "broker");
  EXPECT_EQ(HeaderOf(Next(), "Authorization"), "Bearer open");
  Answer(404);
  std::remove(secret_path_.c_str());
  EXPECT_EQ(Code(Ask(3, "broker")), StatusCode::kPermissionDenied);
  EXPECT_TRUE(Idle());
}

TEST_F(CloudTest, WhoIsToldMayAskAgain) {
  Begin({Nova()});
  Warm();
  int num_answers = 0;
  CloudService::Done again = [&](const absl::StatusOr<CloudConsole>& answer) {
    EXPECT_EQ(answer.status().code(), StatusCode::kPermissionDenied);
    if (++num_answers < 3) {
      clouds_->Resolve("prod", Token(2), again);
    }
  };
  clouds_->Resolve("prod", Token(2), again);
  Answer(403);
  Answer(403);
  Answer(403);
  EXPECT_EQ(num_answers, 3);
  EXPECT_TRUE(Idle());
}

TEST_F(CloudTest, TokensByKind) {
  Begin({Nova(), Broker()});
  EXPECT_TRUE(clouds_->IsToken("prod", Token(1)));
  EXPECT_FALSE(clouds_->IsToken("prod", "abcdefgh"));
  EXPECT_TRUE(clouds_->IsToken("broker", "abcdefgh"));
  EXPECT_FALSE(clouds_->IsToken("broker", "../abcdefgh"));
}

}  // namespace
}  // namespace spicegate
