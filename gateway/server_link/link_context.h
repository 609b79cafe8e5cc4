// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_LINK_CONTEXT_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_LINK_CONTEXT_H_

#include <functional>
#include <memory>

#include "gateway/base/counters.h"
#include "gateway/base/limits.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/console/console.h"
#include "gateway/io/driver.h"
#include "gateway/io/listen.h"
#include "gateway/server_link/name_lookup.h"
#include "gateway/server_link/own_sockets.h"
#include "gateway/server_link/server_access.h"
#include "gateway/tls/client_context.h"
#include "gateway/tls/kernel_tls.h"

namespace spicegate {

// Whether an address may be dialled.
using AddressFilter = std::function<bool(const SocketAddress& address)>;

// Where a console is and how its server proves itself.
struct ConsoleTarget {
  std::shared_ptr<const Console> console;
  std::shared_ptr<const ClientTlsContext> tls;  // when it has a tls_port
  // Where the console's desktop has migrated to, not its own server.
  bool moved = false;
  // Null: wherever the console's host leads. Of places that clients name.
  std::shared_ptr<const AddressFilter> may_dial;

  // Place and ticket are asked for before each link (ServerAccess).
  bool by_qmp() const { return !console->qmp_path.empty(); }
};

// The worker's things that a link uses; they outlive it.
struct ServerLinkContext {
  IoDriver* driver = nullptr;
  TimerWheel* timers = nullptr;
  NameLookup* names = nullptr;
  WorkerCounters* counters = nullptr;
  const Limits* limits = nullptr;
  const OffloadPolicy* offload = nullptr;  // null: TLS stays in user space
  AccessLookup* access = nullptr;          // null: no console is by_qmp
  OwnSockets* own_sockets = nullptr;       // null: nobody asks
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_LINK_CONTEXT_H_
