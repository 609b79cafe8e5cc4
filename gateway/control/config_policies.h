// SPDX-License-Identifier: Apache-2.0
//
// The configuration's "policies".
#ifndef SPICEGATE_GATEWAY_CONTROL_CONFIG_POLICIES_H_
#define SPICEGATE_GATEWAY_CONTROL_CONFIG_POLICIES_H_

#include "gateway/base/json_reader.h"
#include "gateway/console/policy.h"

namespace spicegate {

// Reads the key "policies" of the whole configuration:
//
//   {"NAME": {"refuse_channels": ["usbredir", ...], "read_only": true,
//             "clipboard": "both" | "to_guest" | "from_guest" | "none",
//             "file_transfer": false}}
//
// Names are as consoles' (IsConsoleName). What is absent is allowed. Main,
// display, inputs and cursor cannot be refused: no viewer does without.
void ReadPolicies(JsonObjectReader& root, PolicySet* out);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_CONFIG_POLICIES_H_
