// SPDX-License-Identifier: Apache-2.0
//
// The words of some enums of counters.h, in metric labels and in the log.
#ifndef SPICEGATE_GATEWAY_BASE_COUNTER_NAMES_H_
#define SPICEGATE_GATEWAY_BASE_COUNTER_NAMES_H_

#include <string_view>

#include "gateway/base/counters.h"

namespace spicegate {

// Static storage.
std::string_view GuardRuleName(GuardRule rule);
std::string_view PolicyDropName(PolicyDrop drop);
std::string_view MigrationKindName(MigrationKind kind);
std::string_view MigrationResultName(MigrationResult result);
// The three digits of HTTP's status: "200".
std::string_view ConnectStatusName(ConnectStatus status);
std::string_view ProxyHeaderName(ProxyHeaderOutcome outcome);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_COUNTER_NAMES_H_
