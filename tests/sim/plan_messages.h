// SPDX-License-Identifier: Apache-2.0
//
// Messages as viewers and hypervisors say them, with random bodies: what a
// guard and an inspector pass on unchanged.
#ifndef SPICEGATE_TESTS_SIM_PLAN_MESSAGES_H_
#define SPICEGATE_TESTS_SIM_PLAN_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "gateway/io/sim_network.h"
#include "proto/channel.h"

namespace spicegate {

struct PlannedMessage {
  uint16_t type = 0;
  std::string body;
};

// One that a viewer may send at any time.
PlannedMessage GoodClientMessage(proto::ChannelType channel, SimRandom* random);

// One that main's server may send, but INIT and those of a migration.
PlannedMessage GoodMainMessage(SimRandom* random);

std::string PlanNoise(size_t len, SimRandom* random);

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_SIM_PLAN_MESSAGES_H_
