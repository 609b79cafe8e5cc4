// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/file_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "absl/status/status.h"

namespace spicegate {
namespace {

using ::testing::HasSubstr;

class FileReaderTest : public ::testing::Test {
 protected:
  FileReaderTest() : path_(::testing::TempDir() + "/file_reader_test") {
    unlink(path_.c_str());
  }
  ~FileReaderTest() override { unlink(path_.c_str()); }

  void Write(const std::string& text) {
    std::ofstream(path_, std::ios::binary) << text;
  }

  const std::string path_;
};

TEST_F(FileReaderTest, ReadsAWholeFile) {
  const std::string text(100'000, 'x');
  Write(text);
  const absl::StatusOr<FileContent> content = ReadFile(path_, 100'000);
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_EQ(content->text, text);
  EXPECT_TRUE(content->stamp.exists);
  EXPECT_EQ(content->stamp.size, 100'000);
  EXPECT_TRUE(content->stamp.SameFile(StampOf(path_)));
}

TEST_F(FileReaderTest, RefusesTooLong) {
  Write("12345");
  EXPECT_TRUE(ReadFile(path_, 5).ok());
  const absl::Status status = ReadFile(path_, 4).status();
  EXPECT_EQ(status.message(), path_ + ": expected at most 4 bytes");
}

TEST_F(FileReaderTest, TellsAbsentFromUnreadable) {
  EXPECT_TRUE(absl::IsNotFound(ReadFile(path_, 10).status()));
  EXPECT_FALSE(StampOf(path_).exists);
  const absl::Status status = ReadFile("/", 10).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("regular file"));
}

TEST_F(FileReaderTest, DoesNotWaitForAPipe) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THAT(std::string(ReadFile(path_, 10).status().message()),
              HasSubstr("regular file"));
}

TEST_F(FileReaderTest, AStampChangesWithTheFile) {
  Write("12345");
  const FileStamp first = StampOf(path_);
  EXPECT_TRUE(first.SameFile(StampOf(path_)));
  EXPECT_TRUE(first.fresh);
  // Same size, another file in its place: what editors do.
  Write("12345");
  std::ofstream(path_ + ".new") << "54321";
  ASSERT_EQ(rename((path_ + ".new").c_str(), path_.c_str()), 0);
  EXPECT_FALSE(first.SameFile(StampOf(path_)));
}

TEST(ResolveBeside, StartsAtTheNamingFilesDirectory) {
  EXPECT_EQ(ResolveBeside("/etc/spicegate/config.json", "ca.pem"),
            "/etc/spicegate/ca.pem");
  EXPECT_EQ(ResolveBeside("/etc/config.json", "/srv/ca.pem"), "/srv/ca.pem");
  EXPECT_EQ(ResolveBeside("config.json", "ca.pem"), "ca.pem");
  EXPECT_EQ(ResolveBeside("/config.json", "ca.pem"), "/ca.pem");
}

}  // namespace
}  // namespace spicegate
