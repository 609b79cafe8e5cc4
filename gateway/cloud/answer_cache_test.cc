// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/answer_cache.h"

#include <gtest/gtest.h>

#include "absl/status/status.h"

namespace spicegate {
namespace {

using Answer = absl::StatusOr<CloudConsole>;

TokenKey Key(uint64_t number) { return {{number, 0}}; }

Answer Found(const std::string& id) {
  CloudConsole console;
  console.id = id;
  return console;
}

TEST(AnswerCache, KeepsForSoLong) {
  AnswerCache cache;
  EXPECT_EQ(cache.NextMs(), INT64_MAX);
  cache.Put(Key(1), Found("a"), 3000, 100);
  cache.Put(Key(2), absl::NotFoundError("gone"), 2000, 100);
  EXPECT_EQ(cache.Find(Key(3), 100), nullptr);
  ASSERT_NE(cache.Find(Key(1), 3099), nullptr);
  EXPECT_EQ((*cache.Find(Key(1), 3099))->id, "a");
  EXPECT_EQ(cache.Find(Key(1), 3100), nullptr);
  EXPECT_TRUE(absl::IsNotFound(cache.Find(Key(2), 2099)->status()));
  EXPECT_EQ(cache.NextMs(), 2100);
  cache.Purge(2100);
  EXPECT_EQ(cache.size(), 1u);
  EXPECT_EQ(cache.NextMs(), 3100);
}

TEST(AnswerCache, ALaterAnswerTakesThePlace) {
  AnswerCache cache;
  cache.Put(Key(1), absl::NotFoundError("gone"), 2000, 0);
  cache.Put(Key(1), Found("a"), 3000, 1000);
  EXPECT_EQ(cache.size(), 1u);
  cache.Purge(2000);
  ASSERT_NE(cache.Find(Key(1), 3999), nullptr);
  EXPECT_TRUE(cache.Find(Key(1), 3999)->ok());
  cache.Purge(4000);
  EXPECT_EQ(cache.size(), 0u);
}

TEST(AnswerCache, IsBounded) {
  AnswerCache cache;
  for (uint64_t i = 0; i < AnswerCache::kMaxAnswers + 10; ++i) {
    cache.Put(Key(i), Found("a"), 3000, static_cast<int64_t>(i));
  }
  EXPECT_EQ(cache.size(), AnswerCache::kMaxAnswers);
  EXPECT_EQ(cache.Find(Key(9), 1100), nullptr);
  EXPECT_NE(cache.Find(Key(10), 1100), nullptr);
}

TEST(AnswerCache, PasswordsAreOverwritten) {
  Answer answer = Found("a");
  answer->ticket = "a password that no small string holds in itself";
  const char* const where = answer->ticket.data();
  WipeConsole(&answer);
  EXPECT_EQ(answer->ticket.data(), where);
  EXPECT_EQ(where[5], '\0');
}

}  // namespace
}  // namespace spicegate
