// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/console.h"

#include <gtest/gtest.h>

namespace spicegate {
namespace {

std::vector<Console> Named(const std::vector<std::string>& names) {
  std::vector<Console> consoles;
  for (const std::string& name : names) {
    consoles.emplace_back().name = name;
  }
  return consoles;
}

TEST(ConsoleName, IsCheckedByLengthAndCharacter) {
  EXPECT_TRUE(IsConsoleName("a"));
  EXPECT_TRUE(IsConsoleName("Vm-1_x.example"));
  EXPECT_TRUE(IsConsoleName(std::string(kMaxConsoleNameLen, 'a')));
  EXPECT_FALSE(IsConsoleName(""));
  EXPECT_FALSE(IsConsoleName(std::string(kMaxConsoleNameLen + 1, 'a')));
  for (const char* name : {"a b", "a/b", "a\n", "\xc3\xa4", "a%41", "a\"b"}) {
    EXPECT_FALSE(IsConsoleName(name)) << name;
  }
  EXPECT_FALSE(IsConsoleName(std::string_view("a\0b", 3)));
}

TEST(ConsoleTable, FindsByNameAndKeepsOrder) {
  const ConsoleTable table(Named({"z", "a", "m"}));
  EXPECT_EQ(table.size(), 3U);
  EXPECT_EQ(table.consoles()[0].name, "z");
  EXPECT_EQ(table.Find("a"), &table.consoles()[1]);
  EXPECT_EQ(table.Find("A"), nullptr);
  EXPECT_EQ(table.Find(""), nullptr);
  EXPECT_EQ(ConsoleTable().Find("a"), nullptr);
}

TEST(ConsoleTable, AFoundConsoleKeepsItsTable) {
  auto table = std::make_shared<const ConsoleTable>(Named({"a"}));
  const std::weak_ptr<const ConsoleTable> watch = table;
  std::shared_ptr<const Console> console = FindConsole(table, "a");
  EXPECT_EQ(FindConsole(table, "b"), nullptr);
  table.reset();
  EXPECT_EQ(console->name, "a");
  EXPECT_FALSE(watch.expired());
  console.reset();
  EXPECT_TRUE(watch.expired());
}

TEST(ConsoleTableDeathTest, NamesAreUnique) {
  EXPECT_DEATH(ConsoleTable(Named({"a", "b", "a"})), "console.cc");
}

TEST(Console, IsTitledByItsNameWhenThereIsNoTitle) {
  Console console;
  console.name = "vm1";
  EXPECT_EQ(console.DisplayTitle(), "vm1");
  console.title = "Windows 11";
  EXPECT_EQ(console.DisplayTitle(), "Windows 11");
}

}  // namespace
}  // namespace spicegate
