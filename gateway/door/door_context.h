// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_DOOR_DOOR_CONTEXT_H_
#define SPICEGATE_GATEWAY_DOOR_DOOR_CONTEXT_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "gateway/auth/link_key.h"
#include "gateway/base/counters.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/tls/kernel_tls.h"
#include "gateway/tls/server_context.h"

namespace spicegate {

struct ClientLink;

// What the door of one listener works with. Borrowed pointers outlive the
// task; `tls` is null on a plain listener.
struct DoorContext {
  TimerWheel* timers = nullptr;
  WorkerCounters* counters = nullptr;
  std::shared_ptr<const ServerTlsContext> tls;
  const OffloadPolicy* offload = nullptr;  // null: TLS stays in user space
  std::shared_ptr<const LinkKey> link_key;
  bool need_secured = false;
  // Told what the client asks for, once it has its reply and while its ticket,
  // which is empty in `link`, is still on the way. Optional.
  std::function<void(const ClientLink& link, int64_t deadline_ms)>
      before_ticket;
  // The ticket is a server's own: the link is to have it as it came.
  bool keep_ticket = false;
  int64_t deadline_ms = 0;  // monotonic; for the whole of it
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_DOOR_DOOR_CONTEXT_H_
