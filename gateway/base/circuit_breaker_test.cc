// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/circuit_breaker.h"

#include <gtest/gtest.h>

namespace spicegate {
namespace {

// Lets it fail as often as it takes to open at `now_ms`.
void Open(CircuitBreaker* breaker, int64_t now_ms) {
  for (int i = 1; i < CircuitBreaker::kFailuresToOpen; ++i) {
    EXPECT_TRUE(breaker->Allow(now_ms));
    EXPECT_FALSE(breaker->Failed(now_ms));
  }
  EXPECT_TRUE(breaker->Allow(now_ms));
  EXPECT_TRUE(breaker->Failed(now_ms));
}

TEST(CircuitBreaker, FailuresInARowOpenIt) {
  CircuitBreaker breaker;
  EXPECT_FALSE(breaker.open());
  Open(&breaker, 1000);
  EXPECT_TRUE(breaker.open());
  EXPECT_FALSE(breaker.Allow(1000));
  EXPECT_FALSE(breaker.Allow(5999));
}

TEST(CircuitBreaker, ASuccessBetweenStartsTheCountAgain) {
  CircuitBreaker breaker;
  EXPECT_FALSE(breaker.Failed(0));
  EXPECT_FALSE(breaker.Failed(0));
  EXPECT_FALSE(breaker.Succeeded());  // it was not open
  EXPECT_FALSE(breaker.Failed(0));
  EXPECT_FALSE(breaker.Failed(0));
  EXPECT_TRUE(breaker.Allow(0));
}

TEST(CircuitBreaker, OneProbeGoesThroughAndClosesIt) {
  CircuitBreaker breaker;
  Open(&breaker, 0);
  EXPECT_TRUE(breaker.Allow(5000));
  EXPECT_FALSE(breaker.Allow(5000));  // the probe is under way
  EXPECT_TRUE(breaker.open());
  EXPECT_TRUE(breaker.Succeeded());
  EXPECT_FALSE(breaker.open());
  EXPECT_TRUE(breaker.Allow(5000));
}

TEST(CircuitBreaker, AFailedProbeDoublesTheTimeUpToALimit) {
  CircuitBreaker breaker;
  Open(&breaker, 0);
  int64_t now_ms = 0;
  for (const int64_t open_ms : {5000, 10000, 20000, 40000, 60000, 60000}) {
    EXPECT_FALSE(breaker.Allow(now_ms + open_ms - 1)) << open_ms;
    now_ms += open_ms;
    EXPECT_TRUE(breaker.Allow(now_ms)) << open_ms;
    EXPECT_FALSE(breaker.Failed(now_ms));  // it was open before
  }
}

TEST(CircuitBreaker, OnceClosedItOpensForTheFirstTimeAgain) {
  CircuitBreaker breaker;
  Open(&breaker, 0);
  EXPECT_TRUE(breaker.Allow(5000));
  EXPECT_FALSE(breaker.Failed(5000));
  EXPECT_TRUE(breaker.Allow(15000));
  EXPECT_TRUE(breaker.Succeeded());
  Open(&breaker, 20000);
  EXPECT_FALSE(breaker.Allow(24999));
  EXPECT_TRUE(breaker.Allow(25000));
}

TEST(CircuitBreaker, HopeLetsOneThroughBeforeItsTime) {
  CircuitBreaker breaker;
  Open(&breaker, 1000);
  EXPECT_FALSE(breaker.Allow(1001));
  breaker.Probe();
  EXPECT_TRUE(breaker.Allow(1001));
  EXPECT_FALSE(breaker.Allow(1001));
  EXPECT_FALSE(breaker.Failed(1001));
  EXPECT_FALSE(breaker.Allow(11000));
  EXPECT_TRUE(breaker.Allow(11001));
}

}  // namespace
}  // namespace spicegate
