// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/socket_pattern.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "gateway/base/unique_fd.h"

namespace spicegate {
namespace {

TEST(SocketPattern, HasOneStar) {
  EXPECT_TRUE(IsSocketPattern("/run/*.qmp"));
  EXPECT_TRUE(IsSocketPattern("/run/vm-*/qmp.sock"));
  EXPECT_TRUE(IsSocketPattern("/*"));
  EXPECT_TRUE(IsSocketPattern("/" + std::string(105, 'a') + "*"));
  for (const char* bad :
       {"", "*", "run/*", "/run/a", "/run/**", "/*/*", "/run/*/"}) {
    EXPECT_FALSE(IsSocketPattern(bad)) << bad;
  }
  EXPECT_FALSE(IsSocketPattern("/" + std::string(106, 'a') + "*"));
}

class ListSocketsTest : public ::testing::Test {
 protected:
  ListSocketsTest() {
    // Short, whatever TMPDIR is: paths of sockets are.
    char name[] = "/tmp/sgXXXXXX";
    dir_ = mkdtemp(name);
  }
  ~ListSocketsTest() override { std::filesystem::remove_all(dir_); }

  void MakeSocket(const std::string& name) const {
    const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    const std::string path = dir_ + "/" + name;
    ASSERT_LT(path.size(), sizeof address.sun_path);
    std::memcpy(address.sun_path, path.data(), path.size());
    ASSERT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address),
                   sizeof address),
              0)
        << path;
  }

  std::vector<SocketMatch> List(const std::string& name,
                                size_t max_matches = 100) const {
    return ListSockets(dir_ + "/" + name, max_matches);
  }

  SocketMatch Match(const std::string& name, const std::string& middle) const {
    return {dir_ + "/" + name, middle};
  }

  std::string dir_;
};

using Matches = std::vector<SocketMatch>;

TEST_F(ListSocketsTest, SaysWhatTheStarStandsFor) {
  for (const char* name : {"101.qmp", "9.qmp", "vm-1.qmp", "100.qga", ".qmp",
                           "qmp", "100.qmp.old"}) {
    MakeSocket(name);
  }
  EXPECT_EQ(List("*.qmp"),
            (Matches{Match("101.qmp", "101"), Match("9.qmp", "9"),
                     Match("vm-1.qmp", "vm-1")}));
  EXPECT_EQ(List("vm-*.qmp"), Matches{Match("vm-1.qmp", "1")});
  EXPECT_EQ(List(".*"), Matches{Match(".qmp", "qmp")});
  // Nothing is what it stands for, too.
  EXPECT_EQ(List("qmp*"), Matches{Match("qmp", "")});
  EXPECT_TRUE(List("9*9.qmp").empty());
}

TEST_F(ListSocketsTest, TheStarMayStandForADirectory) {
  for (const char* name : {"vm-1", "vm-2", "vm-3", "other"}) {
    ASSERT_EQ(mkdir((dir_ + "/" + name).c_str(), 0700), 0);
  }
  MakeSocket("vm-1/qmp");
  MakeSocket("vm-2/qga");
  MakeSocket("vm-3/qmp");
  MakeSocket("other/qmp");
  EXPECT_EQ(List("vm-*/qmp"),
            (Matches{Match("vm-1/qmp", "1"), Match("vm-3/qmp", "3")}));
}

TEST_F(ListSocketsTest, BeginAndEndDoNotShareCharacters) {
  MakeSocket("aba");
  MakeSocket("ababa");
  EXPECT_EQ(List("aba*aba"), Matches{});
  EXPECT_EQ(List("aba*ba"), Matches{Match("ababa", "")});
}

TEST_F(ListSocketsTest, TakesSocketsOnly) {
  MakeSocket("a.real");
  std::ofstream(dir_ + "/b.file") << "x";
  ASSERT_EQ(mkdir((dir_ + "/c.dir").c_str(), 0700), 0);
  ASSERT_EQ(symlink("a.real", (dir_ + "/d.link").c_str()), 0);
  ASSERT_EQ(symlink("b.file", (dir_ + "/e.link").c_str()), 0);
  ASSERT_EQ(symlink("nothing", (dir_ + "/f.link").c_str()), 0);
  EXPECT_EQ(List("*"),
            (Matches{Match("a.real", "a.real"), Match("d.link", "d.link")}));
}

TEST_F(ListSocketsTest, IsBounded) {
  for (const char* name : {"c", "a", "b"}) {
    MakeSocket(name);
  }
  EXPECT_EQ(List("*", 2), (Matches{Match("a", "a"), Match("b", "b")}));
  EXPECT_TRUE(List("*", 0).empty());
}

TEST_F(ListSocketsTest, LeavesOutWhatNobodyCanConnectTo) {
  MakeSocket("short");
  const std::string longest(kMaxSocketPathLen - dir_.size() - 1, 'x');
  MakeSocket(longest);
  const std::string longer = longest + "y";
  ASSERT_EQ(
      rename((dir_ + "/" + longest).c_str(), (dir_ + "/" + longer).c_str()), 0);
  EXPECT_EQ(List("*"), Matches{Match("short", "short")});
  MakeSocket(longest);
  EXPECT_EQ(List("*").size(), 2U);
}

TEST_F(ListSocketsTest, ADirectoryThatIsNotThereHasNone) {
  EXPECT_TRUE(ListSockets(dir_ + "/none/*", 10).empty());
  std::ofstream(dir_ + "/file") << "x";
  EXPECT_TRUE(ListSockets(dir_ + "/file/*", 10).empty());
}

}  // namespace
}  // namespace spicegate
