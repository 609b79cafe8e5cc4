// SPDX-License-Identifier: Apache-2.0
//
// A console: where one desktop's SPICE server is and how to get in. Tables of
// consoles never change: a reload makes a new one, and whoever holds the old
// one keeps it.
#ifndef SPICEGATE_GATEWAY_CONSOLE_CONSOLE_H_
#define SPICEGATE_GATEWAY_CONSOLE_CONSOLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "gateway/console/policy.h"

namespace spicegate {

// Longest console name.
inline constexpr size_t kMaxConsoleNameLen = 128;

// Longest ticket that every SPICE server and viewer takes: spice-server keeps
// 60 bytes with the terminating zero in set_ticket.
inline constexpr size_t kMaxServerTicketLen = 59;

// When a console's QMP socket is connected to.
enum class QmpMonitor : uint8_t {
  // For each command, and then left to others: QEMU hears one client at a time.
  kShared,
  // All the time, so that its events come at once; nobody else gets in.
  kOwn,
};

struct Console {
  std::string name;   // IsConsoleName
  std::string title;  // for window titles, UTF-8; empty: use the name

  // Either a host with at least one port, or a unix socket, or qmp_path alone.
  std::string host;       // DNS name, IPv4 or IPv6 without brackets
  uint16_t port = 0;      // plain SPICE; 0: none
  uint16_t tls_port = 0;  // SPICE in TLS, tried first; 0: none
  std::string unix_path;

  std::string ticket;  // the server's own password. Secret; may be empty
  // Trust anchors for tls_port; set when that is. With qmp_path: empty unless
  // the TLS port that the server names there is to be used.
  std::string ca_pem;
  std::string host_subject;  // replaces the host name check when not empty

  // The password of the server that a migration leads to, where it is another
  // one. Secret.
  std::optional<std::string> destination_ticket = std::nullopt;

  // QMP socket of the console's QEMU, which says there where its server is and
  // takes a password of ours; host, ports, unix_path, ticket and
  // destination_ticket are empty then. Empty: no QMP.
  std::string qmp_path = "";
  QmpMonitor qmp_monitor = QmpMonitor::kShared;

  std::string policy_name = "";  // of the configuration; empty: none
  Policy policy = {};            // what that name stands for
  GuardMode guard = GuardMode::kEnforce;

  // What a window is to be called.
  const std::string& DisplayTitle() const {
    return title.empty() ? name : title;
  }
};

// 1 to kMaxConsoleNameLen of [A-Za-z0-9._-].
bool IsConsoleName(std::string_view name);

// Consoles by name. Immutable, so any thread may read; passed about as
// std::shared_ptr<const ConsoleTable>.
class ConsoleTable {
 public:
  ConsoleTable() = default;
  // Names must be unique (CHECK).
  explicit ConsoleTable(std::vector<Console> consoles);
  ConsoleTable(const ConsoleTable&) = delete;
  ConsoleTable& operator=(const ConsoleTable&) = delete;

  // Null when there is none. Lives as long as the table.
  const Console* Find(std::string_view name) const;

  // In the order of the file.
  const std::vector<Console>& consoles() const { return consoles_; }
  size_t size() const { return consoles_.size(); }

 private:
  const std::vector<Console> consoles_{};
  absl::flat_hash_map<std::string_view, size_t> by_name_;
};

// Find, as a pointer that keeps the whole table alive. Null when there is no
// such console.
std::shared_ptr<const Console> FindConsole(
    const std::shared_ptr<const ConsoleTable>& table, std::string_view name);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONSOLE_CONSOLE_H_
