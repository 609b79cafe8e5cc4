// SPDX-License-Identifier: Apache-2.0
//
// The sections of the configuration about who connects how: "listeners",
// "connect", "proxmox" and "public.connect".
#ifndef SPICEGATE_GATEWAY_CONTROL_CONFIG_CONNECT_H_
#define SPICEGATE_GATEWAY_CONTROL_CONFIG_CONNECT_H_

#include <string>

#include "gateway/base/json_reader.h"
#include "gateway/control/config.h"

namespace spicegate {

// Reads `root`'s "listeners", "connect" and "proxmox". Without "listeners" the
// defaults stay, and where one of the others is there, *:3128 for CONNECT
// joins them. Files are named as seen from `file_name`.
void ReadListeners(JsonObjectReader& root, const std::string& file_name,
                   Config* out);

// Reads the key "connect" of "public". Needs the listeners.
void ReadPublicConnect(JsonObjectReader& reader, Config* out);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_CONFIG_CONNECT_H_
