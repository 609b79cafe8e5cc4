// SPDX-License-Identifier: Apache-2.0
//
// Consoles that come and go with the QMP sockets of a directory.
#ifndef SPICEGATE_GATEWAY_CONSOLE_CONSOLE_PATTERNS_H_
#define SPICEGATE_GATEWAY_CONSOLE_CONSOLE_PATTERNS_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/console/console.h"
#include "gateway/console/socket_pattern.h"

namespace spicegate {

// Desktops of one file, those of its patterns included.
inline constexpr size_t kMaxConsoles = 100'000;

// Patterns of one file. Each is a directory that is read once a second.
inline constexpr size_t kMaxConsolePatterns = 64;

struct ConsolePattern {
  std::string sockets;  // IsSocketPattern
  // What each of its consoles is like. Its name is IsPatternName, its title
  // has at most one '*', its qmp_path is empty.
  Console model;
};

// What a console's name can be made of: one '*', and around it what console
// names have.
bool IsPatternName(std::string_view name);

// What a consoles file says. Names of `consoles` are unique, and so are their
// QMP sockets.
struct ConsolesFile {
  std::vector<Console> consoles;
  std::vector<ConsolePattern> patterns;
};

// The sockets of each pattern, in the order of the patterns.
using PatternSockets = std::vector<std::vector<SocketMatch>>;

PatternSockets ListPatternSockets(const std::vector<ConsolePattern>& patterns,
                                  const SocketList& list);

// The file's consoles, and behind them one for each socket, until there are
// kMaxConsoles. Left out is a socket that makes no console name, one whose name
// another console has, and one that another console has.
std::shared_ptr<const ConsoleTable> MakeConsoleTable(
    const ConsolesFile& file, const PatternSockets& sockets);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONSOLE_CONSOLE_PATTERNS_H_
