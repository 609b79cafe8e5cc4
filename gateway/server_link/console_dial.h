// SPDX-License-Identifier: Apache-2.0
//
// From a console to a connection with its server.
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_CONSOLE_DIAL_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_CONSOLE_DIAL_H_

#include <cstdint>
#include <optional>

#include "gateway/base/close_reason.h"
#include "gateway/base/task.h"
#include "gateway/server_link/dialer.h"
#include "gateway/server_link/link_context.h"

namespace spicegate {

// Fills in what a console's server says of itself over QMP: place, password
// and, for one that is verified, whom to expect. kServerQmp when it does not,
// or offers no TLS where the console has a CA. For targets that are by_qmp().
Task<std::optional<CloseReason>> AskForAccess(ConsoleTarget* target,
                                              AccessLookup* access,
                                              int64_t deadline_ms);

// Dials the unix socket, else the TLS port of a console that has one, else the
// plain port.
Task<std::optional<CloseReason>> DialConsole(Dialer* dialer,
                                             const ConsoleTarget* target,
                                             int64_t deadline_ms);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_CONSOLE_DIAL_H_
