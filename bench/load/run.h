// SPDX-License-Identifier: Apache-2.0
//
// One run: server, viewers, set-up, warm-up, measured window, end. Every phase
// has a deadline, and a run that misses one says what was missing.
#ifndef SPICEGATE_BENCH_LOAD_RUN_H_
#define SPICEGATE_BENCH_LOAD_RUN_H_

#include <cstdint>
#include <memory>
#include <string>

#include "bench/load/client_channel.h"
#include "bench/load/options.h"
#include "bench/load/report.h"
#include "bench/load/scenario.h"
#include "bench/load/server.h"
#include "bench/load/tickets.h"

namespace spicegate {

class Run {
 public:
  // Lowers the options to `max_descriptors`.
  Run(LoadOptions options, int64_t max_descriptors);
  ~Run();
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  // Runs to the end. "" or why it could not begin.
  std::string Execute();

  const LoadOptions& options() const { return options_; }
  const Meter& meter() const { return meter_; }
  const RunResult& result() const { return result_; }
  // Nothing was lost, late beyond the deadlines, or wrong.
  bool good() const;

 private:
  class Stdin;

  std::string Prepare();
  std::string Listen();
  std::string PrepareViewers();
  void Serve();
  void Drive();
  void Measure();
  void BeginWindow();
  void EndWindow();
  void Hold();
  void Rest();
  bool Burst();
  bool FinishScenario();
  void CheckCounts();
  void CheckTls();
  // Turns until `until`, at the longest until `deadline_ns`; false then.
  template <typename Until>
  bool TurnUntil(int64_t deadline_ns, bool spin, Until until);

  LoadOptions options_;
  Loop loop_;
  PatternBuffer pattern_;
  Meter meter_;
  Shared shared_;
  ClientOptions client_;
  TicketSource tickets_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Scenario> scenario_;
  RunResult result_;
  Totals begin_;
  int64_t begin_own_cpu_ns_ = 0;
  std::optional<int64_t> begin_watched_cpu_ns_;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_RUN_H_
