// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_TARGET_TABLE_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_TARGET_TABLE_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "gateway/console/console.h"
#include "gateway/server_link/server_link.h"

namespace spicegate {

// Every console of a directory with what its link needs, made once off the
// workers (a certificate store takes longer to build than a link may). Never
// changes; workers share it.
class TargetTable {
 public:
  // The error names the console and what is wrong with its CA or host_subject.
  // From `previous`, which may be null, comes what has not changed: with it the
  // TLS sessions that it remembers.
  static absl::StatusOr<std::shared_ptr<const TargetTable>> Build(
      std::shared_ptr<const ConsoleTable> consoles,
      const TargetTable* previous = nullptr);

  std::optional<ConsoleTarget> Find(const std::string& console) const;

 private:
  TargetTable() = default;

  // What `table` has for the same server, CA and subject.
  static const ConsoleTarget* SameServer(const TargetTable* table,
                                         const Console& console);

  absl::flat_hash_map<std::string, ConsoleTarget> targets_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_TARGET_TABLE_H_
