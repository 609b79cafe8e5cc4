// SPDX-License-Identifier: Apache-2.0
//
// The wheel with as many timers as a busy worker has links. The claim to
// watch: the cost of arming does not depend on how many there are.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "gateway/base/timer_wheel.h"

namespace spicegate {
namespace {

void CountFired(void* owner) { ++*static_cast<int64_t*>(owner); }

std::vector<std::unique_ptr<Timer>> MakeTimers(int64_t count,
                                               int64_t* num_fired) {
  std::vector<std::unique_ptr<Timer>> timers;
  for (int64_t i = 0; i < count; ++i) {
    timers.push_back(std::make_unique<Timer>(&CountFired, num_fired));
  }
  return timers;
}

// A deadline pushed back by traffic: what relaying does to a timer.
void BM_ArmAgain(benchmark::State& state) {
  int64_t num_fired = 0;
  TimerWheel wheel(0);
  const auto timers = MakeTimers(state.range(0), &num_fired);
  for (const auto& timer : timers) {
    timer->Arm(&wheel, 30'000);
  }
  size_t next = 0;
  int64_t deadline_ms = 30'000;
  for (auto _ : state) {
    timers[next]->Arm(&wheel, ++deadline_ms);
    next = next + 1 == timers.size() ? 0 : next + 1;
  }
  for (const auto& timer : timers) {
    timer->Cancel();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_ArmAgain)->Arg(1)->Arg(1'000)->Arg(20'000);

// All timers from arming to firing, cascades included.
void BM_ArmAndFire(benchmark::State& state) {
  int64_t num_fired = 0;
  int64_t now_ms = 0;
  TimerWheel wheel(now_ms);
  const auto timers = MakeTimers(state.range(0), &num_fired);
  for (auto _ : state) {
    for (size_t i = 0; i < timers.size(); ++i) {
      timers[i]->Arm(&wheel, now_ms + 1 + static_cast<int64_t>(i * 7 % 30'000));
    }
    now_ms += 30'000;
    wheel.Advance(now_ms);
  }
  benchmark::DoNotOptimize(num_fired);
  state.SetItemsProcessed(num_fired);
}
BENCHMARK(BM_ArmAndFire)->Arg(1'000)->Arg(20'000);

// What every turn of a worker's loop pays.
void BM_SleepMs(benchmark::State& state) {
  int64_t num_fired = 0;
  TimerWheel wheel(0);
  const auto timers = MakeTimers(20'000, &num_fired);
  for (size_t i = 0; i < timers.size(); ++i) {
    timers[i]->Arm(&wheel, static_cast<int64_t>(100 + i));
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(wheel.SleepMs());
  }
  for (const auto& timer : timers) {
    timer->Cancel();
  }
}
BENCHMARK(BM_SleepMs);

}  // namespace
}  // namespace spicegate
