// SPDX-License-Identifier: Apache-2.0
//
// How the gateway comes by its token, keeps it and gets the next.
#include "gateway/cloud/service_token.h"

#include "gateway/cloud/cloud_fixture.h"

namespace spicegate {
namespace {

using absl::StatusCode;

class ServiceTokenTest : public CloudFixture {
 protected:
  ServiceTokenTest() { Begin({Nova()}); }

  // Asks for a token that is none, and gives with which of the gateway's.
  std::string UsedToken(int number) {
    Ask(number);
    const std::string used = HeaderOf(Next(), "X-Auth-Token");
    AnswerNotFound();
    return used;
  }
};

TEST_F(ServiceTokenTest, OneAuthenticationForAllWhoNeedIt) {
  for (int i = 0; i < 10; ++i) {
    Ask(i);
  }
  EXPECT_EQ(http_.open.size(), 1u);
  AnswerToken();
  EXPECT_EQ(http_.open.size(), 10u);
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(NextIsNova());
    AnswerConsole();
  }
  EXPECT_EQ(Stats().identity.ok, 1u);
}

TEST_F(ServiceTokenTest, IsKept) {
  Warm();
  Pass(3'000'000);
  EXPECT_EQ(UsedToken(2), "gate-1");
  EXPECT_TRUE(Idle());
}

TEST_F(ServiceTokenTest, IsRenewedWhileItIsStillGood) {
  Warm();
  Pass(3'100'000);
  EXPECT_EQ(UsedToken(2), "gate-1");
  Pass(139'000);
  EXPECT_TRUE(Idle());
  // A tenth of its life is left.
  Pass(1'000);
  ASSERT_TRUE(NextIsKeystone());
  Ask(3);
  ASSERT_EQ(http_.open.size(), 2u);
  EXPECT_EQ(HeaderOf(http_.open[1].call, "X-Auth-Token"), "gate-1");
  AnswerToken("gate-2");
  AnswerConsole();
  EXPECT_EQ(UsedToken(4), "gate-2");
}

TEST_F(ServiceTokenTest, RenewalsAreSpreadAtRandom) {
  random_ = 0.999;
  Warm();
  UsedToken(2);
  Pass(3'600'000 - 450'000);  // a tenth and a quarter of that
  EXPECT_TRUE(Idle());
  Pass(1'000);
  EXPECT_TRUE(NextIsKeystone());
}

TEST_F(ServiceTokenTest, WhatNobodyUsesIsLeftToExpire) {
  Warm();
  Pass(3'601'000);
  EXPECT_TRUE(Idle());
  EXPECT_EQ(Stats().token_expires_unix_s, 0);
  Ask(2);
  EXPECT_TRUE(NextIsKeystone());
}

TEST_F(ServiceTokenTest, OneUsedLateIsRenewedWithThatUse) {
  Warm();
  Pass(3'400'000);
  Ask(2);
  EXPECT_EQ(http_.open.size(), 2u);
  EXPECT_TRUE(NextIsKeystone());
  EXPECT_EQ(HeaderOf(http_.open[1].call, "X-Auth-Token"), "gate-1");
  Ask(3);
  EXPECT_EQ(http_.open.size(), 3u);  // no second renewal
}

TEST_F(ServiceTokenTest, AShortLifeIsRenewedAtItsHalf) {
  Ask(1);
  AnswerToken("gate-1", 20);
  AnswerConsole();
  Pass(9'000);
  EXPECT_EQ(UsedToken(2), "gate-1");
  EXPECT_TRUE(Idle());
  Pass(1'000);
  EXPECT_TRUE(NextIsKeystone());
}

TEST_F(ServiceTokenTest, OurClockDoesNotMatter) {
  for (const int64_t skew_s : {-86'400, 86'400}) {
    wall_s_ = kIssuedUnixS + skew_s;
    Begin({Nova()});
    http_.open.clear();
    Warm();
    Pass(3'000'000);
    EXPECT_EQ(UsedToken(2), "gate-1");
    EXPECT_EQ(Stats().token_expires_unix_s, kIssuedUnixS + 3600);
    Pass(700'000);
    http_.open.clear();
  }
}

TEST_F(ServiceTokenTest, ARenewalThatFailsDoesNoHarmUntilTheEnd) {
  Warm();
  UsedToken(2);
  Pass(3'240'000);
  ASSERT_TRUE(NextIsKeystone());
  Answer(absl::DeadlineExceededError("keystone: silent"));
  EXPECT_EQ(UsedToken(3), "gate-1");
  EXPECT_TRUE(Idle());
  Pass(10'000);
  ASSERT_TRUE(NextIsKeystone());
  AnswerToken("gate-2");
  EXPECT_EQ(UsedToken(4), "gate-2");
}

TEST_F(ServiceTokenTest, A401LeadsToOneNewToken) {
  Warm();
  Pass(2'000);
  const size_t asked = Ask(2);
  Answer(401);
  EXPECT_TRUE(Waits(asked));
  AnswerToken("gate-2");
  EXPECT_EQ(HeaderOf(Next(), "X-Auth-Token"), "gate-2");
  AnswerConsole();
  EXPECT_EQ(Code(asked), StatusCode::kOk);
  EXPECT_EQ(Stats().console.refused, 1u);
  EXPECT_EQ(Stats().identity.ok, 2u);
}

TEST_F(ServiceTokenTest, OldTokensOfSeveralLeadToOneNewOne) {
  Warm();
  Pass(2'000);
  for (int i = 2; i < 6; ++i) {
    Ask(i);
  }
  Answer(401);  // to 2
  Answer(401);  // to 3, while the new one is fetched
  ASSERT_EQ(http_.open.size(), 3u);
  std::rotate(http_.open.begin(), http_.open.begin() + 2, http_.open.end());
  AnswerToken("gate-2");
  Answer(401);  // to 4, asked with the old one: no third authentication
  ASSERT_EQ(http_.open.size(), 4u);
  Answer(401);  // to 5
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(HeaderOf(Next(), "X-Auth-Token"), "gate-2");
    AnswerConsole();
  }
  for (size_t i = 1; i < 5; ++i) {
    EXPECT_EQ(Code(i), StatusCode::kOk);
  }
  EXPECT_EQ(Stats().identity.ok, 2u);
}

TEST_F(ServiceTokenTest, AnotherSecondAfterOneInWhichTokensWereRevoked) {
  const size_t first = Ask(1);
  AnswerToken("gate-1");
  Answer(401);
  const size_t second = Ask(2);
  Pass(1'099);
  EXPECT_TRUE(Idle());
  Pass(1);
  EXPECT_EQ(http_.open.size(), 1u);
  AnswerToken("gate-2");
  AnswerConsole();
  AnswerConsole();
  EXPECT_EQ(Code(first), StatusCode::kOk);
  EXPECT_EQ(Code(second), StatusCode::kOk);
}

TEST_F(ServiceTokenTest, A401ToANewTokenIsNovasLastWord) {
  Warm();
  Pass(2'000);
  const size_t asked = Ask(2);
  Answer(401);
  AnswerToken("gate-2");
  Answer(401);
  EXPECT_EQ(Code(asked), StatusCode::kPermissionDenied);
  EXPECT_TRUE(Idle());
  // Nor does the next question lead to Keystone again, for a while.
  Pass(4'999);
  const size_t next = Ask(3);
  EXPECT_EQ(HeaderOf(Next(), "X-Auth-Token"), "gate-2");
  Answer(401);
  EXPECT_EQ(Code(next), StatusCode::kPermissionDenied);
  EXPECT_TRUE(Idle());
  Pass(1);
  Ask(4);
  Answer(401);
  EXPECT_TRUE(NextIsKeystone());
}

TEST_F(ServiceTokenTest, AWrongSecretIsNotTriedAgain) {
  const size_t asked = Ask(1);
  Answer(401, R"({"error":{"code":401,"title":"Unauthorized"}})");
  EXPECT_EQ(Code(asked), StatusCode::kPermissionDenied);
  EXPECT_EQ(Stats().identity.refused, 1u);
  for (int i = 2; i < 50; ++i) {
    EXPECT_EQ(Code(Ask(i)), StatusCode::kPermissionDenied);
  }
  EXPECT_EQ(http_.num_started, 1u);
  EXPECT_EQ(Stats().identity.rejected, 48u);
  // After half a minute, then after twice as long each time.
  int64_t pause_ms = 30'000;
  for (int i = 0; i < 8; ++i) {
    Pass(pause_ms - 1);
    Ask(100);
    ASSERT_TRUE(Idle()) << i;
    Pass(1);
    Ask(100);
    ASSERT_FALSE(Idle()) << i;
    Answer(401);
    pause_ms = std::min<int64_t>(pause_ms * 2, 600'000);
  }
  EXPECT_FALSE(Stats().breaker_open);
}

TEST_F(ServiceTokenTest, ANewSecretIsTriedAtOnce) {
  Ask(1);
  Answer(401);
  WriteSecret("right");
  const size_t asked = Ask(2);
  EXPECT_NE(Next().body.find("right"), std::string::npos);
  AnswerToken();
  AnswerConsole();
  EXPECT_EQ(Code(asked), StatusCode::kOk);
}

TEST_F(ServiceTokenTest, TheSecretIsReadAnew) {
  Warm();
  WriteSecret("changed");
  Pass(3'700'000);
  Ask(2);
  EXPECT_NE(Next().body.find("changed"), std::string::npos);
}

TEST_F(ServiceTokenTest, WithoutASecretNobodyIsAsked) {
  std::remove(secret_path_.c_str());
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(Code(Ask(1)), StatusCode::kPermissionDenied);
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find(secret_path_), std::string::npos);
  EXPECT_TRUE(Idle());
  WriteSecret("sesame");
  Ask(2);
  EXPECT_TRUE(NextIsKeystone());
}

TEST_F(ServiceTokenTest, ASecondFactorIsRefusedAndNamed) {
  ::testing::internal::CaptureStderr();
  const size_t asked = Ask(1);
  Answer(401, "", {{"openstack-auth-receipt", "receipt-sesame"}});
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(Code(asked), StatusCode::kPermissionDenied);
  EXPECT_NE(log.find("second factor"), std::string::npos);
  EXPECT_EQ(log.find("receipt-sesame"), std::string::npos);
}

TEST_F(ServiceTokenTest, WhatElseKeystoneMayAnswer) {
  for (const auto& [status, code] : std::vector<std::pair<int, StatusCode>>{
           {400, StatusCode::kPermissionDenied},
           {403, StatusCode::kPermissionDenied},
           {404, StatusCode::kUnavailable},
           {300, StatusCode::kUnavailable},
           {201, StatusCode::kUnavailable}}) {
    Begin({Nova()});
    const size_t asked = Ask(1);
    Answer(status, "{}", {{"x-subject-token", "gate"}});
    EXPECT_EQ(Code(asked), code) << status;
    EXPECT_TRUE(Idle());
  }
}

TEST_F(ServiceTokenTest, AGoneCredentialIsRefusedAndNamed) {
  ::testing::internal::CaptureStderr();
  const size_t asked = Ask(1);
  Answer(404, R"({"error":{"code":404,"title":"Not Found"}})");
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(Code(asked), StatusCode::kPermissionDenied);
  EXPECT_NE(log.find("no such credential"), std::string::npos);
  // The cloud is well, and not asked again at once.
  EXPECT_FALSE(Stats().breaker_open);
  EXPECT_EQ(Code(Ask(2)), StatusCode::kPermissionDenied);
  EXPECT_TRUE(Idle());
}

TEST_F(ServiceTokenTest, ACatalogWithoutNovaIsNotAskedForAgainAtOnce) {
  CloudConfig config = Nova();
  config.compute.endpoint = "";
  Begin({config});
  const size_t asked = Ask(1);
  Answer(201,
         R"({"token":{"expires_at":")" + Time(kIssuedUnixS + 60) +
             R"(","catalog":[]}})",
         {{"x-subject-token", "gate"}});
  EXPECT_EQ(Code(asked), StatusCode::kPermissionDenied);
  EXPECT_EQ(Code(Ask(2)), StatusCode::kPermissionDenied);
  EXPECT_TRUE(Idle());
  Pass(30'000);
  Ask(3);
  EXPECT_TRUE(NextIsKeystone());
}

TEST_F(ServiceTokenTest, TheLogNamesItsLifeAndNothingMore) {
  ::testing::internal::CaptureStderr();
  Ask(1);
  AnswerToken("gate-secret");
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find(R"("event":"keystone_token")"), std::string::npos);
  EXPECT_NE(log.find(R"("expires_s":3600)"), std::string::npos);
  EXPECT_EQ(log.find("gate-secret"), std::string::npos);
  EXPECT_EQ(log.find("sesame"), std::string::npos);
}

}  // namespace
}  // namespace spicegate
