// SPDX-License-Identifier: Apache-2.0
//
// Metrics in Prometheus' text format. docs/metrics.md lists them. Every family
// is complete from the start: a series that is still zero is there, so that a
// rate over the first event is not lost.
#ifndef SPICEGATE_GATEWAY_CONTROL_METRICS_H_
#define SPICEGATE_GATEWAY_CONTROL_METRICS_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gateway/base/counters.h"
#include "gateway/cloud/cloud_stats.h"

namespace spicegate {

// What the kernel says about this process. A value of -1 is unknown, and its
// metric is left out.
struct ProcessStats {
  int64_t resident_memory_bytes = -1;
  int64_t virtual_memory_bytes = -1;
  int64_t open_fds = -1;
  int64_t max_fds = -1;
  double cpu_seconds = -1;
  double start_time_seconds = -1;  // since 1970
};

// Reads /proc/self; control thread only.
ProcessStats ReadProcessStats();

// The certificates and ticket keys of the TLS listeners.
struct CertificateValues {
  // When the first of them ends, seconds since 1970; 0: no TLS.
  int64_t expiry_unix_s = 0;
  int64_t reloads = 0;
  int64_t reload_failures = 0;
  bool refused = false;  // the files were of no use when last looked at

  // Of the file of ticket keys, alike.
  int64_t ticket_key_reloads = 0;
  int64_t ticket_key_reload_failures = 0;
  bool ticket_keys_refused = false;
};

// What consoles' QMP sockets were asked: commands by their end, since the
// start.
struct QmpValues {
  int64_t commands_ok = 0;
  int64_t commands_error = 0;     // QEMU refused
  int64_t commands_timeout = 0;   // no answer in time
  int64_t commands_gone = 0;      // no connection, or it broke
  int64_t commands_rejected = 0;  // not tried, as the breaker is open
  // Connections to desktops that did not come through the gateway.
  int64_t foreign_channels = 0;
  int64_t consoles = 0;       // now
  int64_t breakers_open = 0;  // now
};

// The portal's answers and connections.
struct PortalValues {
  bool enabled = false;  // without: no such families
  // By what was answered ("file", "page", "error", "other") and status.
  std::map<std::pair<std::string, int>, uint64_t> answers;
  uint64_t throttled = 0;   // answers that nobody was asked for
  int64_t connections = 0;  // now
};

// What the process counts besides its workers.
struct ProcessValues {
  std::string version;

  int64_t tickets_issued = 0;
  int64_t tickets_live = 0;  // issued and not yet over
  int64_t log_lines_dropped = 0;

  int64_t consoles = 0;  // in the current table
  int64_t console_reloads = 0;
  int64_t console_reload_failures = 0;

  CertificateValues certificates;
  QmpValues qmp;
  PortalValues portal;
  std::vector<CloudStats> clouds;

  // Name of a kernel feature and whether it is in use.
  std::vector<std::pair<std::string, bool>> io_features;

  ProcessStats process;
};

// What GET /metrics answers; content type kMetricsContentType.
std::string MetricsText(const std::vector<const WorkerCounters*>& workers,
                        const ProcessValues& values);

inline constexpr char kMetricsContentType[] =
    "text/plain; version=0.0.4; charset=utf-8";

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_METRICS_H_
