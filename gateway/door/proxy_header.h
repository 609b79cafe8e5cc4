// SPDX-License-Identifier: Apache-2.0
//
// The PROXY header in front of a client's connection: gateway/base knows what
// it says.
#ifndef SPICEGATE_GATEWAY_DOOR_PROXY_HEADER_H_
#define SPICEGATE_GATEWAY_DOOR_PROXY_HEADER_H_

#include <optional>

#include "gateway/base/proxy_header.h"
#include "gateway/base/task.h"
#include "gateway/io/leg.h"

namespace spicegate {

// Reads the header and not one byte beyond it. Nothing when it is malformed, or
// when the client ended or was interrupted before it was complete: a deadline
// is the caller's, on the leg's socket. `leg` outlives the task.
Task<std::optional<ProxyHeader>> ReadProxyHeader(Leg* leg);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_DOOR_PROXY_HEADER_H_
