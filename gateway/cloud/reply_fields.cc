// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/reply_fields.h"

#include <algorithm>
#include <utility>

#include "gateway/console/host_patterns.h"

namespace spicegate {
namespace {

constexpr size_t kMaxHostLen = 253;  // RFC 1035

// The member `key`, or null when it is absent or says that there is none.
const JsonValue* Given(const JsonValue& object, std::string_view key) {
  const JsonValue* value = object.Find(key);
  return value == nullptr || value->type() == JsonValue::Type::kNull ? nullptr
                                                                     : value;
}

}  // namespace

std::optional<JsonValue> ParseReplyObject(const std::string& body,
                                          size_t max_bytes) {
  if (body.size() > max_bytes) {
    return std::nullopt;
  }
  absl::StatusOr<JsonValue> root = ParseJson(body);
  if (!root.ok() || root->type() != JsonValue::Type::kObject) {
    return std::nullopt;
  }
  return *std::move(root);
}

const JsonValue* Member(const JsonValue& object, std::string_view key,
                        JsonValue::Type type) {
  if (object.type() != JsonValue::Type::kObject) {
    return nullptr;
  }
  const JsonValue* value = object.Find(key);
  return value != nullptr && value->type() == type ? value : nullptr;
}

bool TakeText(const JsonValue& object, std::string_view key,
              const ReplyText& text, std::string* out) {
  const JsonValue* value = Given(object, key);
  if (value == nullptr) {
    return true;
  }
  if (value->type() != JsonValue::Type::kString) {
    return false;
  }
  const std::string& string = value->AsString();
  if (string.empty()) {
    return true;
  }
  if (string.size() > text.max_len ||
      (text.valid != nullptr && !text.valid(string))) {
    return false;
  }
  *out = string;
  return true;
}

bool TakePort(const JsonValue& object, std::string_view key, uint16_t* out) {
  const JsonValue* value = Given(object, key);
  if (value == nullptr) {
    return true;
  }
  if (value->type() != JsonValue::Type::kInt) {
    return false;
  }
  const int64_t port = value->AsInt();
  if (port < -1 || port > UINT16_MAX) {
    return false;
  }
  if (port > 0) {
    *out = static_cast<uint16_t>(port);
  }
  return true;
}

bool IsReplyHost(std::string_view host) {
  AddressBytes address;
  std::string name;
  return host.size() <= kMaxHostLen &&
         (ParseHostAddress(host, &address) || ParseHostName(host, &name));
}

bool IsPrintableText(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7f;
  });
}

absl::Status BrokenReply(const char* what) {
  return absl::InvalidArgumentError(what);
}

absl::Status ForeignReply(const char* what) {
  return absl::DataLossError(what);
}

}  // namespace spicegate
