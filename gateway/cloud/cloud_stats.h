// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_CLOUD_CLOUD_STATS_H_
#define SPICEGATE_GATEWAY_CLOUD_CLOUD_STATS_H_

#include <cstdint>
#include <string>

#include "gateway/cloud/cloud_config.h"

namespace spicegate {

// Counters and gauges of one cloud, for metrics.
struct CloudStats {
  std::string cloud;
  CloudKind kind = CloudKind::kNova;
  // Requests, by service and what came of them.
  struct Requests {
    uint64_t ok = 0;
    uint64_t not_found = 0;
    uint64_t refused = 0;  // 401, 403, 406 and whatever says "not you"
    uint64_t error = 0;    // any other answer, and what is none
    uint64_t timeout = 0;
    uint64_t gone = 0;      // no connection, or cut off
    uint64_t rejected = 0;  // not made: breaker open, or too many under way
  };
  Requests identity = {};  // Keystone; of kNova only
  Requests console = {};   // Nova or the broker
  uint64_t shared = 0;     // Resolve answered by another's request or the cache
  bool breaker_open = false;
  int64_t token_expires_unix_s = 0;  // Keystone's; 0: there is none
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_CLOUD_STATS_H_
