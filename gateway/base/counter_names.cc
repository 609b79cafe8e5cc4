// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/counter_names.h"

#include <array>

namespace spicegate {
namespace {

// In the order of their enums.
constexpr std::array<std::string_view, kNumGuardRules> kRules = {
    "message_type", "message_size",    "claimed_size",  "sub_list",
    "flush_mark",   "migrate_data",    "do_seamless",   "migrate_end",
    "display_init", "before_handover", "connection_id", "usb_packet"};
constexpr std::array<std::string_view, kNumPolicyDrops> kDrops = {
    "read_only", "clipboard", "file_transfer", "channel"};
constexpr std::array<std::string_view, kNumMigrationKinds> kKinds = {
    "seamless", "semi_seamless", "switch_host"};
constexpr std::array<std::string_view, kNumMigrationResults> kResults = {
    "completed", "failed", "cancelled"};
constexpr std::array<std::string_view, kNumConnectStatuses> kStatuses = {
    "200", "400", "403", "407", "431", "500",
    "501", "502", "503", "504", "505"};
constexpr std::array<std::string_view, kNumProxyHeaderOutcomes> kHeaders = {
    "v1", "v2", "local", "refused"};

}  // namespace

std::string_view GuardRuleName(GuardRule rule) {
  return kRules[static_cast<size_t>(rule)];
}

std::string_view PolicyDropName(PolicyDrop drop) {
  return kDrops[static_cast<size_t>(drop)];
}

std::string_view MigrationKindName(MigrationKind kind) {
  return kKinds[static_cast<size_t>(kind)];
}

std::string_view MigrationResultName(MigrationResult result) {
  return kResults[static_cast<size_t>(result)];
}

std::string_view ConnectStatusName(ConnectStatus status) {
  return kStatuses[static_cast<size_t>(status)];
}

std::string_view ProxyHeaderName(ProxyHeaderOutcome outcome) {
  return kHeaders[static_cast<size_t>(outcome)];
}

}  // namespace spicegate
