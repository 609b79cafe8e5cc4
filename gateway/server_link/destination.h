// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_DESTINATION_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_DESTINATION_H_

#include <optional>
#include <string>

#include "gateway/server_link/server_link.h"
#include "proto/main_channel.h"

namespace spicegate {

// Where a desktop goes on after a migration that its server at `source` has
// announced as `to`. Trusted no less than the source: one that is verified is
// so at the destination, by the message's subject or else its host name, and
// its TLS port is a must. The ticket is the console's, or the one it has for
// destinations.
//
// Nothing when the message names no port of that kind, or a subject that is
// none. Any thread.
std::optional<ConsoleTarget> DestinationOf(const ConsoleTarget& source,
                                           const proto::DstInfo& to);

// "HOST:PORT" of the port that is dialled; for a unix socket its path.
std::string PlaceOf(const ConsoleTarget& target);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_DESTINATION_H_
