// SPDX-License-Identifier: Apache-2.0
//
// The configuration's "portal".
#ifndef SPICEGATE_GATEWAY_CONTROL_CONFIG_PORTAL_H_
#define SPICEGATE_GATEWAY_CONTROL_CONFIG_PORTAL_H_

#include <string>

#include "gateway/base/json_reader.h"
#include "gateway/control/config.h"

namespace spicegate {

// Reads the key "portal" of the whole configuration:
//
//   {"address": "*:13002", "tls": true, "certificate": FILE, "key": FILE,
//    "trusted_proxies": ["10.0.0.0/8"], "proxy_protocol": false}
//
// Needs the listeners and the admin address. Files are named as seen from
// `file_name`.
void ReadPortal(JsonObjectReader& root, const std::string& file_name,
                Config* out);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_CONFIG_PORTAL_H_
