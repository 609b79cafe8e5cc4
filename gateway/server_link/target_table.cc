// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/target_table.h"

#include <utility>

namespace spicegate {

absl::StatusOr<std::shared_ptr<const TargetTable>> TargetTable::Build(
    std::shared_ptr<const ConsoleTable> consoles) {
  auto table = std::shared_ptr<TargetTable>(new TargetTable());
  for (const Console& console : consoles->consoles()) {
    ConsoleTarget target;
    target.console = FindConsole(consoles, console.name);
    if (console.tls_port != 0) {
      auto tls = ClientTlsContext::Create(console.ca_pem, console.host_subject,
                                          console.host);
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

std::optional<ConsoleTarget> TargetTable::Find(
    const std::string& console) const {
  const auto found = targets_.find(console);
  if (found == targets_.end()) {
    return std::nullopt;
  }
  return found->second;
}

}  // namespace spicegate
