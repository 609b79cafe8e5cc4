// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/slab.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace spicegate {
namespace {

TEST(SlabTest, MakesFindsAndErases) {
  Slab<std::pair<int, int>> slab(4);
  const Handle handle = slab.Emplace(1, 2);
  ASSERT_TRUE(handle);
  ASSERT_NE(slab.Get(handle), nullptr);
  EXPECT_EQ(slab.Get(handle)->second, 2);
  EXPECT_EQ(slab.size(), 1u);
  slab.Erase(handle);
  EXPECT_EQ(slab.Get(handle), nullptr);
  EXPECT_EQ(slab.size(), 0u);
}

TEST(SlabTest, NullAndInventedHandlesFindNothing) {
  Slab<int> slab(4);
  EXPECT_EQ(slab.Get(Handle{}), nullptr);
  EXPECT_EQ(slab.Get(Handle{3, 1}), nullptr);
  const Handle handle = slab.Emplace(1);
  EXPECT_EQ(slab.Get(Handle{}), nullptr);
  EXPECT_EQ(slab.Get(Handle{handle.slot, handle.generation + 1}), nullptr);
  EXPECT_EQ(slab.Get(Handle{handle.slot + 1, handle.generation}), nullptr);
}

TEST(SlabTest, OldHandleNeverFindsTheNextTenant) {
  Slab<int> slab(1);
  std::vector<Handle> old;
  for (int i = 0; i < 1'000; ++i) {
    const Handle handle = slab.Emplace(i);
    ASSERT_TRUE(handle);
    EXPECT_EQ(*slab.Get(handle), i);
    for (const Handle stale : old) {
      EXPECT_FALSE(stale == handle);
      EXPECT_EQ(slab.Get(stale), nullptr);
    }
    slab.Erase(handle);
    old.push_back(handle);
  }
}

TEST(SlabTest, FullSlabGivesANullHandle) {
  Slab<int> slab(2);
  const Handle first = slab.Emplace(1);
  EXPECT_TRUE(slab.Emplace(2));
  EXPECT_FALSE(slab.Emplace(3));
  EXPECT_EQ(slab.size(), slab.capacity());
  slab.Erase(first);
  EXPECT_TRUE(slab.Emplace(3));
}

TEST(SlabTest, ObjectsStayWhereTheyAre) {
  Slab<int> slab(1'000);
  const Handle first = slab.Emplace(7);
  const int* const address = slab.Get(first);
  for (int i = 1; i < 1'000; ++i) {
    slab.Emplace(i);
  }
  EXPECT_EQ(slab.Get(first), address);
}

TEST(SlabTest, DestroysWhatIsErasedAndWhatIsLeft) {
  const auto alive = std::make_shared<int>(0);
  {
    Slab<std::shared_ptr<int>> slab(4);
    const Handle erased = slab.Emplace(alive);
    slab.Emplace(alive);
    EXPECT_EQ(alive.use_count(), 3);
    slab.Erase(erased);
    EXPECT_EQ(alive.use_count(), 2);
  }
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(SlabTest, ErasingTwiceBreaksAnInvariant) {
  Slab<int> slab(4);
  const Handle handle = slab.Emplace(1);
  slab.Erase(handle);
  EXPECT_DEATH(slab.Erase(handle), "invariant broken");
}

TEST(SlabTest, HandlesListsWhatIsAliveAndAllowsErasing) {
  Slab<int> slab(8);
  std::vector<Handle> handles;
  for (int i = 0; i < 6; ++i) {
    handles.push_back(slab.Emplace(i));
  }
  slab.Erase(handles[1]);
  slab.Erase(handles[4]);
  std::set<int> seen;
  for (const Handle handle : slab.Handles()) {
    seen.insert(*slab.Get(handle));
    slab.Erase(handle);
  }
  EXPECT_EQ(seen, (std::set<int>{0, 2, 3, 5}));
  EXPECT_EQ(slab.size(), 0u);
}

TEST(SlabTest, AgreesWithAMap) {
  constexpr size_t kCapacity = 50;
  std::mt19937 random(1);
  Slab<uint32_t> slab(kCapacity);
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> model;
  for (uint32_t step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0) {
      const Handle handle = slab.Emplace(step);
      EXPECT_EQ(static_cast<bool>(handle), model.size() < kCapacity);
      if (handle) {
        const auto key = std::make_pair(handle.slot, handle.generation);
        EXPECT_TRUE(model.emplace(key, step).second);
      }
    } else if (!model.empty()) {
      const auto victim = std::next(model.begin(), random() % model.size());
      const Handle handle{victim->first.first, victim->first.second};
      ASSERT_NE(slab.Get(handle), nullptr);
      EXPECT_EQ(*slab.Get(handle), victim->second);
      slab.Erase(handle);
      model.erase(victim);
    }
    EXPECT_EQ(slab.size(), model.size());
  }
}

}  // namespace
}  // namespace spicegate
