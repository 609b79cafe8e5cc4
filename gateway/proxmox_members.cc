// SPDX-License-Identifier: Apache-2.0
#include "gateway/proxmox_members.h"

#include "gateway/base/ascii.h"
#include "gateway/base/json.h"
#include "gateway/console/host_patterns.h"

namespace spicegate {
namespace {

bool IsAddress(const JsonValue* value) {
  AddressBytes ignored;
  return value != nullptr && value->type() == JsonValue::Type::kString &&
         ParseHostAddress(value->AsString(), &ignored);
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ParseProxmoxMembers(
    const std::string& text) {
  const absl::StatusOr<JsonValue> root = ParseJson(text);
  if (!root.ok()) {
    return root.status();
  }
  std::map<std::string, std::string> addresses;
  if (root->type() != JsonValue::Type::kObject) {
    return absl::InvalidArgumentError("no JSON object");
  }
  const JsonValue* nodes = root->Find("nodelist");
  if (nodes == nullptr) {
    return addresses;
  }
  if (nodes->type() != JsonValue::Type::kObject) {
    return absl::InvalidArgumentError("\"nodelist\" is no object");
  }
  for (const auto& [name, node] : nodes->Members()) {
    const JsonValue* ip =
        node.type() == JsonValue::Type::kObject ? node.Find("ip") : nullptr;
    if (IsAddress(ip)) {
      addresses.emplace(AsciiLowered(name), ip->AsString());
    }
  }
  return addresses;
}

}  // namespace spicegate
