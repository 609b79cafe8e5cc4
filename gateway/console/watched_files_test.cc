// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/watched_files.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace spicegate {
namespace {

constexpr size_t kMaxBytes = 100;

class WatchedFilesTest : public ::testing::Test {
 protected:
  WatchedFilesTest() { std::remove(path_.c_str()); }
  ~WatchedFilesTest() override { std::remove(path_.c_str()); }

  void Write(const std::string& text) { std::ofstream(path_) << text; }

  // As an owner does: reads again and tells whether that made a difference.
  bool Changed() {
    const size_t before = files_.content_hash();
    files_.Clear();
    text_ = files_.Read(path_, kMaxBytes);
    return files_.content_hash() != before;
  }

  const std::string path_ = ::testing::TempDir() + "/watched_files_test";
  WatchedFiles files_;
  absl::StatusOr<std::string> text_;
};

TEST_F(WatchedFilesTest, NothingToWatchNeverChanges) {
  EXPECT_FALSE(files_.MayHaveChanged());
  EXPECT_EQ(files_.content_hash(), 0U);
}

TEST_F(WatchedFilesTest, SeesAnotherContent) {
  Write("one");
  EXPECT_TRUE(Changed());
  EXPECT_EQ(*text_, "one");
  Write("two");
  EXPECT_TRUE(files_.MayHaveChanged());
  EXPECT_TRUE(Changed());
  EXPECT_EQ(*text_, "two");
}

TEST_F(WatchedFilesTest, TheSameContentInAnotherFileIsNoChange) {
  Write("one");
  EXPECT_TRUE(Changed());
  std::remove(path_.c_str());
  Write("one");
  EXPECT_TRUE(files_.MayHaveChanged());
  EXPECT_FALSE(Changed());
}

TEST_F(WatchedFilesTest, ComingAndGoingIsAChange) {
  EXPECT_TRUE(Changed());
  EXPECT_TRUE(absl::IsNotFound(text_.status()));
  EXPECT_FALSE(files_.MayHaveChanged());
  EXPECT_FALSE(Changed());
  Write("");
  EXPECT_TRUE(files_.MayHaveChanged());
  EXPECT_TRUE(Changed());
  std::remove(path_.c_str());
  EXPECT_TRUE(files_.MayHaveChanged());
  EXPECT_TRUE(Changed());
}

TEST_F(WatchedFilesTest, AnUnusableFileIsWatchedToo) {
  Write(std::string(kMaxBytes + 1, 'x'));
  EXPECT_TRUE(Changed());
  EXPECT_FALSE(text_.ok());
  Write("fine");
  EXPECT_TRUE(files_.MayHaveChanged());
  EXPECT_TRUE(Changed());
  EXPECT_TRUE(text_.ok());
}

}  // namespace
}  // namespace spicegate
