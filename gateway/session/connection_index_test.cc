// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/connection_index.h"

#include <gtest/gtest.h>

namespace spicegate {
namespace {

constexpr ConnectionIndex::Home kFirst = {0, Handle{1, 1}};
constexpr ConnectionIndex::Home kSecond = {1, Handle{1, 1}};

TEST(ConnectionIndexTest, FindsWhatWasAdded) {
  ConnectionIndex index;
  EXPECT_EQ(index.Find(7), std::nullopt);
  index.Add(7, kFirst);
  EXPECT_EQ(index.Find(7), kFirst);
  EXPECT_EQ(index.Find(8), std::nullopt);
  index.Remove(7, kFirst);
  EXPECT_EQ(index.Find(7), std::nullopt);
}

TEST(ConnectionIndexTest, ASessionThatEndsLeavesItsNamesakesEntry) {
  ConnectionIndex index;
  index.Add(7, kFirst);
  index.Add(7, kSecond);
  EXPECT_EQ(index.Find(7), kSecond);
  index.Remove(7, kFirst);
  EXPECT_EQ(index.Find(7), kSecond);
  index.Remove(7, kSecond);
  EXPECT_EQ(index.Find(7), std::nullopt);
}

}  // namespace
}  // namespace spicegate
