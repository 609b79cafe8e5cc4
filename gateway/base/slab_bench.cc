// SPDX-License-Identifier: Apache-2.0
//
// The pool that every link, session and channel lives in. The claim to watch:
// finding and replacing an object cost the same in a pool of any size, as far
// as the cache reaches.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <vector>

#include "gateway/base/slab.h"

namespace spicegate {
namespace {

// About as large as a channel.
struct Object {
  explicit Object(uint64_t n) { words[0] = n; }
  std::array<uint64_t, 64> words;
};

// Visits all of a pool in an order that the processor cannot guess.
class Walk {
 public:
  explicit Walk(size_t size) : size_(size) {}
  size_t Next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<size_t>(state_ >> 33) % size_;
  }

 private:
  const size_t size_;
  uint64_t state_ = 1;
};

std::vector<Handle> Fill(Slab<Object>* slab) {
  std::vector<Handle> handles;
  while (slab->size() < slab->capacity()) {
    handles.push_back(slab->Emplace(slab->size()));
  }
  return handles;
}

// What each message between parts of a worker pays.
void BM_Get(benchmark::State& state) {
  const size_t num_objects = static_cast<size_t>(state.range(0));
  Slab<Object> slab(num_objects);
  const std::vector<Handle> handles = Fill(&slab);
  Walk walk(num_objects);
  for (auto _ : state) {
    benchmark::DoNotOptimize(slab.Get(handles[walk.Next()])->words[0]);
  }
}
BENCHMARK(BM_Get)->Arg(10)->Arg(1'000)->Arg(20'000);

// A handle whose object is gone: must cost no more.
void BM_GetStale(benchmark::State& state) {
  Slab<Object> slab(1'000);
  const std::vector<Handle> stale = Fill(&slab);
  for (const Handle handle : stale) {
    slab.Erase(handle);
  }
  Fill(&slab);
  Walk walk(stale.size());
  for (auto _ : state) {
    benchmark::DoNotOptimize(slab.Get(stale[walk.Next()]));
  }
}
BENCHMARK(BM_GetStale);

// One object goes, another takes its place.
void BM_Replace(benchmark::State& state) {
  const size_t num_objects = static_cast<size_t>(state.range(0));
  Slab<Object> slab(num_objects);
  std::vector<Handle> handles = Fill(&slab);
  Walk walk(num_objects);
  for (auto _ : state) {
    Handle& handle = handles[walk.Next()];
    slab.Erase(handle);
    handle = slab.Emplace(uint64_t{1});
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Replace)->Arg(10)->Arg(1'000)->Arg(20'000);

}  // namespace
}  // namespace spicegate
