// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/spinner.h"

#include <gtest/gtest.h>

#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"

namespace spicegate {
namespace {

// The simulator's Spin finds nothing, at once; when to spin at all is what is
// tested here, SpinPolicy's arithmetic beside it.
class SpinnerTest : public testing::Test {
 protected:
  int64_t num_spins() const {
    return counters_.spins_hit.value() + counters_.spins_missed.value();
  }

  SimNetwork network_{SimOptions{}};
  SimDriver driver_{&network_};
  WorkerCounters counters_;
};

TEST_F(SpinnerTest, AWorkerWithoutInteractiveWorkSleepsAtOnce) {
  Spinner spinner(&driver_, &counters_, /*budget_us=*/50);
  for (int i = 0; i < 100; ++i) {
    spinner.BeforeSleep();
  }
  EXPECT_EQ(num_spins(), 0);
  EXPECT_EQ(counters_.spin_us.value(), 0);
}

TEST_F(SpinnerTest, SpinsBehindInteractiveWork) {
  Spinner spinner(&driver_, &counters_, /*budget_us=*/50);
  counters_.interactive_moves.Add(1);
  spinner.BeforeSleep();
  EXPECT_EQ(counters_.spins_missed.value(), 1);
  EXPECT_EQ(counters_.spins_hit.value(), 0);
}

TEST_F(SpinnerTest, NeverSpinsWhenSwitchedOff) {
  Spinner spinner(&driver_, &counters_, /*budget_us=*/0);
  counters_.interactive_moves.Add(1);
  spinner.BeforeSleep();
  EXPECT_EQ(num_spins(), 0);
}

}  // namespace
}  // namespace spicegate
