// SPDX-License-Identifier: Apache-2.0
//
// TLS from viewer to server, relayed unseen: from an accepted CONNECT to a
// relayed tunnel, on the home worker of the tunnels of one session.
#ifndef SPICEGATE_GATEWAY_SESSION_TUNNEL_OPENER_H_
#define SPICEGATE_GATEWAY_SESSION_TUNNEL_OPENER_H_

#include <memory>
#include <optional>

#include "gateway/base/close_reason.h"
#include "gateway/base/task.h"
#include "gateway/server_link/link_context.h"
#include "gateway/session/opener.h"
#include "gateway/session/opening.h"
#include "gateway/session/passage.h"
#include "gateway/session/registry.h"

namespace spicegate {

class TunnelOpener {
 public:
  TunnelOpener(const ServerLinkContext& server, SessionRegistry* registry,
               OpeningTable* openings, FindTarget find_target)
      : server_(server),
        registry_(registry),
        openings_(openings),
        find_target_(std::move(find_target)) {}
  TunnelOpener(const TunnelOpener&) = delete;
  TunnelOpener& operator=(const TunnelOpener&) = delete;

  // The client has been told that it is through, and has begun with TLS.
  // Nothing: it is relayed. A reason: refused; its leg is still in the opening.
  Task<std::optional<CloseReason>> Open(Handle opening,
                                        std::unique_ptr<Passage> passage);

 private:
  using Refusal = std::optional<CloseReason>;

  // To a console's TLS port.
  Task<Refusal> DialConsoleOf(const Passage* passage, ConsoleTarget* target,
                              Leg* leg);
  // The session that the tunnel belongs to; a new one where it is the first.
  Handle JoinSession(const Opening& opening, Passage* passage,
                     ConsoleTarget target);

  const ServerLinkContext server_;
  SessionRegistry* const registry_;
  OpeningTable* const openings_;
  const FindTarget find_target_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_TUNNEL_OPENER_H_
