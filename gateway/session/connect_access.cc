// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/connect_access.h"

#include <algorithm>
#include <utility>

#include "gateway/base/ascii.h"

namespace spicegate {
namespace {

constexpr char kThisHost[] = "localhost";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsAddressChar(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'f') || c == '.' || c == ':';
}

// "192.0.2.1:567" and "[::1]:567" without brackets and port. Empty when that
// is no address, but a unix socket's peer for one.
std::string AddressOf(std::string_view peer) {
  std::string_view address = peer.substr(0, peer.rfind(':'));
  if (address.starts_with('[') && address.ends_with(']')) {
    address = address.substr(1, address.size() - 2);
  }
  return std::all_of(address.begin(), address.end(), IsAddressChar)
             ? std::string(address)
             : std::string();
}

// "HOST:PORT" as an authority is written.
std::string Written(const std::string& host, uint16_t port) {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return (is_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

// Of tunnels that one person has to one desktop. `kind` keeps a digest of one
// kind from being another's, or a session's of the native door.
TicketDigest GroupOf(std::string_view kind, std::string_view what) {
  std::string text(kind);
  text += '\0';
  text += what;
  return TicketVault::DigestOf(text);
}

ConnectDecision Grant(ConnectGrant grant) {
  ConnectDecision decision;
  decision.grant = std::move(grant);
  decision.answer = ConnectStatus::kOk;
  return decision;
}

ConnectDecision Refuse(CloseReason reason, ConnectStatus answer) {
  ConnectDecision decision;
  decision.refusal = reason;
  decision.answer = answer;
  return decision;
}

// One decision about one request.
class Decider {
 public:
  Decider(const ConnectRequest& request, std::string_view client_address,
          const ConnectSettings& settings)
      : request_(request),
        client_address_(AddressOf(client_address)),
        settings_(settings) {}

  // What in the request is a Proxmox ticket, if anything is and counts.
  const Authority* FindProxmoxTicket() const;
  ConnectDecision JudgeProxmox(const Authority& asked, int64_t wall_s) const;

  // A grant of kConsole, when one of our tickets is in the request.
  std::optional<ConnectGrant> FindTicket(TicketVault* vault, int64_t now_ms,
                                         const NamesConsole& names) const;

  ConnectDecision JudgeTarget() const;

 private:
  bool MayHavePort(const ProxmoxTicket& ticket, uint16_t port) const;
  bool IsThisNode(const std::string& node) const;
  // Where machines of `node` are dialled directly; null: nowhere.
  const std::string* AddressOfNode(const std::string& node) const;
  ConnectDecision RouteToNode(const std::string& node, const Authority& asked,
                              ConnectGrant grant) const;
  std::string HopRequest(const Authority& asked) const;

  const ConnectRequest& request_;
  const std::string client_address_;
  const ConnectSettings& settings_;
};

// ---- Proxmox tickets.

const Authority* Decider::FindProxmoxTicket() const {
  if (settings_.proxmox_key == nullptr) {
    return nullptr;
  }
  // Proxmox's own proxy looks at the header only.
  if (request_.host_header.has_value() &&
      LooksLikeProxmoxTicket(request_.host_header->host)) {
    return &*request_.host_header;
  }
  return LooksLikeProxmoxTicket(request_.target.host) ? &request_.target
                                                      : nullptr;
}

CloseReason ReasonOf(ProxmoxVerdict verdict) {
  return verdict == ProxmoxVerdict::kTooOld ||
                 verdict == ProxmoxVerdict::kTooEarly
             ? CloseReason::kProxmoxExpired
             : CloseReason::kProxmoxTicket;
}

ConnectDecision Decider::JudgeProxmox(const Authority& asked,
                                      int64_t wall_s) const {
  ProxmoxTicket ticket;
  const ProxmoxVerdict verdict =
      settings_.proxmox_key->Verify(asked.host, wall_s, &ticket);
  if (verdict != ProxmoxVerdict::kOk) {
    return Refuse(ReasonOf(verdict), ConnectStatus::kForbidden);
  }
  if (!MayHavePort(ticket, asked.port)) {
    return Refuse(CloseReason::kProxmoxPort, ConnectStatus::kForbidden);
  }
  ConnectGrant grant;
  grant.port = asked.port;
  grant.name = "pve/" + ticket.vmid + "@" + ticket.node;
  grant.group = GroupOf("proxmox", Written(asked.host, asked.port));
  if (IsThisNode(ticket.node)) {
    grant.kind = ConnectGrant::Kind::kLocalVm;
    grant.host = kThisHost;
    return Grant(std::move(grant));
  }
  grant.kind = ConnectGrant::Kind::kRemoteVm;
  return RouteToNode(ticket.node, asked, std::move(grant));
}

bool Decider::MayHavePort(const ProxmoxTicket& ticket, uint16_t port) const {
  return port >= settings_.first_port && port <= settings_.last_port &&
         (!ticket.port.has_value() || *ticket.port == port);
}

// A ticket's node is in lower case.
bool Decider::IsThisNode(const std::string& node) const {
  return node == kThisHost || node == AsciiLowered(settings_.node);
}

const std::string* Decider::AddressOfNode(const std::string& node) const {
  for (const auto& [name, address] : settings_.nodes) {
    if (AsciiLowered(name) == node) {
      return &address;
    }
  }
  return nullptr;
}

// Whether a resolver takes a ticket's node for a name. It is one label of
// letters, digits and '-' already; what could be a number is an address.
bool IsNodeName(std::string_view node) {
  return !node.starts_with("0x") &&
         !std::all_of(node.begin(), node.end(), IsDigit);
}

ConnectDecision Decider::RouteToNode(const std::string& node,
                                     const Authority& asked,
                                     ConnectGrant grant) const {
  if (request_.pve_disable_proxy) {
    return Refuse(CloseReason::kProxmoxNode, ConnectStatus::kLoop);
  }
  if (const std::string* const address = AddressOfNode(node)) {
    grant.host = *address;
    return Grant(std::move(grant));
  }
  const auto known = settings_.addresses.find(node);
  if (known == settings_.addresses.end() && !IsNodeName(node)) {
    return Refuse(CloseReason::kProxmoxNode, ConnectStatus::kForbidden);
  }
  grant.host = known != settings_.addresses.end() ? known->second : node;
  grant.port = settings_.proxy_port;
  grant.hop_request = HopRequest(asked);
  return Grant(std::move(grant));
}

// Of checked parts only: a ticket that was verified has no line end in it.
std::string Decider::HopRequest(const Authority& asked) const {
  const std::string authority = asked.host + ":" + std::to_string(asked.port);
  std::string request = "CONNECT " + authority +
                        " HTTP/1.0\r\nHost: " + authority +
                        "\r\nPVEDisableProxy: true\r\n";
  if (!client_address_.empty()) {
    request += "PVEClientIP: " + client_address_ + "\r\n";
  }
  return request + "\r\n";
}

// ---- Our tickets.

ConnectGrant GrantOf(TicketClaim claim) {
  ConnectGrant grant;
  grant.kind = ConnectGrant::Kind::kConsole;
  grant.name = claim.console();
  const auto& bytes = claim.digest().bytes;
  grant.group = GroupOf("console", std::string(bytes.begin(), bytes.end()));
  grant.claim = std::move(claim);
  return grant;
}

std::optional<ConnectGrant> Decider::FindTicket(
    TicketVault* vault, int64_t now_ms, const NamesConsole& names) const {
  const std::string* hosts[] = {
      &request_.target.host,
      request_.host_header.has_value() ? &request_.host_header->host : nullptr};
  for (const std::string* const host : hosts) {
    if (host == nullptr) {
      continue;
    }
    TicketClaim claim = vault->Claim(TicketVault::DigestOf(*host), now_ms);
    if (claim) {
      return GrantOf(std::move(claim));
    }
  }
  if (!request_.basic_password.has_value()) {
    return std::nullopt;
  }
  TicketClaim claim =
      vault->Claim(TicketVault::DigestOf(*request_.basic_password), now_ms);
  const std::string& asked = request_.target.host;
  const bool meant =
      claim && (AsciiLowered(claim.console()) == AsciiLowered(asked) ||
                (names && names(claim, asked)));
  if (!meant) {
    return std::nullopt;
  }
  return GrantOf(std::move(claim));
}

// ---- The allow-list.

// Whether `host` has the form of our tickets: a name of one label, too. One
// that is not valid any more must not be asked for in DNS, nor be logged.
bool LooksLikeTicket(std::string_view host) {
  if (host.ends_with('.')) {
    host.remove_suffix(1);
  }
  return host.size() == kTicketLen &&
         std::all_of(host.begin(), host.end(), [](char c) {
           return IsDigit(c) || (AsciiLower(c) >= 'a' && AsciiLower(c) <= 'z');
         });
}

ConnectDecision Decider::JudgeTarget() const {
  const Authority& target = request_.target;
  const AllowList::Verdict verdict =
      LooksLikeTicket(target.host)
          ? AllowList::Verdict::kRefused
          : settings_.allow.Judge(target.host, target.port);
  if (verdict == AllowList::Verdict::kRefused) {
    return Refuse(
        CloseReason::kConnectForbidden,
        settings_.login ? ConnectStatus::kLogin : ConnectStatus::kForbidden);
  }
  ConnectGrant grant;
  grant.kind = ConnectGrant::Kind::kAllowed;
  grant.host = target.host;
  grant.port = target.port;
  grant.by_name = verdict == AllowList::Verdict::kAllowed;
  grant.name = Written(target.host, target.port);
  grant.group =
      GroupOf("allowed", client_address_ + " " + AsciiLowered(grant.name));
  return Grant(std::move(grant));
}

}  // namespace

ConnectDecision DecideConnect(const ConnectRequest& request,
                              std::string_view client_address,
                              const ConnectSettings& settings,
                              TicketVault* vault, int64_t now_ms,
                              int64_t wall_s,
                              const NamesConsole& names_console) {
  const Decider decider(request, client_address, settings);
  if (const Authority* const asked = decider.FindProxmoxTicket()) {
    return decider.JudgeProxmox(*asked, wall_s);
  }
  if (settings.tickets) {
    std::optional<ConnectGrant> grant =
        decider.FindTicket(vault, now_ms, names_console);
    if (grant.has_value()) {
      return Grant(*std::move(grant));
    }
  }
  return decider.JudgeTarget();
}

}  // namespace spicegate
