// SPDX-License-Identifier: Apache-2.0
//
// What a fresh connection may say: TLS where the listener has it, then the
// SPICE link up to the ticket (proto/README.md). Everything that a
// peer can get wrong is answered as spice-server answers it, so that a probe
// cannot tell the two apart and a viewer reacts as it always does.
//
// Runs where the connection was accepted. Knows no consoles and no sessions.
#ifndef SPICEGATE_GATEWAY_DOOR_CLIENT_LINK_H_
#define SPICEGATE_GATEWAY_DOOR_CLIENT_LINK_H_

#include <cstdint>
#include <optional>
#include <string>

#include "gateway/auth/vault.h"
#include "gateway/base/close_reason.h"
#include "gateway/base/task.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/door/door_context.h"
#include "gateway/io/leg.h"
#include "proto/data_header.h"
#include "proto/link.h"

namespace spicegate {

// A link as the client asked for it, ticket decrypted but not judged.
struct ClientLink {
  uint32_t connection_id = 0;
  proto::ChannelKey channel;
  proto::CapsWords common_caps;
  proto::CapsWords channel_caps;
  proto::HeaderKind header_kind = proto::HeaderKind::kMini;
  bool tls = false;  // it came by TLS
  TicketDigest ticket;
  // The ticket itself, where the door was told to keep it. Secret.
  std::string kept_ticket;
};

struct DoorResult {
  std::optional<ClientLink> link;                  // when it was completed
  CloseReason refusal = CloseReason::kClientGone;  // otherwise
};

// Runs the link on `leg` (for TLS it becomes a TLS leg). Refusals have been
// answered and may be read by the client when it returns; the caller releases
// the leg. On success the client awaits its result (SendLinkResult).
Task<DoorResult> RunClientLink(Leg* leg, DoorContext context);

// Sends the link's result. After one that is not kOk the client is given a
// moment to read it, as it may still be sending. 0 or -errno.
Task<int> SendLinkResult(Leg* leg, TimerWheel* timers, proto::LinkError result);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_DOOR_CLIENT_LINK_H_
