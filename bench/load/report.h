// SPDX-License-Identifier: Apache-2.0
//
// What the load generator says: one JSON object a line.
#ifndef SPICEGATE_BENCH_LOAD_REPORT_H_
#define SPICEGATE_BENCH_LOAD_REPORT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "bench/load/histogram.h"
#include "bench/load/meter.h"
#include "bench/load/options.h"
#include "bench/load/tls.h"

namespace spicegate {

// What was measured in one window, and over the whole run.
struct RunResult {
  double seconds = 0;  // The window as it really was.
  Totals window;       // Of the window alone.
  SideBytes server;    // Of the run.
  SideBytes client;
  std::optional<int64_t> watched_cpu_ns;
  int64_t own_cpu_ns = 0;
  TlsCounts tls;  // Of the run; nothing counted without TLS.
  double load_average = 0;
  std::string lowered;  // JSON members, or "".
};

// A JSON string with its quotes.
std::string JsonText(std::string_view text);

// {"count":N,"p50":..,...,"curve":[[percentile,us],...]}, times in
// microseconds.
std::string HistogramJson(const Histogram& histogram);

// The last line of a run.
std::string ResultJson(const LoadOptions& options, const Meter& meter,
                       const RunResult& result);

// Writes a line to stdout at once.
void Say(const std::string& json);

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_REPORT_H_
