// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/spin_policy.h"

#include <gtest/gtest.h>

namespace spicegate {
namespace {

constexpr int64_t kBudgetUs = 50;
constexpr int64_t kStartUs = 1'000'000'000;

TEST(SpinPolicyTest, SpinsOnlyBehindInteractiveWork) {
  SpinPolicy policy(kBudgetUs);
  EXPECT_EQ(policy.SpinUs(kStartUs), 0);
  policy.OnInteractive(kStartUs);
  EXPECT_EQ(policy.SpinUs(kStartUs), kBudgetUs);
  EXPECT_EQ(policy.SpinUs(kStartUs + SpinPolicy::kRecentUs), kBudgetUs);
  EXPECT_EQ(policy.SpinUs(kStartUs + SpinPolicy::kRecentUs + 1), 0);
}

TEST(SpinPolicyTest, NeverSpinsWithoutABudget) {
  SpinPolicy policy(0);
  policy.OnInteractive(kStartUs);
  EXPECT_EQ(policy.SpinUs(kStartUs), 0);
}

TEST(SpinPolicyTest, HitsAreFree) {
  SpinPolicy policy(kBudgetUs);
  int64_t now_us = kStartUs;
  for (int i = 0; i < 10'000; ++i) {
    policy.OnInteractive(now_us);
    ASSERT_EQ(policy.SpinUs(now_us), kBudgetUs) << i;
    now_us += kBudgetUs / 2;
    policy.OnSpun(kBudgetUs / 2, /*hit=*/true);
  }
}

// Whatever the pattern of the work: at most the credit, and then a tenth.
TEST(SpinPolicyTest, BoundsWhatIsSpunInVain) {
  for (const int64_t pause_us : {1, 60, 300, 1'000, 4'000}) {
    SpinPolicy policy(kBudgetUs);
    int64_t now_us = kStartUs;
    int64_t wasted_us = 0;
    while (now_us < kStartUs + 1'000'000) {
      policy.OnInteractive(now_us);
      const int64_t spin_us = policy.SpinUs(now_us);
      policy.OnSpun(spin_us, /*hit=*/false);
      wasted_us += spin_us;
      now_us += spin_us + pause_us;
    }
    EXPECT_LE(wasted_us, 1'000'000 / SpinPolicy::kShare +
                             SpinPolicy::kMaxCreditUs + kBudgetUs)
        << pause_us;
    EXPECT_GT(wasted_us, SpinPolicy::kMaxCreditUs) << pause_us;
  }
}

TEST(SpinPolicyTest, RestsAfterAPreemption) {
  SpinPolicy policy(kBudgetUs);
  policy.OnPreempted(kStartUs);
  int64_t now_us = kStartUs + SpinPolicy::kPauseUs - 1;
  policy.OnInteractive(now_us);
  EXPECT_EQ(policy.SpinUs(now_us), 0);
  ++now_us;
  EXPECT_EQ(policy.SpinUs(now_us), kBudgetUs);
}

}  // namespace
}  // namespace spicegate
