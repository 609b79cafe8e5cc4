// SPDX-License-Identifier: Apache-2.0
//
// What a seed stands for: which channels there are, what their peers say and
// how they leave, which faults the network has, and when the session ends.
#ifndef SPICEGATE_TESTS_SIM_RELAY_PLAN_H_
#define SPICEGATE_TESTS_SIM_RELAY_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gateway/base/close_reason.h"
#include "gateway/console/policy.h"
#include "gateway/io/sim_network.h"
#include "gateway/relay/pipe_pool.h"
#include "proto/channel.h"
#include "proto/data_header.h"
#include "tests/sim/scripted_peer.h"

namespace spicegate {

// One channel and its two peers, as they are decided before the run.
struct ChannelPlan {
  proto::ChannelKey key;
  proto::HeaderKind header_kind = proto::HeaderKind::kMini;
  GuardMode guard = GuardMode::kOff;
  // What this side says are no messages, but by chance.
  bool hostile_client = false;
  bool hostile_server = false;
  PeerScript client;
  PeerScript server;
  // Bytes of the server's first message, header included; SIZE_MAX when what
  // it says never completes one.
  size_t first_message_len = SIZE_MAX;
  // Main: the server begins with INIT, and this is its session id.
  bool has_init = false;
  uint32_t session_id = 0;
};

struct RelayPlan {
  SimOptions network;
  PipePool::Options pipes;
  std::vector<ChannelPlan> channels;
  // Both peers of each channel say everything, half-close and read to the
  // end, and no connection breaks: nothing may be lost.
  bool clean = false;
  // The turn at which the session ends all its channels.
  unsigned close_turn = UINT32_MAX;
  CloseReason close_reason = CloseReason::kSessionOver;
  // The turns at which a seamless migration is announced and comes to nothing.
  unsigned migration_turn = UINT32_MAX;
  unsigned migration_over_turn = UINT32_MAX;
};

enum class PlanFamily : uint8_t {
  kEverything,
  // Bulk and trickle by turns, so that pumps go over from copying to splicing
  // and back in mid-stream, with pipes that are small, few or not to be had.
  kSwitching,
};

// The same plan for the same seed, always. Every plan comes to an end.
RelayPlan MakeRelayPlan(uint64_t seed,
                        PlanFamily family = PlanFamily::kEverything);

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_SIM_RELAY_PLAN_H_
