// SPDX-License-Identifier: Apache-2.0
//
// Connections that stay, of which many come at once: what a morning is for a
// proxy of desktops.
#ifndef SPICEGATE_BENCH_LOAD_TUNNEL_SCENARIO_H_
#define SPICEGATE_BENCH_LOAD_TUNNEL_SCENARIO_H_

#include <memory>

#include "bench/load/scenario.h"

namespace spicegate {

// Start() opens all but --burst of --channels, a few at a time; StartTraffic()
// the others, each at its own time within one second, whether those before it
// are done or not. Set-up counts for these alone, and from that time until a
// message has come back: behind it are CONNECT, TLS and the server. Then the
// first --stalled of all are sent floods that they do not read before Probe().
std::unique_ptr<Scenario> MakeTunnelScenario(const ScenarioContext& context);

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_TUNNEL_SCENARIO_H_
