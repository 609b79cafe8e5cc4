// SPDX-License-Identifier: Apache-2.0
//
// What every conversation with a fresh client has in common. A deadline is the
// caller's, on the leg's socket.
#ifndef SPICEGATE_GATEWAY_DOOR_CLIENT_LEG_H_
#define SPICEGATE_GATEWAY_DOOR_CLIENT_LEG_H_

#include <optional>

#include "gateway/base/close_reason.h"
#include "gateway/base/task.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/door/door_context.h"
#include "gateway/io/leg.h"

namespace spicegate {

// Why a conversation is over whose leg failed with `error` (a negated errno).
CloseReason ClientReasonOf(int error);

// Puts TLS with `context`'s certificate on the leg. Nothing, or why it failed.
Task<std::optional<CloseReason>> SecureClient(Leg* leg,
                                              const DoorContext* context);

// Sends the end of our direction, then reads and drops until the client has
// seen it, for kRefusalLingerMs and kPumpBufferBytes at most: closing with
// unread input would turn the last answer into a RST.
Task<void> SayGoodbye(Leg* leg, TimerWheel* timers);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_DOOR_CLIENT_LEG_H_
