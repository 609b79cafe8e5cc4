// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/close_reason.h"

#include <array>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

// In the order of the enum; the test compares both.
constexpr std::array<std::string_view, kNumCloseReasons> kNames = {
    "client_closed",
    "server_closed",
    "client_reset",
    "server_reset",
    "session_over",
    "replaced",
    "half_close_timeout",
    "client_tls_record",
    "server_tls_record",
    "client_tls_alert",
    "server_tls_alert",
    "client_tls_rekey",
    "server_tls_rekey",
    "tls_key_limit",
    "client_guard",
    "server_guard",
    "migrated",
    "migration_over",
    "tunnel_idle",
    "disconnected",
    "shutdown",
    "preauth_timeout",
    "client_gone",
    "client_tls",
    "bad_magic",
    "bad_version",
    "bad_link",
    "need_secured",
    "bad_mechanism",
    "bad_ticket",
    "too_many_links",
    "proxy_header",
    "health_check",
    "connect_request",
    "connect_forbidden",
    "proxmox_ticket",
    "proxmox_expired",
    "proxmox_port",
    "proxmox_node",
    "tunnel_refused",
    "tunnel_protocol",
    "bad_connection_id",
    "too_many_channels",
    "client_protocol",
    "console_unknown",
    "policy_refused",
    "destination_refused",
    "server_resolve",
    "server_connect",
    "server_timeout",
    "server_tls",
    "server_tls_chain",
    "server_tls_name",
    "server_tls_subject",
    "server_gone",
    "server_protocol",
    "server_refused",
    "server_ticket_refused",
    "server_proxy",
    "server_qmp",
    "internal",
};

}  // namespace

std::string_view CloseReasonName(CloseReason reason) {
  const size_t index = static_cast<size_t>(reason);
  CHECK(index < kNames.size());
  return kNames[index];
}

}  // namespace spicegate
