// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/console.h"

#include <algorithm>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

// Not isalnum: that depends on the locale.
bool IsNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

}  // namespace

bool IsConsoleName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxConsoleNameLen &&
         std::all_of(name.begin(), name.end(), IsNameChar);
}

ConsoleTable::ConsoleTable(std::vector<Console> consoles)
    : consoles_(std::move(consoles)) {
  by_name_.reserve(consoles_.size());
  for (size_t i = 0; i < consoles_.size(); ++i) {
    CHECK(by_name_.emplace(consoles_[i].name, i).second);
  }
}

const Console* ConsoleTable::Find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &consoles_[found->second];
}

std::shared_ptr<const Console> FindConsole(
    const std::shared_ptr<const ConsoleTable>& table, std::string_view name) {
  const Console* console = table->Find(name);
  return console == nullptr ? nullptr
                            : std::shared_ptr<const Console>(table, console);
}

}  // namespace spicegate
