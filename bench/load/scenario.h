// SPDX-License-Identifier: Apache-2.0
//
// What the viewers of a run do. A scenario is driven by Run (run.h): set up,
// traffic, end.
#ifndef SPICEGATE_BENCH_LOAD_SCENARIO_H_
#define SPICEGATE_BENCH_LOAD_SCENARIO_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/load/options.h"
#include "bench/load/tickets.h"
#include "bench/load/viewer.h"

namespace spicegate {

// Everything a scenario borrows.
struct ScenarioContext {
  Shared* shared;
  const LoadOptions* options;
  const ClientOptions* client;
  TicketSource* tickets;
};

class Scenario {
 public:
  virtual ~Scenario() = default;

  // Begins to open what it needs.
  virtual void Start() = 0;
  // All of it is open.
  virtual bool ready() const = 0;
  // Where traffic is that more comes, ready() tells again.
  virtual void StartTraffic() = 0;
  // One message each way on every channel; probed() tells. For idle.
  virtual void Probe() {}
  virtual bool probed() const { return true; }
  // Ends the traffic; finished() tells.
  virtual void Finish() = 0;
  virtual bool finished() const = 0;
  // What a run that does not get on is waiting for.
  virtual std::string Missing() const = 0;
  // What every byte's arrival was checked for; false where channels are closed
  // in mid-stream by design.
  virtual bool counts_agree() const = 0;
  // After every turn of the loop.
  virtual void CleanUp() = 0;
};

// How many descriptors viewers and server need for it, both together.
int64_t DescriptorsOf(const LoadOptions& options);
// Fewer channels or connections, so that `limit` descriptors do; "" or what
// was lowered, as JSON members.
std::string LowerTo(int64_t limit, LoadOptions* options);
// Tickets that a run needs: one a session.
int64_t TicketsOf(const LoadOptions& options);

std::unique_ptr<Scenario> MakeScenario(const ScenarioContext& context);

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_SCENARIO_H_
