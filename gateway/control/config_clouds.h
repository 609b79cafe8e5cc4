// SPDX-License-Identifier: Apache-2.0
//
// The configuration's "clouds".
#ifndef SPICEGATE_GATEWAY_CONTROL_CONFIG_CLOUDS_H_
#define SPICEGATE_GATEWAY_CONTROL_CONFIG_CLOUDS_H_

#include <string>

#include "gateway/base/json_reader.h"
#include "gateway/control/config.h"

namespace spicegate {

// What stands for a server's host in "servers.host_subject".
inline constexpr char kHostPlaceholder[] = "{host}";

// `host_subject` of a server at `host`.
std::string HostSubjectFor(const std::string& host_subject,
                           const std::string& host);

// Reads the key "clouds" of the whole configuration, an array of
//
//   {"name": N, "kind": "nova", "paths": [...], "hosts": [...],
//    "keystone": {"url": U, "ca_file": F,
//                 "user": N or "user_id": I, "user_domain": N or
//                 "user_domain_id": I, "password_file": F, "project": N or
//                 "project_id": I, "project_domain": N or
//                 "project_domain_id": I}
//             or {"url": U, "ca_file": F, "application_credential":
//                   {"id": I or ("name": N and a user as above),
//                    "secret_file": F}},
//    "compute": {"endpoint": U, or "interface": W and "region": N,
//                "ca_file": F},
//    "servers": {"require_secure": B, "ca_file": F, "host_subject": S},
//    "title": T, "policy": P, "guard": G}
//   {"name": N, "kind": "http", "url": U, "ca_file": F, "bearer_file": F,
//    and all of the above but keystone and compute}
//
// Needs the portal, the policies and the guard's mode. Files are named as seen
// from `file_name`.
void ReadClouds(JsonObjectReader& root, const std::string& file_name,
                Config* out);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_CONFIG_CLOUDS_H_
