// SPDX-License-Identifier: Apache-2.0
//
// What a run counts. Totals grow from the first byte; the figures of a run are
// the differences between the begin and the end of the measured window.
#ifndef SPICEGATE_BENCH_LOAD_METER_H_
#define SPICEGATE_BENCH_LOAD_METER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "bench/load/histogram.h"

namespace spicegate {

struct Totals {
  uint64_t flood_sent = 0;  // Bytes of bulk messages, headers included.
  uint64_t flood_received = 0;
  uint64_t flood_messages = 0;  // Received whole.
  uint64_t round_trips = 0;
  uint64_t sessions = 0;     // Set up with all their channels.
  uint64_t channels = 0;     // Links that were set up.
  uint64_t connections = 0;  // Of churn: one round trip and closed.
};

// Bytes of the data stages of one side, its closed connections included.
struct SideBytes {
  uint64_t sent = 0;
  uint64_t received = 0;
};

struct Meter {
  Totals totals;
  SideBytes server;
  SideBytes client;
  Histogram latency;  // Of round trips whose time fell into the window.
  Histogram setup;    // From connect to a channel that can be used.
  uint64_t num_errors = 0;
  uint64_t num_checksum_errors = 0;
  std::vector<std::string> first_errors;  // A few of them, for people.

  // The window in NowNs(); empty until it is known.
  int64_t begin_ns = 0;
  int64_t end_ns = 0;

  bool InWindow(int64_t at_ns) const {
    return at_ns >= begin_ns && at_ns < end_ns;
  }
  void Error(const std::string& what);
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_METER_H_
