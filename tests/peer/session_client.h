// SPDX-License-Identifier: Apache-2.0
//
// A whole viewer: main and all channels it is offered, patterns both ways, and
// an orderly end. Many of them run on one loop.
#ifndef SPICEGATE_TESTS_PEER_SESSION_CLIENT_H_
#define SPICEGATE_TESTS_PEER_SESSION_CLIENT_H_

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "proto/channel.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/spice_client.h"
#include "tests/peer/synthetic_server.h"
#include "tests/peer/traffic.h"

namespace spicegate {

// The seven channels that a desktop has beside main.
std::vector<proto::ChannelKey> EveryChannel();

// A plan that gives each channel type its usual share: `bytes` for those that
// carry much in a direction, a fraction for those that never do.
TrafficPlan PlanFor(proto::ChannelKey key, uint64_t bytes);

struct SessionOptions {
  PeerEndpoint endpoint;
  std::string password;
  uint64_t console_seed = 0;
  // The server's plan; absent: no pattern.
  std::function<TrafficPlan(proto::ChannelKey)> plan;
  int64_t timeout_ms = 60'000;
};

struct SessionReport {
  // Empty when every byte came and went; else the first thing that went wrong.
  std::string error;
  size_t num_channels = 0;
  std::array<ChannelBytes, proto::kNumChannelTypes> bytes{};
};

// Runs one session to its end. `options` outlives the task.
PeerTask<SessionReport> RunSession(PeerLoop* loop,
                                   const SessionOptions* options);

// One open channel's patterns, both ways at once, to the server's end of the
// connection. Returns what went wrong, "" for nothing. `client` is past its
// link; the greeting of main must have been read.
PeerTask<std::string> RunTraffic(SpiceClient* client, proto::ChannelKey key,
                                 uint64_t console_seed, TrafficPlan plan);

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_SESSION_CLIENT_H_
