// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/console_patterns.h"

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "gateway/base/check.h"

namespace spicegate {
namespace {

// `text` with `middle` in place of its '*', if it has one.
std::string Filled(const std::string& text, const std::string& middle) {
  const size_t star = text.find('*');
  return star == std::string::npos
             ? text
             : text.substr(0, star) + middle + text.substr(star + 1);
}

// Collects consoles, each name and each QMP socket once.
class Collector {
 public:
  explicit Collector(const std::vector<Console>& consoles)
      : consoles_(consoles) {
    for (const Console& console : consoles_) {
      names_.insert(console.name);
      sockets_.insert(console.qmp_path);
    }
  }

  bool full() const { return consoles_.size() >= kMaxConsoles; }

  void Add(const Console& model, const SocketMatch& match) {
    std::string name = Filled(model.name, match.middle);
    if (full() || !IsConsoleName(name) || names_.contains(name) ||
        !sockets_.insert(match.path).second) {
      return;
    }
    names_.insert(name);
    Console& console = consoles_.emplace_back(model);
    console.name = std::move(name);
    console.title = Filled(model.title, match.middle);
    console.qmp_path = match.path;
  }

  std::vector<Console> Take() { return std::move(consoles_); }

 private:
  std::vector<Console> consoles_;
  absl::flat_hash_set<std::string> names_;
  absl::flat_hash_set<std::string> sockets_;
};

}  // namespace

bool IsPatternName(std::string_view name) {
  const size_t star = name.find('*');
  if (star == std::string_view::npos) {
    return false;
  }
  std::string rest(name);
  rest.erase(star, 1);
  return rest.empty() || IsConsoleName(rest);
}

PatternSockets ListPatternSockets(const std::vector<ConsolePattern>& patterns,
                                  const SocketList& list) {
  PatternSockets sockets;
  sockets.reserve(patterns.size());
  for (const ConsolePattern& pattern : patterns) {
    sockets.push_back(list(pattern.sockets, kMaxConsoles));
  }
  return sockets;
}

std::shared_ptr<const ConsoleTable> MakeConsoleTable(
    const ConsolesFile& file, const PatternSockets& sockets) {
  CHECK(file.patterns.size() == sockets.size());
  Collector collector(file.consoles);
  for (size_t i = 0; i < sockets.size(); ++i) {
    for (const SocketMatch& match : sockets[i]) {
      collector.Add(file.patterns[i].model, match);
    }
  }
  return std::make_shared<const ConsoleTable>(collector.Take());
}

}  // namespace spicegate
