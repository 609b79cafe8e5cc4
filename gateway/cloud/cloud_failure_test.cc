// SPDX-License-Identifier: Apache-2.0
//
// Clouds that are slow, broken or away: what is asked again, who waits how
// long, and who does not wait at all.
#include <string_view>

#include "absl/strings/cord.h"
#include "gateway/cloud/cloud_fixture.h"

namespace spicegate {
namespace {

using absl::StatusCode;

constexpr int kUnderWay = static_cast<int>(Cloud::kMaxUnderWay);

absl::Status Gone() { return absl::UnavailableError("nova: cut off"); }

absl::Status NeverSent() {
  absl::Status status = absl::UnavailableError("broker: no connection");
  status.SetPayload(kNothingSent, absl::Cord("1"));
  return status;
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos;
       at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

class CloudFailureTest : public CloudFixture {
 protected:
  // Each fails twice: as asked, and as asked again.
  void FailThrice(int first_number) {
    for (int i = 0; i < 3; ++i) {
      Ask(first_number + i);
      Answer(503);
      Pass(100);
      Answer(503);
    }
  }
};

TEST_F(CloudFailureTest, AQuestionCutOffIsAskedOnceMore) {
  Begin({Nova()});
  Warm();
  const size_t asked = Ask(2);
  Answer(Gone());
  EXPECT_TRUE(Idle());
  Pass(99);
  EXPECT_TRUE(Idle());
  Pass(1);
  EXPECT_TRUE(NextIsNova());
  EXPECT_EQ(HeaderOf(Next(), "X-Auth-Token"), "gate-1");
  AnswerConsole();
  EXPECT_EQ(Code(asked), StatusCode::kOk);
  EXPECT_EQ(Stats().console.gone, 1u);
}

TEST_F(CloudFailureTest, ButNotTwice) {
  Begin({Nova()});
  Warm();
  const size_t asked = Ask(2);
  Answer(Gone());
  Pass(100);
  Answer(500);
  EXPECT_EQ(Code(asked), StatusCode::kUnavailable);
  Pass(1000);
  EXPECT_TRUE(Idle());
  EXPECT_EQ(Stats().console.gone, 1u);
  EXPECT_EQ(Stats().console.error, 1u);
}

TEST_F(CloudFailureTest, RepeatsComeAtRandomTimes) {
  Begin({Nova()});
  Warm();
  random_ = 0.5;
  Ask(2);
  Answer(500);
  Pass(199);
  EXPECT_TRUE(Idle());
  Pass(1);
  EXPECT_TRUE(NextIsNova());
}

TEST_F(CloudFailureTest, SilenceIsNotAskedAgain) {
  Begin({Nova()});
  Warm();
  const size_t asked = Ask(2);
  now_ms_ += 4000;
  Answer(absl::DeadlineExceededError("nova: silent"));
  EXPECT_EQ(Code(asked), StatusCode::kDeadlineExceeded);
  Pass(1000);
  EXPECT_TRUE(Idle());
  EXPECT_EQ(Stats().console.timeout, 1u);
}

TEST_F(CloudFailureTest, NorIsAnAnswerTooLongOrAWrongCertificate) {
  Begin({Nova()});
  Warm();
  for (const auto& [status, code] :
       std::vector<std::pair<absl::Status, StatusCode>>{
           {absl::ResourceExhaustedError("nova: the answer is too long"),
            StatusCode::kUnavailable},
           {absl::FailedPreconditionError("nova: certificate"),
            StatusCode::kPermissionDenied}}) {
    const size_t asked = Ask(static_cast<int>(results_.size()) + 10);
    Answer(status);
    EXPECT_EQ(Code(asked), code);
    Pass(1000);
    EXPECT_TRUE(Idle());
  }
  EXPECT_EQ(Stats().console.error, 2u);
}

TEST_F(CloudFailureTest, ABrokerIsOnlyAskedAgainWhereNothingWasSent) {
  Begin({Broker()});
  const size_t cut_off = Ask(1, "broker");
  Answer(Gone());
  EXPECT_EQ(Code(cut_off), StatusCode::kUnavailable);
  const size_t broken = Ask(2, "broker");
  Answer(503);
  EXPECT_EQ(Code(broken), StatusCode::kUnavailable);
  Pass(1000);
  EXPECT_TRUE(Idle());
  const size_t unsent = Ask(3, "broker");
  Answer(NeverSent());
  EXPECT_TRUE(Waits(unsent));
  Pass(100);
  EXPECT_EQ(Next().body, R"({"token":")" + Token(3) + R"("})");
  EXPECT_EQ(HeaderOf(Next(), "Authorization"), "Bearer sesame");
  Answer(404);
  EXPECT_EQ(Code(unsent), StatusCode::kNotFound);
}

TEST_F(CloudFailureTest, NobodyWaitsLongerThanNineSeconds) {
  Begin({Nova()});
  const size_t asked = Ask(1);
  Pass(3'900);
  AnswerToken();
  Pass(3'900);
  EXPECT_EQ(Next().deadline_ms, 4000);
  Answer(401);
  EXPECT_TRUE(NextIsKeystone());
  Pass(500);
  AnswerToken("gate-2");
  ASSERT_TRUE(NextIsNova());
  EXPECT_EQ(Next().deadline_ms, 700);
  Pass(699);
  EXPECT_TRUE(Waits(asked));
  Pass(1);
  EXPECT_EQ(Code(asked), StatusCode::kDeadlineExceeded);
  // What comes too late is nobody's.
  AnswerConsole();
  EXPECT_EQ(num_called_[asked], 1);
}

TEST_F(CloudFailureTest, NorInTheQueue) {
  Begin({Nova()});
  Warm();
  for (int i = 0; i < 65; ++i) {
    Ask(100 + i);
  }
  const size_t last = results_.size() - 1;
  Pass(8'999);
  EXPECT_TRUE(Waits(last));
  Pass(1);
  EXPECT_EQ(Code(last), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(num_called_[last], 1);
  // And has left no hole behind.
  http_.open.clear();
  for (int i = 0; i < kUnderWay; ++i) {
    Ask(300 + i);
  }
  EXPECT_EQ(http_.open.size(), Cloud::kMaxUnderWay);
}

TEST_F(CloudFailureTest, NothingIsRepeatedWithoutTimeForIt) {
  Begin({Nova()});
  Ask(1);
  Pass(4'000);
  AnswerToken();
  Pass(4'400);
  Answer(Gone());  // 600 ms are left, 500 after the pause
  Pass(100);
  EXPECT_TRUE(NextIsNova());
  Pass(1'000);
  AnswerNotFound();
  Ask(2);
  Pass(8'401);
  Answer(Gone());
  EXPECT_NE(Code(1), StatusCode::kUnknown);
  EXPECT_TRUE(Idle());
}

TEST_F(CloudFailureTest, ADeadNovaIsNotWaitedFor) {
  Begin({Nova()});
  Warm();
  FailThrice(2);
  EXPECT_TRUE(Stats().breaker_open);
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(Code(Ask(100 + i)), StatusCode::kUnavailable);
  }
  EXPECT_TRUE(Idle());
  EXPECT_EQ(Stats().console.rejected, 200u);
  // One is let through after five seconds.
  Pass(5'000);
  const size_t probe = Ask(400);
  EXPECT_TRUE(Waits(probe));
  EXPECT_EQ(Code(Ask(401)), StatusCode::kUnavailable);
  AnswerConsole();
  EXPECT_FALSE(Stats().breaker_open);
  EXPECT_TRUE(Waits(Ask(402)));
}

TEST_F(CloudFailureTest, ManyThatFailTogetherAreOneReason) {
  Begin({Nova()});
  Warm();
  for (int i = 0; i < kUnderWay; ++i) {
    Ask(100 + i);
  }
  for (int i = 0; i < kUnderWay; ++i) {
    Answer(absl::DeadlineExceededError("nova: silent"));
  }
  EXPECT_TRUE(Stats().breaker_open);
  // Not the longest time, as if the probe had failed sixty times.
  Pass(5'000);
  EXPECT_TRUE(Waits(Ask(400)));
}

TEST_F(CloudFailureTest, ADesktopOfNoUseIsNotTheCloudsFault) {
  Begin({Nova()});
  Warm();
  for (int i = 0; i < 6; ++i) {
    const size_t asked = Ask(100 + i);
    Answer(200, R"({"console":{"instance_uuid":"i","host":"no host!",)"
                R"("port":5900,"tls_port":5901}})");
    EXPECT_EQ(Code(asked), StatusCode::kUnavailable);
  }
  EXPECT_FALSE(Stats().breaker_open);
  EXPECT_TRUE(Waits(Ask(200)));
}

TEST_F(CloudFailureTest, NorAreCallsThatWereNeverBegun) {
  Begin({Nova()});
  Warm();
  for (int i = 0; i < 6; ++i) {
    absl::Status status = absl::DeadlineExceededError("nova: too many calls");
    status.SetPayload(kNeverBegun, absl::Cord("1"));
    const size_t asked = Ask(100 + i);
    Answer(status);
    EXPECT_EQ(Code(asked), StatusCode::kDeadlineExceeded);
  }
  EXPECT_FALSE(Stats().breaker_open);
  EXPECT_TRUE(Waits(Ask(200)));
}

TEST_F(CloudFailureTest, AFailedProbeMeansTwiceAsLong) {
  Begin({Nova()});
  Warm();
  FailThrice(2);
  Pass(5'000);
  Ask(400);
  Answer(absl::DeadlineExceededError("nova: silent"));
  Pass(9'999);
  EXPECT_EQ(Code(Ask(401)), StatusCode::kUnavailable);
  Pass(1);
  EXPECT_TRUE(Waits(Ask(402)));
}

TEST_F(CloudFailureTest, ADeadKeystoneIsNotWaitedForAndComesBack) {
  Begin({Nova()});
  for (int i = 0; i < 3; ++i) {
    const size_t asked = Ask(i);
    Answer(absl::UnavailableError("keystone: refused"));
    EXPECT_TRUE(Waits(asked));
    Pass(100);
    Answer(absl::UnavailableError("keystone: refused"));
    EXPECT_EQ(Code(asked), StatusCode::kUnavailable);
  }
  EXPECT_EQ(Code(Ask(10)), StatusCode::kUnavailable);
  EXPECT_TRUE(Idle());
  EXPECT_TRUE(Stats().breaker_open);
  EXPECT_EQ(Stats().identity.gone, 6u);
  EXPECT_EQ(Stats().identity.rejected, 1u);
  Pass(5'000);
  const size_t asked = Ask(11);
  AnswerToken();
  AnswerConsole();
  EXPECT_EQ(Code(asked), StatusCode::kOk);
  EXPECT_FALSE(Stats().breaker_open);
}

TEST_F(CloudFailureTest, ADeadKeystoneEndsAQueueAtOnce) {
  Begin({Nova()});
  for (int i = 0; i < 1000; ++i) {
    Ask(i);
  }
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(NextIsKeystone());
    Answer(absl::DeadlineExceededError("keystone: silent"));
  }
  EXPECT_TRUE(Idle());
  for (size_t i = 0; i < results_.size(); ++i) {
    EXPECT_FALSE(Waits(i)) << i;
    EXPECT_EQ(num_called_[i], 1);
  }
}

TEST_F(CloudFailureTest, WhoHasATokenNeedsNoKeystone) {
  Begin({Nova()});
  Warm();
  Pass(3'300'000);
  Ask(2);
  Answer(absl::DeadlineExceededError("keystone: silent"));
  AnswerConsole();
  EXPECT_EQ(Code(1), StatusCode::kOk);
}

TEST_F(CloudFailureTest, ShortWaitsThatNovaWantsAreKept) {
  Begin({Nova()});
  Warm();
  const size_t asked = Ask(2);
  Answer(429, "", {{"retry-after", "1"}});
  Pass(999);
  EXPECT_TRUE(Idle());
  Pass(1);
  AnswerConsole();
  EXPECT_EQ(Code(asked), StatusCode::kOk);
}

TEST_F(CloudFailureTest, LongerOnesAreForEverybody) {
  Begin({Nova()});
  Warm();
  for (const auto& [wanted, kept_ms] :
       std::vector<std::pair<std::string, int64_t>>{
           {"7", 7'000}, {"86400", 30'000}, {"Fri, 21 Aug 2026", 1'000}}) {
    const size_t asked = Ask(static_cast<int>(results_.size()) + 10);
    Answer(429, "", {{"retry-after", wanted}});
    EXPECT_EQ(Code(asked), StatusCode::kUnavailable);
    Pass(kept_ms - 1);
    EXPECT_EQ(Code(Ask(500)), StatusCode::kUnavailable);
    EXPECT_TRUE(Idle());
    Pass(1);
    const size_t later = Ask(static_cast<int>(results_.size()) + 600);
    EXPECT_TRUE(Waits(later)) << wanted;
    AnswerConsole();
  }
  EXPECT_FALSE(Stats().breaker_open);
}

TEST_F(CloudFailureTest, KeystoneMayWantToBeLeftAloneToo) {
  Begin({Nova()});
  Ask(1);
  Answer(503, "", {{"retry-after", "20"}});
  EXPECT_EQ(Code(0), StatusCode::kUnavailable);
  Pass(19'999);
  EXPECT_EQ(Code(Ask(2)), StatusCode::kUnavailable);
  EXPECT_TRUE(Idle());
  Pass(1);
  Ask(3);
  EXPECT_TRUE(NextIsKeystone());
}

TEST_F(CloudFailureTest, OneDeadCloudIsNobodyElsesTrouble) {
  Begin({Nova("dead"), Nova("prod"), Broker("broker")});
  for (int i = 0; i < 200; ++i) {
    Ask(i, "dead");
  }
  ASSERT_EQ(http_.open.size(), 1u);  // its Keystone, silent
  const FakeCaller::Made dead = std::move(http_.open.front());
  http_.open.clear();
  const size_t asked = Ask(1);
  AnswerToken();
  AnswerConsole();
  EXPECT_EQ(Code(asked), StatusCode::kOk);
  const size_t broker = Ask(1, "broker");
  Answer(404);
  EXPECT_EQ(Code(broker), StatusCode::kNotFound);
  EXPECT_TRUE(Waits(0));
  EXPECT_EQ(Stats(0).cloud, "broker");
  EXPECT_EQ(Stats(1).cloud, "dead");
  EXPECT_EQ(Stats(2).cloud, "prod");
  EXPECT_EQ(Stats(2).console.ok, 1u);
}

TEST_F(CloudFailureTest, TheLogIsShortAndHoldsNoSecret) {
  ::testing::internal::CaptureStderr();
  Begin({Nova()});
  Warm();
  FailThrice(2);
  Ask(100);
  Pass(10'000);
  Ask(101);
  Answer(403, "sesame");
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(Count(log, R"("event":"cloud_failed")"), 2u) << log;
  EXPECT_EQ(Count(log, R"("service":"nova","error":"answered 503")"), 1u);
  EXPECT_EQ(Count(log, R"("left_out":2)"), 1u);
  EXPECT_EQ(Count(log, R"("event":"cloud_breaker")"), 2u);
  EXPECT_EQ(Count(log, R"("state":"open")"), 1u);
  EXPECT_EQ(Count(log, R"("state":"closed")"), 1u);
  for (const std::string& secret :
       {std::string("sesame"), std::string("gate-1"), Token(2), Token(101)}) {
    EXPECT_EQ(Count(log, secret), 0u) << secret;
  }
}

}  // namespace
}  // namespace spicegate
