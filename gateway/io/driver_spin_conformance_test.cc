// SPDX-License-Identifier: Apache-2.0
//
// What driver.h promises about Spin, asked of every implementation: it looks,
// it hands out nothing, and what it saw or did not see is not lost.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <string_view>

#include "gateway/io/driver.h"
#include "gateway/io/driver_conformance.h"

namespace spicegate {
namespace {

constexpr int64_t kShortUs = 50;
constexpr int64_t kLongUs = 10'000'000;

class SpinTest : public DriverTest {
 protected:
  // Time does not pass in the simulator while somebody looks at it.
  static bool simulated() {
    return std::string_view(GetParam().name).starts_with("sim");
  }
};

TEST_P(SpinTest, WhatItSeesIsHandedOutByDispatch) {
  const auto [a, b] = host_->Connection();
  Recorder recorder;
  driver().Poll(a, Ready::kReadable, &recorder, 1);
  EXPECT_EQ(SendText(b, "x"), 1);
  const bool seen = driver().Spin(kLongUs);
  EXPECT_EQ(seen, !simulated());
  EXPECT_TRUE(recorder.events.empty());
  ASSERT_TRUE(RunUntilEvents(recorder, 1));
  EXPECT_EQ(RecvText(a, 1), "x");
  CloseBoth({a, b});
}

TEST_P(SpinTest, GivesUpWhenNothingComes) {
  const auto [a, b] = host_->Connection();
  Recorder recorder;
  driver().Poll(a, Ready::kReadable, &recorder, 1);
  for (int i = 0; i < 20; ++i) {
    EXPECT_FALSE(driver().Spin(kShortUs));
    EXPECT_EQ(driver().RunOnce(0), 0u);
  }
  EXPECT_EQ(driver().OpsInFlight(), 1u);
  EXPECT_EQ(SendText(b, "x"), 1);
  ASSERT_TRUE(RunUntilEvents(recorder, 1));
  EXPECT_EQ(RecvText(a, 1), "x");
  CloseBoth({a, b});
}

TEST_P(SpinTest, SubmitsWhatWasStarted) {
  const auto [a, b] = host_->Connection();
  Recorder recorder;
  const OpId op = driver().Poll(a, Ready::kReadable, &recorder, 1);
  driver().Spin(kShortUs);
  driver().Cancel(op);
  EXPECT_EQ(driver().Spin(kLongUs), !simulated());
  ASSERT_TRUE(RunUntilEvents(recorder, 1));
  EXPECT_EQ(recorder.events[0].result.value, -ECANCELED);
  CloseBoth({a, b});
}

TEST_P(SpinTest, AWakeBeforeItStillEndsTheWait) {
  for (int round = 0; round < 5; ++round) {
    const int64_t before_ms = driver().NowMs();
    driver().Wake();
    driver().Spin(kShortUs);
    driver().RunOnce(600'000);
    EXPECT_LT(driver().NowMs() - before_ms, 600'000);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Drivers, SpinTest, testing::ValuesIn(kImplementations),
    [](const testing::TestParamInfo<Implementation>& info) {
      return info.param.name;
    });

}  // namespace
}  // namespace spicegate
