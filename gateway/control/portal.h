// SPDX-License-Identifier: Apache-2.0
//
// Connection files (.vv) for remote-viewer. Format and keys as virt-viewer's
// src/virt-viewer-file.c reads them (GKeyFile, group [virt-viewer]).
#ifndef SPICEGATE_GATEWAY_CONTROL_PORTAL_H_
#define SPICEGATE_GATEWAY_CONTROL_PORTAL_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/console/console.h"
#include "gateway/control/address.h"
#include "gateway/control/config.h"

namespace spicegate {

// A listener as it really is, after the kernel chose its port.
struct BoundListener {
  BindAddress address;
  bool tls = false;
  bool need_secured = false;
};

// Where viewers reach us.
struct PublicEndpoint {
  std::string host;
  uint16_t port = 0;         // plain; 0: not in the file
  uint16_t tls_port = 0;     // 0: not in the file
  std::string ca_pem;        // what viewers trust; empty: their system's CAs
  std::string host_subject;  // empty: not in the file
};

// Decides host and ports; ca_pem and host_subject stay empty.
//
// Host: public.host, else the address of the first listener that is bound to a
// single address, else `machine_name`. Never the Host of the admin request:
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

// `value` as GKeyFile reads it back (g_key_file_get_string).
std::string EscapeKeyFileValue(std::string_view value);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_PORTAL_H_
