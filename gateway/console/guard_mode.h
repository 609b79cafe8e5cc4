// SPDX-License-Identifier: Apache-2.0
//
// The guard's mode in the configuration and in a consoles file.
#ifndef SPICEGATE_GATEWAY_CONSOLE_GUARD_MODE_H_
#define SPICEGATE_GATEWAY_CONSOLE_GUARD_MODE_H_

#include "gateway/base/json_reader.h"
#include "gateway/console/policy.h"

namespace spicegate {

// Reads the key "guard": "enforce", "count" or "off". Absent: *out stays.
void ReadGuardMode(JsonObjectReader& reader, GuardMode* out);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONSOLE_GUARD_MODE_H_
