// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/target_table.h"

#include <utility>

namespace spicegate {

absl::StatusOr<std::shared_ptr<const TargetTable>> TargetTable::Build(
    std::shared_ptr<const ConsoleTable> consoles, const TargetTable* previous) {
  auto table = std::shared_ptr<TargetTable>(new TargetTable());
  for (const Console& console : consoles->consoles()) {
    ConsoleTarget target;
    target.console = FindConsole(consoles, console.name);
    if (const ConsoleTarget* same = SameServer(previous, console)) {
      target.tls = same->tls;
    } else if (!console.ca_pem.empty()) {
      // Where a server is asked over QMP its host is known later.
      const std::string host =
          console.qmp_path.empty() ? console.host : "localhost";
      auto tls =
          ClientTlsContext::Create(console.ca_pem, console.host_subject, host);
      if (!tls.ok()) {
        return absl::InvalidArgumentError("console \"" + console.name + "\": " +
                                          std::string(tls.status().message()));
      }
      target.tls = *std::move(tls);
    }
    table->targets_.emplace(console.name, std::move(target));
  }
  return std::shared_ptr<const TargetTable>(std::move(table));
}

const ConsoleTarget* TargetTable::SameServer(const TargetTable* table,
                                             const Console& console) {
  if (table == nullptr) {
    return nullptr;
  }
  const auto found = table->targets_.find(console.name);
  if (found == table->targets_.end()) {
    return nullptr;
  }
  const Console& old = *found->second.console;
  const bool same =
      old.host == console.host && old.tls_port == console.tls_port &&
      old.ca_pem == console.ca_pem && old.host_subject == console.host_subject;
  return same ? &found->second : nullptr;
}

std::optional<ConsoleTarget> TargetTable::Find(
    const std::string& console) const {
  const auto found = targets_.find(console);
  if (found == targets_.end()) {
    return std::nullopt;
  }
  return found->second;
}

}  // namespace spicegate
