// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/nova_protocol.h"

#include <optional>

#include "absl/status/status.h"
#include "gateway/base/json.h"
#include "gateway/cloud/reply_fields.h"

namespace spicegate {
namespace {

constexpr ReplyText kInstance = {36, IsNovaToken};
constexpr ReplyText kHost = {253, IsReplyHost};

bool IsHexDigit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
         (c >= 'A' && c <= 'F');
}

}  // namespace

bool IsNovaToken(std::string_view token) {
  constexpr std::string_view kForm = "00000000-0000-0000-0000-000000000000";
  if (token.size() != kForm.size()) {
    return false;
  }
  for (size_t i = 0; i < kForm.size(); ++i) {
    if (kForm[i] == '-' ? token[i] != '-' : !IsHexDigit(token[i])) {
      return false;
    }
  }
  return true;
}

HttpCall NovaCall(const std::string& compute_url, const std::string& token,
                  const Secret& service_token) {
  HttpCall call;
  call.url = compute_url + "/os-console-auth-tokens/" + token;
  call.headers = {{"Accept", "application/json"},
                  {"OpenStack-API-Version", "compute 2.99"},
                  {"X-Auth-Token", service_token.text()}};
  call.max_body_bytes = kMaxNovaReplyBytes;
  return call;
}

absl::StatusOr<CloudConsole> ParseNovaReply(const std::string& body) {
  const std::optional<JsonValue> root =
      ParseReplyObject(body, kMaxNovaReplyBytes);
  const JsonValue* object =
      root.has_value() ? Member(*root, "console", JsonValue::Type::kObject)
                       : nullptr;
  if (object == nullptr) {
    return ForeignReply("Nova's reply is not JSON with a console");
  }
  // Nova names no type. At 2.99 the key is there for spice-direct alone; its
  // value is null where the server has no TLS port.
  if (object->Find("tls_port") == nullptr) {
    return absl::NotFoundError("a token of another kind of console");
  }
  CloudConsole console;
  if (!TakeText(*object, "instance_uuid", kInstance, &console.id) ||
      console.id.empty()) {
    return BrokenReply("Nova's reply has no usable instance_uuid");
  }
  if (!TakeText(*object, "host", kHost, &console.host) ||
      console.host.empty()) {
    return BrokenReply("Nova's reply has no usable host");
  }
  if (!TakePort(*object, "port", &console.port) ||
      !TakePort(*object, "tls_port", &console.tls_port) ||
      (console.port == 0 && console.tls_port == 0)) {
    return BrokenReply("Nova's reply has no usable port");
  }
  return console;
}

bool IsNovaNotFound(const std::string& body) {
  const std::optional<JsonValue> root =
      ParseReplyObject(body, kMaxNovaReplyBytes);
  return root.has_value() &&
         Member(*root, "itemNotFound", JsonValue::Type::kObject) != nullptr;
}

}  // namespace spicegate
