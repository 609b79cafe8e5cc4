// SPDX-License-Identifier: Apache-2.0
//
// The CONNECT door's two steps on a connection: what the client asks for, and
// what it is told. Where it may go is decided elsewhere (session).
//
// Runs on the worker that accepted the connection. Neither step has a deadline
// of its own for the client: the caller keeps one on the socket
// (gateway/io/deadline.h) over TLS, PROXY header and request together.
#ifndef SPICEGATE_GATEWAY_DOOR_CONNECT_DOOR_H_
#define SPICEGATE_GATEWAY_DOOR_CONNECT_DOOR_H_

#include <optional>

#include "gateway/base/close_reason.h"
#include "gateway/base/counters.h"
#include "gateway/base/task.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/door/connect_request.h"
#include "gateway/io/leg.h"

namespace spicegate {

struct ConnectArrival {
  std::optional<ConnectRequest> request;           // when it was understood
  CloseReason refusal = CloseReason::kClientGone;  // otherwise
};

// Reads the request. What the client sent behind it, as one that does not wait
// for the answer may, is put back: the leg's stream gives it next. A malformed
// request has been answered and counted (kConnectRequest), and its client had
// a moment to read that; the caller releases the leg. Borrowed pointers
// outlive the task.
Task<ConnectArrival> ReadConnectRequest(Leg* leg, TimerWheel* timers,
                                        WorkerCounters* counters);

// Answers, and counts the answer whether or not the client took it.
// `minor_version` is the request's. After one that is not kOk our direction
// ends and the client is given a moment to read it. 0 or -errno.
Task<int> AnswerConnect(Leg* leg, TimerWheel* timers, WorkerCounters* counters,
                        ConnectStatus status, int minor_version);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_DOOR_CONNECT_DOOR_H_
