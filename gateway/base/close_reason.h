// SPDX-License-Identifier: Apache-2.0
//
// Why a link or a channel ended. One enum for the whole data path: each value
// is a metric label, a word in the log and a sentence in docs/operations.md.
#ifndef SPICEGATE_GATEWAY_BASE_CLOSE_REASON_H_
#define SPICEGATE_GATEWAY_BASE_CLOSE_REASON_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace spicegate {

enum class CloseReason : uint8_t {
  // Ordinary ends of a channel.
  kClientClosed,      // the viewer ended its side, and the server followed
  kServerClosed,      // the server ended its side first
  kClientReset,       // the viewer's socket failed: RST, timeout, broken TLS
  kServerReset,       // the server's socket failed
  kSessionOver,       // the session's main channel ended
  kReplaced,          // a newer main channel with the same ticket took over
  kHalfCloseTimeout,  // one side ended and the other stayed silent
  kClientTlsRecord,   // a TLS record of the client's was forged or malformed
  kServerTlsRecord,   // ... of the server's
  kClientTlsAlert,    // the client gave up with a fatal alert
  kServerTlsAlert,    // the server did
  kClientTlsRekey,    // the client changed its key, which kernel TLS cannot
  kServerTlsRekey,    // the server did
  kTlsKeyLimit,       // a key of ours has encrypted all that it may
  kClientGuard,       // the client sent what the guard keeps from servers
  kServerGuard,       // main's server sent what no server sends
  kMigrated,          // the session went on at its migration's destination
  kMigrationOver,     // a destination's channel; its migration came to nothing
  kTunnelIdle,        // no byte either way through a tunnel for too long
  kDisconnected,      // an operator ended the session
  kShutdown,          // the gateway stops

  // Refusals before a ticket was accepted.
  kPreauthTimeout,  // not through the link and ticket by the deadline
  kClientGone,      // the client left before it was through
  kClientTls,       // the TLS handshake with the client failed
  kBadMagic,
  kBadVersion,
  kBadLink,       // a link message spice-server refuses as invalid data
  kNeedSecured,   // a plain listener that sends clients to the TLS port
  kBadMechanism,  // an authentication mechanism other than the ticket
  kBadTicket,     // unknown, expired, malformed: deliberately one value
  kTooManyLinks,  // the process's limit of links is reached

  // Refusals of the PROXY header and of CONNECT.
  kProxyHeader,       // missing, malformed, or from who may not send one
  kHealthCheck,       // a balancer looked whether we answer, and left
  kConnectRequest,    // no CONNECT request, or a malformed one
  kConnectForbidden,  // no ticket and no list lets it go there
  kProxmoxTicket,     // a Proxmox ticket that is forged or malformed
  kProxmoxExpired,    // ... that is too old, or not yet valid
  kProxmoxPort,       // ... for another port, or a port that is no desktop's
  kProxmoxNode,       // ... for a node we do not know, or in a loop
  kTunnelRefused,     // TLS to a console that no tunnel may lead to
  kTunnelProtocol,    // neither TLS nor SPICE came through the tunnel

  // Refusals after the ticket.
  kBadConnectionId,     // no session of this ticket has that connection id
  kTooManyChannels,     // the session's limit of channels is reached
  kClientProtocol,      // the client broke the protocol where we must know it
  kConsoleUnknown,      // the ticket's console is no longer in the directory
  kPolicyRefused,       // a type of channel that the policy forbids
  kDestinationRefused,  // a migration to where this console may not go

  // The server's leg could not be made.
  kServerResolve,        // its name did not resolve
  kServerConnect,        // no TCP or unix connection
  kServerTimeout,        // no connection or no link by the deadline
  kServerTls,            // the TLS handshake failed
  kServerTlsChain,       // its certificate does not lead to the console's CA
  kServerTlsName,        // ... does not name the console's host
  kServerTlsSubject,     // ... does not have the console's host-subject
  kServerGone,           // it closed before the link was complete
  kServerProtocol,       // it sent something that is not a SPICE link
  kServerRefused,        // it answered the link with an error
  kServerTicketRefused,  // it refused the console's own ticket
  kServerProxy,          // the proxy on the way to it refused
  kServerQmp,            // its password could not be set over QMP

  kInternal,  // our own resources: memory, descriptors, a stopped helper
};

inline constexpr size_t kNumCloseReasons =
    static_cast<size_t>(CloseReason::kInternal) + 1;

// The lower-case word used as metric label and in logs. Static storage.
std::string_view CloseReasonName(CloseReason reason);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_CLOSE_REASON_H_
