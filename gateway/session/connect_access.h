// SPDX-License-Identifier: Apache-2.0
//
// Who may go where through CONNECT: the decision alone, from what the client
// said to what is dialled. In this order:
//
//   1. a Proxmox ticket, as host name: the machine and node that it names
//   2. one of our tickets, as host name or as password: its console
//   3. the allow-list: the host and port that the client names
//   4. nothing else
//
// A host name that looks like a Proxmox ticket is judged as one and as nothing
// else; one that looks like ours is never looked up. All that is refused gets
// one answer, so that nobody learns how near to a good ticket he is; the
// reasons differ for logs and metrics only.
//
// Pure: no clock, no socket, no log. Any thread may call with settings that do
// not change meanwhile.
#ifndef SPICEGATE_GATEWAY_SESSION_CONNECT_ACCESS_H_
#define SPICEGATE_GATEWAY_SESSION_CONNECT_ACCESS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/auth/proxmox_ticket.h"
#include "gateway/auth/vault.h"
#include "gateway/base/close_reason.h"
#include "gateway/base/counters.h"
#include "gateway/console/allow_list.h"
#include "gateway/door/connect_request.h"

namespace spicegate {

struct ConnectSettings {
  bool tickets = true;  // ours open their consoles
  bool tunnels = true;  // not looked at here: what comes through is unknown yet
  bool login = false;   // 407 in place of 403
  AllowList allow;

  // Null: Proxmox tickets are nothing.
  std::shared_ptr<const ProxmoxKey> proxmox_key;
  std::string node;  // this one; in any case, like the names of `nodes`
  // Other nodes, and the address where their machines are dialled directly.
  std::map<std::string, std::string> nodes;
  // Where a node that is not in `nodes` has its proxy: its address, if the
  // cluster tells it, else its name is dialled; and the port.
  std::map<std::string, std::string> addresses;  // of names in lower case
  uint16_t proxy_port = 3128;
  // Where machines' servers listen. A ticket with a port outside of these, or
  // without one for a port outside, leads nowhere.
  uint16_t first_port = 61000;
  uint16_t last_port = 61999;
};

// Where a client may go.
struct ConnectGrant {
  enum class Kind {
    kConsole,   // of `claim`, by its own address
    kLocalVm,   // a machine of this node
    kRemoteVm,  // a machine of another node, directly or through its proxy
    kAllowed,   // what the allow-list lets through
  };

  Kind kind = Kind::kConsole;
  TicketClaim claim;  // kConsole
  // To dial. A name that a resolver takes for a name, or an address, or
  // "localhost"; empty for kConsole.
  std::string host;
  uint16_t port = 0;
  bool by_name = false;     // kAllowed: for AllowList::AllowsAddress
  std::string hop_request;  // kRemoteVm: to send first to the proxy there
  std::string name;         // for logs: console, "pve/100@pve1" or "host:port"
  TicketDigest group;  // equal for the tunnels of one session, only for those
};

struct ConnectDecision {
  std::optional<ConnectGrant> grant;
  // Without a grant.
  CloseReason refusal = CloseReason::kConnectForbidden;
  ConnectStatus answer = ConnectStatus::kForbidden;
};

// Whether a client that names `host` can mean a ticket's console, whose name is
// another one: by the host of its server.
using NamesConsole =
    std::function<bool(const TicketClaim& ticket, const std::string& host)>;

// `client_address` as legs write their peers ("192.0.2.1:567", "[::1]:567").
// `now_ms` is the vault's clock, `wall_s` seconds since 1970.
//
// A ticket that comes as password is good for its console only where the target
// is that console's name, in any case, or `names_console` (optional) says that
// it means it: viewers repeat their proxy's password wherever a migration sends
// them, and must not be led back to the source then.
ConnectDecision DecideConnect(const ConnectRequest& request,
                              std::string_view client_address,
                              const ConnectSettings& settings,
                              TicketVault* vault, int64_t now_ms,
                              int64_t wall_s,
                              const NamesConsole& names_console = nullptr);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_CONNECT_ACCESS_H_
