// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/file_directory.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace spicegate {
namespace {

using ::testing::HasSubstr;
using Reload = FileDirectory::Reload;

constexpr char kPem[] =
    "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n";

class FileDirectoryTest : public ::testing::Test {
 protected:
  FileDirectoryTest()
      : path_(::testing::TempDir() + "/consoles.json"),
        ca_path_(::testing::TempDir() + "/ca.pem"),
        directory_(path_, {}, nullptr) {
    unlink(path_.c_str());
    unlink(ca_path_.c_str());
  }
  ~FileDirectoryTest() override {
    unlink(path_.c_str());
    unlink(ca_path_.c_str());
  }

  static void Write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
  }

  void WriteNames(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) {
      text += (text.empty() ? "" : ",") + std::string("{\"name\": \"") + name +
              "\", \"unix\": \"/s\"}";
    }
    Write(path_, "{\"consoles\": [" + text + "]}");
  }

  void WriteWithCa() {
    Write(path_, R"({"consoles": [{"name": "a", "host": "h", "tls_port": 1,
                     "ca_file": "ca.pem"}]})");
  }

  const std::string path_;
  const std::string ca_path_;
  FileDirectory directory_;
};

TEST_F(FileDirectoryTest, AnAbsentFileIsAnEmptyTable) {
  EXPECT_TRUE(directory_.Load().ok());
  EXPECT_FALSE(directory_.present());
  EXPECT_EQ(directory_.table()->size(), 0U);
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kUnchanged);
  WriteNames({"a"});
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kChanged);
  EXPECT_TRUE(directory_.present());
  EXPECT_NE(directory_.table()->Find("a"), nullptr);
}

TEST_F(FileDirectoryTest, ReloadsWhatHasChanged) {
  WriteNames({"a"});
  ASSERT_TRUE(directory_.Load().ok());
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kUnchanged);
  const auto old_table = directory_.table();
  // Same length, and most likely within the same tick of the clock.
  WriteNames({"b"});
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kChanged);
  EXPECT_NE(directory_.table()->Find("b"), nullptr);
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kUnchanged);
  // Who holds the old one keeps it.
  EXPECT_NE(old_table->Find("a"), nullptr);
}

TEST_F(FileDirectoryTest, TouchingChangesNothing) {
  WriteNames({"a"});
  ASSERT_TRUE(directory_.Load().ok());
  const auto table = directory_.table();
  const timespec times[2] = {{1'000'000'000, 5}, {1'000'000'000, 5}};
  ASSERT_EQ(utimensat(AT_FDCWD, path_.c_str(), times, 0), 0);
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kUnchanged);
  EXPECT_EQ(directory_.table(), table);
}

TEST_F(FileDirectoryTest, ABadFileIsRefusedWholeAndOnce) {
  WriteNames({"a"});
  ASSERT_TRUE(directory_.Load().ok());
  WriteNames({"b", "c c"});
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kRefused);
  EXPECT_THAT(std::string(directory_.error().message()),
              HasSubstr(path_ + ": consoles[1].name: expected a name"));
  EXPECT_NE(directory_.table()->Find("a"), nullptr);
  EXPECT_EQ(directory_.table()->Find("b"), nullptr);
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kUnchanged);
  EXPECT_FALSE(directory_.error().ok());
  WriteNames({"b"});
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kChanged);
  EXPECT_TRUE(directory_.error().ok());
}

TEST_F(FileDirectoryTest, AVanishedFileKeepsTheOldTable) {
  WriteNames({"a"});
  ASSERT_TRUE(directory_.Load().ok());
  ASSERT_EQ(unlink(path_.c_str()), 0);
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kRefused);
  EXPECT_FALSE(directory_.present());
  EXPECT_NE(directory_.table()->Find("a"), nullptr);
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kUnchanged);
  WriteNames({"a"});
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kChanged);
}

TEST_F(FileDirectoryTest, AFileWithNoConsolesEmptiesTheTable) {
  WriteNames({"a"});
  ASSERT_TRUE(directory_.Load().ok());
  WriteNames({});
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kChanged);
  EXPECT_EQ(directory_.table()->size(), 0U);
}

TEST_F(FileDirectoryTest, ABadFirstFileIsAnError) {
  Write(path_, "{");
  EXPECT_FALSE(directory_.Load().ok());
  EXPECT_EQ(directory_.table()->size(), 0U);
  WriteNames({"a"});
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kChanged);
}

TEST_F(FileDirectoryTest, GivesConsolesWhatTheConfigurationSays) {
  const PolicySet policies = {{"kiosk", {.read_only = true}}};
  FileDirectory directory(path_, {&policies, GuardMode::kCount}, nullptr);
  const std::string text =
      R"({"consoles": [{"name": "a", "unix": "/s", "policy": ")";
  Write(path_, text + "kiosk\"}]}");
  ASSERT_TRUE(directory.Load().ok());
  EXPECT_TRUE(directory.table()->Find("a")->policy.read_only);
  EXPECT_EQ(directory.table()->Find("a")->guard, GuardMode::kCount);
  Write(path_, text + "kiosk2\"}]}");
  EXPECT_EQ(directory.ReloadIfChanged(), Reload::kRefused);
  EXPECT_TRUE(directory.table()->Find("a")->policy.read_only);
}

TEST_F(FileDirectoryTest, WatchesTheCaFilesToo) {
  WriteWithCa();
  EXPECT_FALSE(directory_.Load().ok());
  Write(ca_path_, kPem);
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kChanged);
  EXPECT_EQ(directory_.table()->Find("a")->ca_pem, kPem);
  const std::string two = std::string(kPem) + kPem;
  Write(ca_path_, two);
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kChanged);
  EXPECT_EQ(directory_.table()->Find("a")->ca_pem, two);
  ASSERT_EQ(unlink(ca_path_.c_str()), 0);
  EXPECT_EQ(directory_.ReloadIfChanged(), Reload::kRefused);
  EXPECT_EQ(directory_.table()->Find("a")->ca_pem, two);
}

// Sockets as the test says they are.
class PatternsTest : public FileDirectoryTest {
 protected:
  PatternsTest()
      : patterns_(
            path_, {}, nullptr, [this](const std::string& pattern, size_t) {
              return pattern == "/q/*" ? sockets_ : std::vector<SocketMatch>();
            }) {
    Write(path_, R"({"consoles": [{"name": "a", "unix": "/s"}],
                     "qmp": [{"sockets": "/q/*", "name": "vm-*"}]})");
  }

  std::vector<SocketMatch> sockets_ = {{"/q/1", "1"}};
  FileDirectory patterns_;
};

TEST_F(PatternsTest, SocketsComeAndGo) {
  ASSERT_TRUE(patterns_.Load().ok());
  EXPECT_EQ(patterns_.table()->size(), 2U);
  EXPECT_EQ(patterns_.table()->Find("vm-1")->qmp_path, "/q/1");
  EXPECT_EQ(patterns_.ReloadIfChanged(), Reload::kUnchanged);
  sockets_ = {{"/q/1", "1"}, {"/q/2", "2"}};
  EXPECT_EQ(patterns_.ReloadIfChanged(), Reload::kChanged);
  EXPECT_EQ(patterns_.table()->size(), 3U);
  EXPECT_EQ(patterns_.ReloadIfChanged(), Reload::kUnchanged);
  sockets_ = {{"/q/2", "2"}};
  EXPECT_EQ(patterns_.ReloadIfChanged(), Reload::kChanged);
  EXPECT_EQ(patterns_.table()->Find("vm-1"), nullptr);
  EXPECT_NE(patterns_.table()->Find("vm-2"), nullptr);
  EXPECT_NE(patterns_.table()->Find("a"), nullptr);
}

TEST_F(PatternsTest, ABadFileLeavesThePatternsOfTheOldOne) {
  ASSERT_TRUE(patterns_.Load().ok());
  Write(path_, R"({"consoles": [], "qmp": [{"sockets": "/q/"}]})");
  EXPECT_EQ(patterns_.ReloadIfChanged(), Reload::kRefused);
  EXPECT_EQ(patterns_.table()->size(), 2U);
  sockets_ = {};
  EXPECT_EQ(patterns_.ReloadIfChanged(), Reload::kChanged);
  EXPECT_EQ(patterns_.table()->size(), 1U);
  EXPECT_FALSE(patterns_.error().ok());
}

TEST_F(PatternsTest, AFileWithoutPatternsHasNoSockets) {
  ASSERT_TRUE(patterns_.Load().ok());
  WriteNames({"b"});
  EXPECT_EQ(patterns_.ReloadIfChanged(), Reload::kChanged);
  EXPECT_EQ(patterns_.table()->size(), 1U);
  EXPECT_NE(patterns_.table()->Find("b"), nullptr);
  sockets_ = {};
  EXPECT_EQ(patterns_.ReloadIfChanged(), Reload::kUnchanged);
  EXPECT_EQ(patterns_.table()->size(), 1U);
}

TEST_F(FileDirectoryTest, NoFileOfAnotherKindIsRead) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THAT(std::string(directory_.Load().message()),
              HasSubstr("regular file"));
}

}  // namespace
}  // namespace spicegate
