// SPDX-License-Identifier: Apache-2.0
//
// Connection files (.vv) for remote-viewer. Format and keys as virt-viewer's
// src/virt-viewer-file.c reads them (GKeyFile, group [virt-viewer]).
#ifndef SPICEGATE_GATEWAY_CONTROL_CONNECTION_FILE_H_
#define SPICEGATE_GATEWAY_CONTROL_CONNECTION_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/base/address.h"
#include "gateway/console/console.h"
#include "gateway/control/admin_services.h"
#include "gateway/control/config.h"

namespace spicegate {

// A listener as it really is, after the kernel chose its port.
struct BoundListener {
  BindAddress address;
  bool tls = false;
  bool need_secured = false;
  ListenerProtocol protocol = ListenerProtocol::kSpice;
};

// Where viewers reach us.
struct PublicEndpoint {
  std::string host;
  uint16_t port = 0;         // plain; 0: not in the file
  uint16_t tls_port = 0;     // 0: not in the file
  std::string ca_pem;        // what viewers trust; empty: their system's CAs
  std::string host_subject;  // empty: not in the file
};

// Where viewers reach us with HTTP CONNECT.
struct ConnectEndpoint {
  std::string host;
  uint16_t port = 0;  // 0: nowhere
  bool tls = false;
};

// Decides host and ports; ca_pem and host_subject stay empty.
//
// Host: public.host, else the address of the first listener that is bound to a
// single address, else `machine_name`. Listeners for HTTP CONNECT do not count,
// here and for ports. Never the Host of the admin request:
// the admin address is loopback, where no viewer is. A self-signed certificate
// should therefore name `machine_name` and every such address.
//
// Ports: tls_port is public.tls_port, else the first TLS listener's. The plain
// port is in the file only when public.port is given or there is no TLS port
// at all: a viewer with both tries the plain one first, for every channel.
PublicEndpoint ResolvePublicEndpoint(
    const PublicConfig& config, const std::vector<BoundListener>& listeners,
    const std::string& machine_name);

// The port for clients that came without TLS and are sent to us again: that of
// public.port, else of the first plain listener that serves desktops; 0: none.
uint16_t ResolvePlainPort(const PublicConfig& config,
                          const std::vector<BoundListener>& listeners);

// The whole file, with `ticket` as password. Values are escaped, so that none
// can add a key; control characters other than newlines and tabs are dropped.
// viewers delete the file after reading it. Secret.
std::string BuildVv(const PublicEndpoint& endpoint, const Console& console,
                    std::string_view ticket);

// Where viewers find the listener for HTTP CONNECT: public.connect, and for
// what that does not give public.host, the address of the first such listener
// or `machine_name`, and that listener's port and TLS. Viewers ask for their
// proxy's first address only, so the host should have no more than one.
ConnectEndpoint ResolveConnectEndpoint(
    const PublicConfig& config, const std::vector<BoundListener>& listeners,
    const std::string& machine_name);

// The whole file of a viewer that goes through HTTP CONNECT. The ticket is in
// the proxy's URL, as viewers show it with every connection, unasked. `via`:
//   connect  plain SPICE inside: ours is the password, and the target's name
//            and port (5900) are for the eye; the ticket decides
//   tunnel   TLS from the viewer to the console's server, whose tls_port is
//            not 0: the file has that server's password, CA and subject, and
//            its host's name, for the viewer to check, where it has no subject
// Escapes as BuildVv. Secret.
std::string BuildConnectVv(const ConnectEndpoint& endpoint,
                           const IssuedTicket& ticket, const std::string& via);

// `value` as GKeyFile reads it back (g_key_file_get_string).
std::string EscapeKeyFileValue(std::string_view value);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_CONNECTION_FILE_H_
