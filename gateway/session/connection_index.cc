// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/connection_index.h"

namespace spicegate {

void ConnectionIndex::Add(uint32_t connection_id, Home home) {
  const std::lock_guard lock(mutex_);
  homes_.insert_or_assign(connection_id, home);
}

void ConnectionIndex::Remove(uint32_t connection_id, Home home) {
  const std::lock_guard lock(mutex_);
  const auto found = homes_.find(connection_id);
  if (found != homes_.end() && found->second == home) {
    homes_.erase(found);
  }
}

std::optional<ConnectionIndex::Home> ConnectionIndex::Find(
    uint32_t connection_id) const {
  const std::lock_guard lock(mutex_);
  const auto found = homes_.find(connection_id);
  return found == homes_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace spicegate
