// SPDX-License-Identifier: Apache-2.0
//
// Where sessions are at home, by the connection_id that their servers gave
// them: what a link says of its session before its ticket is here. A hint and
// no more: ids are unique within one server only, and nobody has proved
// anything yet. The home checks the rest (early_dial.h).
#ifndef SPICEGATE_GATEWAY_SESSION_CONNECTION_INDEX_H_
#define SPICEGATE_GATEWAY_SESSION_CONNECTION_INDEX_H_

#include <cstdint>
#include <mutex>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "gateway/base/handle.h"

namespace spicegate {

// The process's. Any thread, any function; the lock is held for one look-up.
class ConnectionIndex {
 public:
  struct Home {
    int worker = -1;
    Handle session;  // in that worker's registry

    friend bool operator==(const Home&, const Home&) = default;
  };

  ConnectionIndex() = default;
  ConnectionIndex(const ConnectionIndex&) = delete;
  ConnectionIndex& operator=(const ConnectionIndex&) = delete;

  // Of two sessions with the same id the later one is found.
  void Add(uint32_t connection_id, Home home);
  // Leaves another session's entry alone.
  void Remove(uint32_t connection_id, Home home);
  std::optional<Home> Find(uint32_t connection_id) const;

 private:
  mutable std::mutex mutex_;
  absl::flat_hash_map<uint32_t, Home> homes_;  // guarded by mutex_
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_CONNECTION_INDEX_H_
