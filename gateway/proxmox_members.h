// SPDX-License-Identifier: Apache-2.0
//
// The addresses of a Proxmox cluster's nodes, as the cluster itself knows them:
// /etc/pve/.members, kept by pmxcfs, e.g.
//
//   {"nodename": "pve1", "version": 4,
//    "cluster": {"name": "lab", "version": 2, "nodes": 2, "quorate": 1},
//    "nodelist": {"pve1": {"id": 1, "online": 1, "ip": "192.0.2.1"},
//                 "pve2": {"id": 2, "online": 1, "ip": "192.0.2.2"}}}
#ifndef SPICEGATE_GATEWAY_PROXMOX_MEMBERS_H_
#define SPICEGATE_GATEWAY_PROXMOX_MEMBERS_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"

namespace spicegate {

// Name, in lower case, to address. A node without a numeric address is left
// out; a node that is alone has no "nodelist", and nothing comes of that.
// InvalidArgument for what is no such file.
absl::StatusOr<std::map<std::string, std::string>> ParseProxmoxMembers(
    const std::string& text);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_PROXMOX_MEMBERS_H_
