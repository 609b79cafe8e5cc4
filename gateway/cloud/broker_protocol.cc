// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/broker_protocol.h"

#include <algorithm>
#include <optional>

#include "absl/status/status.h"
#include "gateway/base/json.h"
#include "gateway/base/log.h"
#include "gateway/cloud/cloud_config.h"
#include "gateway/cloud/reply_fields.h"
#include "gateway/console/console.h"

namespace spicegate {
namespace {

constexpr size_t kMinTokenLen = 8;
constexpr size_t kMaxTokenLen = 256;

bool IsTokenChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '~' || c == '-';
}

bool HasCertificate(std::string_view pem) {
  return pem.find("-----BEGIN CERTIFICATE-----") != std::string_view::npos;
}

bool IsSubject(std::string_view subject) {
  return IsPrintableText(subject) &&
         subject.find('=') != std::string_view::npos;
}

bool HasNoZero(std::string_view text) {
  return text.find('\0') == std::string_view::npos;
}

// With the cloud's name and a dot in front a console's name.
constexpr ReplyText kId = {kMaxConsoleNameLen - kMaxCloudNameLen - 1,
                           IsConsoleName};
constexpr ReplyText kTitle = {kMaxBrokerTitleLen, IsPrintableText};
constexpr ReplyText kHost = {253, IsReplyHost};
constexpr ReplyText kPassword = {kMaxServerTicketLen, HasNoZero};
constexpr ReplyText kCa = {kMaxBrokerCaBytes, HasCertificate};
constexpr ReplyText kSubject = {kMaxBrokerSubjectLen, IsSubject};
constexpr ReplyText kPolicy = {kMaxConsoleNameLen, IsConsoleName};

// What is wrong with the members that may be absent, or null.
const char* TakeExtras(const JsonValue& object, CloudConsole* console) {
  if (!TakeText(object, "title", kTitle, &console->title)) {
    return "the broker's reply has a title that is not one line of text";
  }
  if (!TakeText(object, "password", kPassword, &console->ticket)) {
    return "the broker's reply has a password that no SPICE server takes";
  }
  if (!TakeText(object, "ca", kCa, &console->ca_pem)) {
    return "the broker's reply has a ca without certificates in PEM";
  }
  if (!TakeText(object, "host_subject", kSubject, &console->host_subject)) {
    return "the broker's reply has a host_subject that is none";
  }
  if (!TakeText(object, "policy", kPolicy, &console->policy_name)) {
    return "the broker's reply has a policy that is no name";
  }
  return nullptr;
}

}  // namespace

bool IsBrokerToken(std::string_view token) {
  return token.size() >= kMinTokenLen && token.size() <= kMaxTokenLen &&
         std::all_of(token.begin(), token.end(), IsTokenChar);
}

HttpCall BrokerCall(const std::string& url, const std::string& token,
                    const Secret& bearer) {
  HttpCall call;
  call.method = "POST";
  call.url = url;
  call.headers = {{"Accept", "application/json"},
                  {"Content-Type", "application/json"}};
  if (!bearer.empty()) {
    call.headers.emplace_back("Authorization", "Bearer " + bearer.text());
  }
  call.body = R"({"token":)";
  AppendJsonString(token, &call.body);
  call.body += "}";
  call.max_body_bytes = kMaxBrokerReplyBytes;
  return call;
}

absl::StatusOr<CloudConsole> ParseBrokerReply(const std::string& body) {
  const std::optional<JsonValue> root =
      ParseReplyObject(body, kMaxBrokerReplyBytes);
  const JsonValue* object =
      root.has_value() ? Member(*root, "console", JsonValue::Type::kObject)
                       : nullptr;
  if (object == nullptr) {
    return ForeignReply("the broker's reply is not JSON with a console");
  }
  CloudConsole console;
  if (!TakeText(*object, "id", kId, &console.id) || console.id.empty()) {
    return BrokenReply("the broker's reply has no usable id");
  }
  if (!TakeText(*object, "host", kHost, &console.host) ||
      console.host.empty()) {
    return BrokenReply("the broker's reply has no usable host");
  }
  if (!TakePort(*object, "port", &console.port) ||
      !TakePort(*object, "tls_port", &console.tls_port) ||
      (console.port == 0 && console.tls_port == 0)) {
    return BrokenReply("the broker's reply has no usable port");
  }
  if (const char* wrong = TakeExtras(*object, &console)) {
    return BrokenReply(wrong);
  }
  return console;
}

}  // namespace spicegate
