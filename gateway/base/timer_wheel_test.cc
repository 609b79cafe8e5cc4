// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace spicegate {
namespace {

// A timer whose callback is a function of the test's.
struct TestTimer {
  explicit TestTimer(std::function<void()> on_fire)
      : fire(std::move(on_fire)),
        timer([](void* self) { static_cast<TestTimer*>(self)->fire(); }, this) {
  }

  std::function<void()> fire;
  Timer timer;
};

TEST(TimerWheelTest, FiresAtItsDeadlineAndNotBefore) {
  TimerWheel wheel(1'000);
  int fired = 0;
  TestTimer t([&] { ++fired; });
  t.timer.Arm(&wheel, 1'010);
  EXPECT_TRUE(t.timer.armed());
  EXPECT_EQ(t.timer.deadline_ms(), 1'010);
  EXPECT_EQ(wheel.size(), 1u);
  wheel.Advance(1'009);
  EXPECT_EQ(fired, 0);
  wheel.Advance(1'010);
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(t.timer.armed());
  EXPECT_EQ(wheel.size(), 0u);
  wheel.Advance(5'000);
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheelTest, NeverFiresInsideArm) {
  TimerWheel wheel(1'000);
  int fired = 0;
  TestTimer t([&] { ++fired; });
  t.timer.Arm(&wheel, 0);
  EXPECT_EQ(fired, 0);
  EXPECT_EQ(wheel.SleepMs(), 1);
  wheel.Advance(1'001);
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheelTest, ArmingAgainMovesTheTimer) {
  TimerWheel wheel(0);
  int fired = 0;
  TestTimer t([&] { ++fired; });
  t.timer.Arm(&wheel, 10);
  t.timer.Arm(&wheel, 100'000);
  EXPECT_EQ(wheel.size(), 1u);
  wheel.Advance(99'999);
  EXPECT_EQ(fired, 0);
  t.timer.Arm(&wheel, 100'001);
  wheel.Advance(100'000);
  EXPECT_EQ(fired, 0);
  wheel.Advance(100'001);
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheelTest, CancelAndDestructionDisarm) {
  TimerWheel wheel(0);
  int fired = 0;
  TestTimer cancelled([&] { ++fired; });
  cancelled.timer.Arm(&wheel, 10);
  cancelled.timer.Cancel();
  cancelled.timer.Cancel();
  {
    TestTimer destroyed([&] { ++fired; });
    destroyed.timer.Arm(&wheel, 5'000);
  }
  EXPECT_EQ(wheel.size(), 0u);
  EXPECT_EQ(wheel.SleepMs(), -1);
  wheel.Advance(10'000);
  EXPECT_EQ(fired, 0);
}

TEST(TimerWheelTest, TimeDoesNotGoBack) {
  TimerWheel wheel(1'000);
  wheel.Advance(500);
  EXPECT_EQ(wheel.now_ms(), 1'000);
}

TEST(TimerWheelTest, CallbackMayArmItselfAgain) {
  TimerWheel wheel(0);
  std::vector<int64_t> fired_at;
  TestTimer t([] {});
  t.fire = [&] {
    fired_at.push_back(wheel.now_ms());
    t.timer.Arm(&wheel, wheel.now_ms() + 64);
  };
  t.timer.Arm(&wheel, 64);
  wheel.Advance(64 * 50);
  ASSERT_EQ(fired_at.size(), 50u);
  for (size_t i = 0; i < fired_at.size(); ++i) {
    EXPECT_EQ(fired_at[i], static_cast<int64_t>(64 * (i + 1)));
  }
  t.timer.Cancel();
}

TEST(TimerWheelTest, PastDeadlineArmedByACallbackWaitsForTheNextTick) {
  TimerWheel wheel(0);
  int fired = 0;
  TestTimer t([] {});
  t.fire = [&] {
    if (++fired < 3) {
      t.timer.Arm(&wheel, 0);
    }
  };
  t.timer.Arm(&wheel, 10);
  wheel.Advance(10);
  EXPECT_EQ(fired, 1);
  wheel.Advance(11);
  EXPECT_EQ(fired, 2);
  wheel.Advance(12);
  EXPECT_EQ(fired, 3);
}

TEST(TimerWheelTest, CallbackMayCancelAndDestroyOthersOfTheSameTick) {
  TimerWheel wheel(0);
  int fired = 0;
  std::vector<std::unique_ptr<TestTimer>> timers;
  // Whichever comes first ends all others.
  for (int i = 0; i < 5; ++i) {
    timers.push_back(std::make_unique<TestTimer>([&, i] {
      ++fired;
      for (int j = 0; j < 5; ++j) {
        if (j != i) {
          timers[j].reset();
        }
      }
    }));
    timers[i]->timer.Arm(&wheel, 77);
  }
  wheel.Advance(77);
  EXPECT_EQ(fired, 1);
  EXPECT_EQ(wheel.size(), 0u);
}

TEST(TimerWheelTest, SleepsNoLongerThanTheNextDeadline) {
  TimerWheel wheel(123'456);
  TestTimer t([] {});
  for (const int64_t delay : {1, 63, 64, 65, 4'095, 4'096, 1'000'000}) {
    t.timer.Arm(&wheel, 123'456 + delay);
    EXPECT_GT(wheel.SleepMs(), 0);
    EXPECT_LE(wheel.SleepMs(), delay);
  }
  t.timer.Cancel();
}

TEST(TimerWheelTest, DeadlinesBeyondTheHorizonAreKept) {
  // The wheel spans 2^30 ms, twelve days.
  constexpr int64_t kYearMs = int64_t{365} * 24 * 3'600 * 1'000;
  for (const int64_t start_ms :
       {int64_t{0}, int64_t{1} << 30, int64_t{777}, (int64_t{1} << 30) - 1}) {
    TimerWheel wheel(start_ms);
    int fired = 0;
    TestTimer t([&] { ++fired; });
    t.timer.Arm(&wheel, start_ms + kYearMs);
    wheel.Advance(start_ms + kYearMs - 1);
    EXPECT_EQ(fired, 0);
    wheel.Advance(start_ms + kYearMs);
    EXPECT_EQ(fired, 1);
  }
}

// The wheel against the obvious way to do it: a list searched each time.
class ModelTest : public testing::TestWithParam<uint64_t> {
 protected:
  static constexpr int kNumTimers = 40;

  struct Expected {
    bool armed = false;
    int64_t due_ms = 0;  // when it must fire
  };

  ModelTest() : random_(GetParam()), now_ms_(StartMs()), wheel_(now_ms_) {
    for (int i = 0; i < kNumTimers; ++i) {
      timers_.push_back(std::make_unique<TestTimer>([this, i] { OnFire(i); }));
    }
  }

  ~ModelTest() override { timers_.clear(); }

  int64_t Below(int64_t bound) {
    return static_cast<int64_t>(random_() % static_cast<uint64_t>(bound));
  }

  int64_t StartMs() {
    // Around the boundaries where levels carry.
    return (int64_t{1} << Below(41)) + Below(200) - Below(2);
  }

  int64_t Delay() {
    // All magnitudes alike: next tick, cascades, beyond the horizon.
    return Below(int64_t{1} << Below(34)) - Below(3);
  }

  void Arm(int i) {
    const int64_t deadline_ms = wheel_.now_ms() + Delay();
    timers_[i]->timer.Arm(&wheel_, deadline_ms);
    expected_[i] = {true, std::max(deadline_ms, wheel_.now_ms() + 1)};
  }

  void Cancel(int i) {
    timers_[i]->timer.Cancel();
    expected_[i].armed = false;
  }

  void OnFire(int i) {
    EXPECT_TRUE(expected_[i].armed);
    EXPECT_EQ(expected_[i].due_ms, wheel_.now_ms());
    EXPECT_FALSE(timers_[i]->timer.armed());
    expected_[i].armed = false;
    ++num_fired_;
    // Callbacks arm and cancel, themselves and others.
    switch (Below(4)) {
      case 0:
        Arm(i);
        break;
      case 1:
        Arm(static_cast<int>(Below(kNumTimers)));
        break;
      case 2:
        Cancel(static_cast<int>(Below(kNumTimers)));
        break;
      default:
        break;
    }
  }

  // The earliest armed deadline, or -1.
  int64_t NextDueMs() const {
    int64_t next = -1;
    for (const Expected& e : expected_) {
      if (e.armed && (next < 0 || e.due_ms < next)) {
        next = e.due_ms;
      }
    }
    return next;
  }

  void CheckAgainstModel() {
    size_t armed = 0;
    for (int i = 0; i < kNumTimers; ++i) {
      EXPECT_EQ(timers_[i]->timer.armed(), expected_[i].armed);
      if (expected_[i].armed) {
        ++armed;
        EXPECT_GT(expected_[i].due_ms, now_ms_) << "not fired";
      }
    }
    EXPECT_EQ(wheel_.size(), armed);
    if (armed == 0) {
      EXPECT_EQ(wheel_.SleepMs(), -1);
    } else {
      EXPECT_GT(wheel_.SleepMs(), 0);
      EXPECT_LE(wheel_.SleepMs(), NextDueMs() - now_ms_);
    }
  }

  void Advance() {
    const int64_t next_ms = NextDueMs();
    switch (Below(3)) {
      case 0:
        now_ms_ += Below(int64_t{1} << Below(32));
        break;
      case 1:
        now_ms_ = std::max(now_ms_, next_ms);
        break;
      default:
        // As a worker does it.
        now_ms_ += std::max<int64_t>(wheel_.SleepMs(), 0);
        break;
    }
    wheel_.Advance(now_ms_);
    EXPECT_EQ(wheel_.now_ms(), now_ms_);
  }

  std::mt19937_64 random_;
  int64_t now_ms_;
  TimerWheel wheel_;
  std::vector<std::unique_ptr<TestTimer>> timers_;
  std::array<Expected, kNumTimers> expected_;
  int num_fired_ = 0;
};

TEST_P(ModelTest, AgreesWithTheModel) {
  for (int step = 0; step < 2'000 && !HasFailure(); ++step) {
    const int i = static_cast<int>(Below(kNumTimers));
    switch (Below(5)) {
      case 0:
      case 1:
        Arm(i);
        break;
      case 2:
        Cancel(i);
        break;
      default:
        Advance();
        break;
    }
    CheckAgainstModel();
  }
  EXPECT_GT(num_fired_, 0);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ModelTest,
                         testing::Range(uint64_t{1}, uint64_t{41}));

}  // namespace
}  // namespace spicegate
