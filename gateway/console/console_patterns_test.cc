// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/console_patterns.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace spicegate {
namespace {

Console WithSocket(const std::string& name, const std::string& qmp_path) {
  Console console;
  console.name = name;
  console.qmp_path = qmp_path;
  return console;
}

ConsolePattern Pattern(const std::string& name, const std::string& title = "") {
  ConsolePattern pattern;
  pattern.sockets = "/q/*";
  pattern.model.name = name;
  pattern.model.title = title;
  return pattern;
}

std::vector<std::string> NamesOf(const ConsoleTable& table) {
  std::vector<std::string> names;
  for (const Console& console : table.consoles()) {
    names.push_back(console.name + "=" + console.qmp_path);
  }
  return names;
}

using Names = std::vector<std::string>;

TEST(ConsolePatterns, NamesHaveOneStar) {
  for (const char* good : {"*", "vm-*", "*.x", "a*b"}) {
    EXPECT_TRUE(IsPatternName(good)) << good;
  }
  for (const char* bad : {"", "vm", "**", "a b*", "a*b*"}) {
    EXPECT_FALSE(IsPatternName(bad)) << bad;
  }
}

TEST(ConsolePatterns, EachSocketMakesAConsole) {
  ConsolesFile file;
  file.consoles = {WithSocket("mine", "")};
  file.patterns = {Pattern("vm-*", "VM * here"), Pattern("*")};
  file.patterns[0].model.ca_pem = "pem";
  file.patterns[0].model.qmp_monitor = QmpMonitor::kOwn;
  file.patterns[0].model.policy.read_only = true;
  const auto table =
      MakeConsoleTable(file, {{{"/q/1", "1"}, {"/q/2", "2"}}, {{"/r/3", "3"}}});
  EXPECT_EQ(NamesOf(*table),
            (Names{"mine=", "vm-1=/q/1", "vm-2=/q/2", "3=/r/3"}));
  const Console& first = *table->Find("vm-1");
  EXPECT_EQ(first.title, "VM 1 here");
  EXPECT_EQ(first.ca_pem, "pem");
  EXPECT_EQ(first.qmp_monitor, QmpMonitor::kOwn);
  EXPECT_TRUE(first.policy.read_only);
  EXPECT_EQ(table->Find("3")->title, "");
}

TEST(ConsolePatterns, LeavesOutWhatMakesNoConsole) {
  ConsolesFile file;
  file.consoles = {WithSocket("vm-1", "/other"), WithSocket("two", "/q/2")};
  file.patterns = {Pattern("vm-*"), Pattern("*")};
  const auto table =
      MakeConsoleTable(file, {{{"/q/1", "1"},        // name taken
                               {"/q/2", "2"},        // socket taken
                               {"/q/a b", "a b"},    // no name
                               {"/q/\xff", "\xff"},  // nor text
                               {"/q/3", "3"}},
                              {{"/q/3", "3"},  // of the first pattern
                               {"/r/vm-3", "vm-3"},
                               {"/r/", ""},
                               {"/q/1", "1"}}});
  EXPECT_EQ(NamesOf(*table),
            (Names{"vm-1=/other", "two=/q/2", "vm-3=/q/3", "1=/q/1"}));
}

TEST(ConsolePatterns, NamesStayShort) {
  ConsolesFile file;
  file.patterns = {Pattern("*" + std::string(120, 'a'))};
  const auto table =
      MakeConsoleTable(file, {{{"/q/1", "12345678"}, {"/q/2", "123456789"}}});
  ASSERT_EQ(table->size(), 1U);
  EXPECT_EQ(table->consoles()[0].qmp_path, "/q/1");
}

TEST(ConsolePatterns, ThereIsAnEnd) {
  ConsolesFile file;
  file.consoles.resize(kMaxConsoles - 1);
  for (size_t i = 0; i < file.consoles.size(); ++i) {
    file.consoles[i].name = std::to_string(i);
  }
  file.patterns = {Pattern("vm-*")};
  const auto table = MakeConsoleTable(file, {{{"/q/1", "1"}, {"/q/2", "2"}}});
  EXPECT_EQ(table->size(), kMaxConsoles);
  EXPECT_NE(table->Find("vm-1"), nullptr);
}

TEST(ConsolePatterns, AsksForEachPattern) {
  std::vector<ConsolePattern> patterns = {Pattern("*"), Pattern("*")};
  patterns[1].sockets = "/r/*";
  const PatternSockets sockets = ListPatternSockets(
      patterns, [](const std::string& pattern, size_t max_matches) {
        EXPECT_EQ(max_matches, kMaxConsoles);
        return std::vector<SocketMatch>{{pattern + "x", "x"}};
      });
  EXPECT_EQ(sockets, (PatternSockets{{{"/q/*x", "x"}}, {{"/r/*x", "x"}}}));
}

}  // namespace
}  // namespace spicegate
