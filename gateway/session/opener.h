// SPDX-License-Identifier: Apache-2.0
//
// From an accepted ticket to a relayed channel, on the session's home worker:
// which session, which server, the server's link, the client's result.
#ifndef SPICEGATE_GATEWAY_SESSION_OPENER_H_
#define SPICEGATE_GATEWAY_SESSION_OPENER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "gateway/auth/vault.h"
#include "gateway/base/close_reason.h"
#include "gateway/base/task.h"
#include "gateway/door/client_link.h"
#include "gateway/server_link/server_link.h"
#include "gateway/session/early_dial.h"
#include "gateway/session/opening.h"
#include "gateway/session/passage.h"
#include "gateway/session/registry.h"
#include "proto/display_channel.h"

namespace spicegate {

// Finds where a ticket's console is now; nothing when it left the directory.
using FindTarget =
    std::function<std::optional<ConsoleTarget>(const TicketClaim& ticket)>;

class ChannelOpener {
 public:
  ChannelOpener(const ServerLinkContext& server, SessionRegistry* registry,
                OpeningTable* openings, EarlyDials* early_dials,
                const PolicySet* policies, GuardMode guard,
                FindTarget find_target)
      : server_(server),
        registry_(registry),
        openings_(openings),
        early_dials_(early_dials),
        policies_(policies),
        guard_(guard),
        find_target_(std::move(find_target)) {}
  ChannelOpener(const ChannelOpener&) = delete;
  ChannelOpener& operator=(const ChannelOpener&) = delete;

  // Opens the channel that `link` asks for, with the claim on its ticket. Its
  // early dial, if there is one, is made use of.
  // Nothing: it is relayed, or ended on its server's account. A
  // reason: refused; the client has been told what it should know, and its leg
  // is still in the opening. A fault of the server's is never told as a
  // result: viewers would ask their user for another password.
  // `passage` is what the link came through, where that was CONNECT.
  Task<std::optional<CloseReason>> Open(Handle opening, ClientLink link,
                                        TicketClaim ticket,
                                        std::unique_ptr<Passage> passage = {});

 private:
  using Refusal = std::optional<CloseReason>;

  // The session and the server of a link.
  struct Place {
    Handle session;  // null: a new one begins
    Route route;
    Policy policy;  // of a new session
    TicketClaim ticket;
    std::unique_ptr<Passage> passage;
  };

  Task<Refusal> FindPlace(Opening* opening, const ClientLink* link,
                          const TicketClaim* ticket, Place* place);
  // A session begins.
  Refusal FindServer(const ClientLink& link, const TicketClaim& ticket,
                     Place* place);
  // A link of a session that lives: to its server or to where it migrates.
  Task<Refusal> FindSession(Opening* opening, const ClientLink* link,
                            Place* place);
  // The server has been reached while the client waited to be let through.
  static bool IsConnected(const Place& place);
  // What the server says about the channel is the client's to know; what it
  // says about its own ticket is not, unless the client had to know that one.
  static bool MayTell(const Place& place, proto::LinkError result);
  // The link's failure is its migration's.
  void FailMigration(const Place& place, CloseReason refusal);
  Task<Refusal> OpenPlain(Opening* opening, const ClientLink* link,
                          Place* place, ServerLink* server);
  Task<Refusal> OpenDisplay(Opening* opening, const ClientLink* link,
                            Place* place, ServerLink* server);
  // The session exists and its main channel has not ended.
  bool IsAlive(Handle session);
  // Counts a committed display whose server did not answer in time.
  void CountIfGivenUp(CloseReason refusal);
  void Join(Opening* opening, const ClientLink* link, Place* place,
            ServerLink* server, size_t bytes_sent);

  const ServerLinkContext server_;
  SessionRegistry* const registry_;
  OpeningTable* const openings_;
  EarlyDials* const early_dials_;
  const PolicySet* const policies_;
  const GuardMode guard_;  // of places that are no console's
  const FindTarget find_target_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_OPENER_H_
