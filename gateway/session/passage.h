// SPDX-License-Identifier: Apache-2.0
//
// What a CONNECT request has opened the way to, on its way from the door to
// the session's home.
#ifndef SPICEGATE_GATEWAY_SESSION_PASSAGE_H_
#define SPICEGATE_GATEWAY_SESSION_PASSAGE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "gateway/io/leg.h"
#include "gateway/io/listen.h"
#include "gateway/server_link/own_sockets.h"
#include "gateway/session/connect_access.h"

namespace spicegate {

// How a client names what it is let through to. It names it so again whenever
// it is told to come back, and the same proxy lets it through.
struct ConnectAlias {
  std::string host;
  uint16_t port = 0;
};

// Whether the allow-list and all else that is never connected to leave a way
// to an address. `by_name` as AllowList::AllowsAddress takes it. Any thread.
using MayReach = std::function<bool(const SocketAddress& address, uint16_t port,
                                    bool by_name)>;

struct Passage {
  ConnectAlias alias;
  ConnectGrant grant;
  // By which the grant was given, and by which its desktop may migrate.
  std::shared_ptr<const ConnectSettings> settings;
  MayReach may_reach;
  // Connected, where that is done before the request is answered: so is all
  // but consoles.
  Leg server;
  OwnSocketMark mark;  // of that connection
};

// What a session keeps of it.
struct PassageTerms {
  ConnectAlias alias;
  // Its place is not a console's: the allow-list says where it may go.
  std::shared_ptr<const ConnectSettings> only_to;
  MayReach may_reach;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_PASSAGE_H_
