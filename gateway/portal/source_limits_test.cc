// SPDX-License-Identifier: Apache-2.0
#include "gateway/portal/source_limits.h"

#include <gtest/gtest.h>

#include <string>

namespace spicegate {
namespace {

using Verdict = SourceLimits::Verdict;

constexpr int64_t kMaxFailures = 10;

AddressBytes Address(const std::string& text) {
  AddressBytes address{};
  EXPECT_TRUE(ParseHostAddress(text, &address)) << text;
  return address;
}

class SourceLimitsTest : public ::testing::Test {
 protected:
  // One lookup from begin to end.
  Verdict Look(const std::string& source, bool failed) {
    const Verdict verdict = limits_.Begin(Address(source), now_ms_);
    if (verdict == Verdict::kGo) {
      limits_.End(Address(source), failed, now_ms_);
    }
    return verdict;
  }

  void Fail(const std::string& source, int64_t times) {
    for (int64_t i = 0; i < times; ++i) {
      ASSERT_EQ(Look(source, true), Verdict::kGo) << i;
    }
  }

  int64_t now_ms_ = 1'000'000;
  SourceLimits limits_{{.max_failures = kMaxFailures}};
};

TEST_F(SourceLimitsTest, LetsMoreThanTheBudgetWait) {
  Fail("192.0.2.1", kMaxFailures + 1);
  EXPECT_EQ(Look("192.0.2.1", false), Verdict::kThrottled);
  EXPECT_EQ(limits_.RetryAfterS(Address("192.0.2.1"), now_ms_), 6);
}

TEST_F(SourceLimitsTest, KeepsTheBudgetExactly) {
  Fail("192.0.2.1", kMaxFailures);
  EXPECT_EQ(Look("192.0.2.1", false), Verdict::kGo);
  EXPECT_EQ(limits_.RetryAfterS(Address("192.0.2.1"), now_ms_), 0);
}

TEST_F(SourceLimitsTest, ForgivesOneAtATime) {
  Fail("192.0.2.1", kMaxFailures + 1);
  now_ms_ += kPortalForgiveMs - 1;
  EXPECT_EQ(Look("192.0.2.1", true), Verdict::kThrottled);
  EXPECT_EQ(limits_.RetryAfterS(Address("192.0.2.1"), now_ms_), 1);
  now_ms_ += 1;
  EXPECT_EQ(Look("192.0.2.1", true), Verdict::kGo);
  EXPECT_EQ(Look("192.0.2.1", true), Verdict::kThrottled);
}

TEST_F(SourceLimitsTest, ForgivesAllInTheEnd) {
  Fail("192.0.2.1", kMaxFailures + 1);
  now_ms_ += (kMaxFailures + 1) * kPortalForgiveMs;
  Fail("192.0.2.1", kMaxFailures + 1);
  EXPECT_EQ(Look("192.0.2.1", true), Verdict::kThrottled);
}

TEST_F(SourceLimitsTest, ForgetsWhoIsForgiven) {
  Fail("192.0.2.1", 1);
  EXPECT_EQ(limits_.num_sources(), 1U);
  now_ms_ += kPortalForgiveMs;
  EXPECT_EQ(Look("192.0.2.1", false), Verdict::kGo);
  EXPECT_EQ(limits_.num_sources(), 0U);
}

TEST_F(SourceLimitsTest, TakesNothingForSuccess) {
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(Look("192.0.2.1", false), Verdict::kGo);
  }
  EXPECT_EQ(limits_.num_sources(), 0U);
}

TEST_F(SourceLimitsTest, LeavesOthersAlone) {
  Fail("192.0.2.1", kMaxFailures + 1);
  EXPECT_EQ(Look("192.0.2.1", false), Verdict::kThrottled);
  EXPECT_EQ(Look("192.0.2.2", false), Verdict::kGo);
}

TEST_F(SourceLimitsTest, HasOneBudgetForANetworkOfIpv6) {
  Fail("2001:db8:0:1::1", kMaxFailures);
  Fail("2001:db8:0:1:ffff:ffff:ffff:ffff", 1);
  EXPECT_EQ(Look("2001:db8:0:1::77", false), Verdict::kThrottled);
  EXPECT_EQ(Look("2001:db8:0:2::1", false), Verdict::kGo);
}

TEST_F(SourceLimitsTest, KnowsIpv4InsideOfIpv6) {
  Fail("::ffff:192.0.2.1", kMaxFailures + 1);
  EXPECT_EQ(Look("192.0.2.1", false), Verdict::kThrottled);
  EXPECT_EQ(Look("::ffff:192.0.2.2", false), Verdict::kGo);
  // All of ::/64 but not of IPv4.
  EXPECT_EQ(Look("::1", false), Verdict::kGo);
}

TEST_F(SourceLimitsTest, BoundsLookupsUnderWay) {
  const AddressBytes office = Address("192.0.2.1");
  for (int64_t i = 0; i < kMaxSourceLookups; ++i) {
    ASSERT_EQ(limits_.Begin(office, now_ms_), Verdict::kGo);
  }
  EXPECT_EQ(limits_.Begin(office, now_ms_), Verdict::kBusy);
  EXPECT_EQ(Look("192.0.2.2", false), Verdict::kGo);
  limits_.End(office, false, now_ms_);
  EXPECT_EQ(limits_.Begin(office, now_ms_), Verdict::kGo);
}

// Who guesses with many lookups at once has to wait for all of them.
TEST_F(SourceLimitsTest, CountsFailuresThatWereUnderWay) {
  const AddressBytes guesser = Address("192.0.2.1");
  for (int64_t i = 0; i < kMaxSourceLookups; ++i) {
    ASSERT_EQ(limits_.Begin(guesser, now_ms_), Verdict::kGo);
  }
  for (int64_t i = 0; i < kMaxSourceLookups; ++i) {
    limits_.End(guesser, true, now_ms_);
  }
  EXPECT_EQ(limits_.Begin(guesser, now_ms_), Verdict::kThrottled);
  EXPECT_EQ(limits_.RetryAfterS(guesser, now_ms_), kPortalForgiveMs / 1000);
}

TEST_F(SourceLimitsTest, CanAllowNoFailure) {
  SourceLimits strict({.max_failures = 0});
  const AddressBytes source = Address("192.0.2.1");
  ASSERT_EQ(strict.Begin(source, now_ms_), Verdict::kGo);
  strict.End(source, true, now_ms_);
  EXPECT_EQ(strict.Begin(source, now_ms_), Verdict::kThrottled);
}

class SmallSourceLimitsTest : public ::testing::Test {
 protected:
  void FailOnce(const std::string& source) {
    ASSERT_EQ(limits_.Begin(Address(source), now_ms_), Verdict::kGo);
    limits_.End(Address(source), true, now_ms_);
  }

  const int64_t now_ms_ = 0;
  SourceLimits limits_{{.max_failures = 0, .max_sources = 2}};
};

TEST_F(SmallSourceLimitsTest, ForgetsTheOldestFailure) {
  FailOnce("192.0.2.1");
  FailOnce("192.0.2.2");
  FailOnce("192.0.2.3");
  EXPECT_EQ(limits_.num_sources(), 2U);
  EXPECT_EQ(limits_.Begin(Address("192.0.2.3"), now_ms_), Verdict::kThrottled);
  EXPECT_EQ(limits_.Begin(Address("192.0.2.2"), now_ms_), Verdict::kThrottled);
  EXPECT_EQ(limits_.Begin(Address("192.0.2.1"), now_ms_), Verdict::kGo);
}

TEST_F(SmallSourceLimitsTest, NeverForgetsALookupUnderWay) {
  ASSERT_EQ(limits_.Begin(Address("192.0.2.1"), now_ms_), Verdict::kGo);
  FailOnce("192.0.2.2");
  FailOnce("192.0.2.3");
  ASSERT_EQ(limits_.Begin(Address("192.0.2.4"), now_ms_), Verdict::kGo);
  EXPECT_EQ(limits_.num_sources(), 2U);
  EXPECT_EQ(limits_.Begin(Address("192.0.2.5"), now_ms_), Verdict::kBusy);
  limits_.End(Address("192.0.2.1"), false, now_ms_);
  EXPECT_EQ(limits_.Begin(Address("192.0.2.5"), now_ms_), Verdict::kGo);
}

class VisitorLimitsTest : public ::testing::Test {
 protected:
  Verdict Fail(const std::string& source) {
    const Verdict verdict = limits_.Begin(Address(source), now_ms_);
    if (verdict == Verdict::kGo) {
      limits_.End(Address(source), /*failed=*/true, now_ms_);
    }
    return verdict;
  }

  int64_t now_ms_ = 1'000'000;
  VisitorLimits limits_{kMaxFailures};
};

TEST_F(VisitorLimitsTest, ASiteIsThrottledLaterThanItsSources) {
  for (int64_t i = 0; i <= kMaxFailures * kSiteFailuresFactor; ++i) {
    ASSERT_EQ(Fail("2001:db8:7:" + std::to_string(i) + "::1"), Verdict::kGo);
  }
  EXPECT_EQ(Fail("2001:db8:7:ffff::1"), Verdict::kThrottled);
  EXPECT_GT(limits_.RetryAfterS(Address("2001:db8:7:ffff::1"), now_ms_), 0);
  EXPECT_EQ(Fail("2001:db8:8::1"), Verdict::kGo);
  EXPECT_EQ(Fail("192.0.2.1"), Verdict::kGo);
  now_ms_ += kPortalForgiveMs;
  EXPECT_EQ(Fail("2001:db8:7:ffff::1"), Verdict::kGo);
}

TEST_F(VisitorLimitsTest, ASourceIsThrottledOnItsOwn) {
  for (int64_t i = 0; i <= kMaxFailures; ++i) {
    ASSERT_EQ(Fail("2001:db8:7:1::1"), Verdict::kGo);
  }
  EXPECT_EQ(Fail("2001:db8:7:1::2"), Verdict::kThrottled);
  EXPECT_EQ(Fail("2001:db8:7:2::1"), Verdict::kGo);
}

TEST_F(VisitorLimitsTest, LookupsOfASiteAreBoundedAndGivenBack) {
  const auto source = [](int64_t i) {
    return Address("2001:db8:7:" + std::to_string(i) + "::1");
  };
  for (int64_t i = 0; i < kMaxSiteLookups; ++i) {
    ASSERT_EQ(limits_.Begin(source(i), now_ms_), Verdict::kGo);
  }
  // A source whose site is busy has no lookup of its own left behind.
  for (int64_t i = 0; i <= kMaxSourceLookups; ++i) {
    ASSERT_EQ(limits_.Begin(source(9999), now_ms_), Verdict::kBusy);
  }
  for (int64_t i = 0; i < kMaxSourceLookups; ++i) {
    limits_.End(source(i), /*failed=*/false, now_ms_);
  }
  for (int64_t i = 0; i < kMaxSourceLookups; ++i) {
    ASSERT_EQ(limits_.Begin(source(9999), now_ms_), Verdict::kGo) << i;
  }
}

}  // namespace
}  // namespace spicegate
