// SPDX-License-Identifier: Apache-2.0
//
// Through another CONNECT proxy: the one of the node where a desktop runs.
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_PROXY_HOP_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_PROXY_HOP_H_

#include <cstddef>
#include <optional>
#include <string>

#include "gateway/base/close_reason.h"
#include "gateway/base/task.h"
#include "gateway/io/leg.h"

namespace spicegate {

// Status line and headers of an answer. Proxies say a few hundred bytes.
inline constexpr size_t kMaxProxyAnswerBytes = 8192;

// Sends `request` over a fresh connection and reads the answer: HTTP/1.0 or
// 1.1, 2xx, up to its empty line. What came behind it is put back in front of
// the leg's stream. kServerProxy for any other answer; a deadline is the
// caller's, on the leg's socket. `request` outlives the task.
Task<std::optional<CloseReason>> PassProxy(Leg* leg,
                                           const std::string* request);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_PROXY_HOP_H_
