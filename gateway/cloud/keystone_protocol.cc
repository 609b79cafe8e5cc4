// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/keystone_protocol.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "gateway/base/json.h"
#include "gateway/base/log.h"
#include "gateway/cloud/reply_fields.h"

namespace spicegate {
namespace {

// Longer than any deployer sets; keeps sums of times small.
constexpr int64_t kLongestLifeS = 30 * 24 * 3600;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsVisible(char c) { return c > 0x20 && c < 0x7f; }

// `"key":"value"`
std::string JsonMember(const char* key, const std::string& value) {
  std::string text = "\"" + std::string(key) + "\":";
  AppendJsonString(value, &text);
  return text;
}

// `"domain":{...}` by id or name; both empty: the domain that is always there.
std::string Domain(const std::string& name, const std::string& id) {
  if (!name.empty()) {
    return "\"domain\":{" + JsonMember("name", name) + "}";
  }
  return "\"domain\":{" + JsonMember("id", id.empty() ? "default" : id) + "}";
}

// By id, or by name in a domain.
std::string Owned(const std::string& name, const std::string& id,
                  const std::string& domain) {
  return name.empty() ? JsonMember("id", id)
                      : JsonMember("name", name) + "," + domain;
}

std::string User(const KeystoneConfig& config) {
  return Owned(config.user, config.user_id,
               Domain(config.user_domain, config.user_domain_id));
}

// Appends the secret without leaving another copy of it behind.
void AppendSecret(const char* key, const Secret& secret, std::string* out) {
  constexpr size_t kLongestEscape = 6;
  constexpr size_t kAround = 8 * 1024;  // names of the configuration
  out->reserve(out->size() + secret.text().size() * kLongestEscape + kAround);
  *out += "\"" + std::string(key) + "\":";
  AppendJsonString(secret.text(), out);
}

std::string PasswordBody(const KeystoneConfig& config, const Secret& secret) {
  const std::string scope =
      Owned(config.project, config.project_id,
            Domain(config.project_domain, config.project_domain_id));
  std::string body =
      R"({"auth":{"identity":{"methods":["password"],"password":{"user":{)" +
      User(config) + ",";
  AppendSecret("password", secret, &body);
  body += R"(}}},"scope":{"project":{)";
  body += scope;
  body += "}}}}";
  return body;
}

std::string CredentialBody(const KeystoneConfig& config, const Secret& secret) {
  std::string body =
      R"({"auth":{"identity":{"methods":["application_credential"],)"
      R"("application_credential":{)";
  if (config.credential_id.empty()) {
    body += JsonMember("name", config.credential_name) + ",\"user\":{" +
            User(config) + "},";
  } else {
    body += JsonMember("id", config.credential_id) + ",";
  }
  AppendSecret("secret", secret, &body);
  body += "}}}}";
  return body;
}

// The number of `len` digits at `at`, or -1.
int Number(std::string_view text, size_t at, size_t len) {
  const std::string_view digits = text.substr(at, len);
  if (!std::all_of(digits.begin(), digits.end(), IsDigit)) {
    return -1;
  }
  int number = 0;
  for (const char c : digits) {
    number = number * 10 + (c - '0');
  }
  return number;
}

// "", or '.' and digits.
bool IsFraction(std::string_view text) {
  return text.empty() ||
         (text.size() >= 2 && text.size() <= 10 && text[0] == '.' &&
          std::all_of(text.begin() + 1, text.end(), IsDigit));
}

bool IsTokenText(const std::string* token) {
  return token != nullptr && !token->empty() &&
         token->size() <= kMaxKeystoneTokenLen &&
         std::all_of(token->begin(), token->end(), IsVisible);
}

// Something that can be called, and behind which a path can be put.
bool IsEndpoint(std::string_view url) {
  return url.size() <= kMaxEndpointLen &&
         (url.starts_with("http://") || url.starts_with("https://")) &&
         std::all_of(url.begin(), url.end(), IsVisible) &&
         url.find_first_of("?#@\\\"<>") == std::string_view::npos;
}

std::string WithoutSlash(std::string url) {
  while (url.ends_with('/')) {
    url.pop_back();
  }
  return url;
}

bool HasText(const JsonValue& object, const char* key,
             const std::string& wanted) {
  const JsonValue* text = Member(object, key, JsonValue::Type::kString);
  return text != nullptr && text->AsString() == wanted;
}

bool IsWanted(const JsonValue& endpoint, const ComputeConfig& compute) {
  return HasText(endpoint, "interface", compute.interface) &&
         (compute.region.empty() ||
          HasText(endpoint, "region", compute.region) ||
          HasText(endpoint, "region_id", compute.region));
}

// The URL of the first endpoint of `service` that is wanted; empty: none is.
std::string FindEndpoint(const JsonValue& service,
                         const ComputeConfig& compute) {
  const JsonValue* endpoints =
      Member(service, "endpoints", JsonValue::Type::kArray);
  if (endpoints == nullptr || !HasText(service, "type", "compute")) {
    return "";
  }
  for (const JsonValue& endpoint : endpoints->Items()) {
    const JsonValue* url = Member(endpoint, "url", JsonValue::Type::kString);
    if (url != nullptr && IsWanted(endpoint, compute) &&
        IsEndpoint(url->AsString())) {
      return WithoutSlash(url->AsString());
    }
  }
  return "";
}

absl::StatusOr<std::string> ComputeUrl(const JsonValue& token,
                                       const ComputeConfig& compute) {
  if (!compute.endpoint.empty()) {
    return WithoutSlash(compute.endpoint);
  }
  const JsonValue* catalog = Member(token, "catalog", JsonValue::Type::kArray);
  if (catalog == nullptr) {
    return BrokenReply("Keystone's reply has no catalog");
  }
  for (const JsonValue& service : catalog->Items()) {
    std::string url = FindEndpoint(service, compute);
    if (!url.empty()) {
      return url;
    }
  }
  return absl::NotFoundError(
      "Keystone's catalog has no usable endpoint of type compute with that "
      "interface and region");
}

bool TakeTime(const JsonValue& token, const char* key, int64_t* unix_s) {
  const JsonValue* text = Member(token, key, JsonValue::Type::kString);
  return text != nullptr && ParseKeystoneTime(text->AsString(), unix_s);
}

}  // namespace

std::string KeystoneAuthUrl(const KeystoneConfig& config, bool catalog) {
  std::string url = WithoutSlash(config.url);
  if (!url.ends_with("/v3")) {
    url += "/v3";
  }
  url += "/auth/tokens";
  return catalog ? url : url + "?nocatalog";
}

std::string KeystoneAuthBody(const KeystoneConfig& config,
                             const Secret& secret) {
  return config.credential ? CredentialBody(config, secret)
                           : PasswordBody(config, secret);
}

bool ParseKeystoneTime(std::string_view text, int64_t* unix_s) {
  constexpr std::string_view kForm = "0000-00-00T00:00:00";
  if (text.size() <= kForm.size() || text.back() != 'Z' ||
      !IsFraction(text.substr(kForm.size(), text.size() - kForm.size() - 1))) {
    return false;
  }
  for (size_t i = 0; i < kForm.size(); ++i) {
    if (kForm[i] != '0' && text[i] != kForm[i]) {
      return false;
    }
  }
  const int hour = Number(text, 11, 2);
  const int minute = Number(text, 14, 2);
  const int second = Number(text, 17, 2);
  const int year = Number(text, 0, 4);
  const int month = Number(text, 5, 2);
  const int day = Number(text, 8, 2);
  // A leap second is a second.
  if (year < 1970 || month < 1 || day < 1 || hour < 0 || hour > 23 ||
      minute < 0 || minute > 59 || second < 0 || second > 60) {
    return false;
  }
  const std::chrono::year_month_day date(
      std::chrono::year{year}, std::chrono::month(static_cast<unsigned>(month)),
      std::chrono::day(static_cast<unsigned>(day)));
  if (!date.ok()) {
    return false;
  }
  const int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  *unix_s = days * 86'400 + hour * 3600 + minute * 60 + second;
  return true;
}

bool IsKeystoneError(const std::string& body) {
  const std::optional<JsonValue> root =
      ParseReplyObject(body, kMaxKeystoneReplyBytes);
  return root.has_value() &&
         Member(*root, "error", JsonValue::Type::kObject) != nullptr;
}

absl::StatusOr<KeystoneToken> ParseKeystoneReply(
    const std::string* subject_token, const std::string& body,
    const ComputeConfig& compute, int64_t wall_s) {
  if (!IsTokenText(subject_token)) {
    return BrokenReply("Keystone's reply has no usable X-Subject-Token");
  }
  const std::optional<JsonValue> root =
      ParseReplyObject(body, kMaxKeystoneReplyBytes);
  const JsonValue* token =
      root.has_value() ? Member(*root, "token", JsonValue::Type::kObject)
                       : nullptr;
  if (token == nullptr) {
    return BrokenReply("Keystone's reply is not JSON with a token");
  }
  KeystoneToken result;
  int64_t issued_unix_s = wall_s;
  if (!TakeTime(*token, "expires_at", &result.expires_unix_s)) {
    return BrokenReply("Keystone's reply does not say when the token expires");
  }
  TakeTime(*token, "issued_at", &issued_unix_s);
  result.life_s =
      std::min(result.expires_unix_s - issued_unix_s, kLongestLifeS);
  if (result.life_s <= 0) {
    return BrokenReply("Keystone's token expired before it came");
  }
  absl::StatusOr<std::string> url = ComputeUrl(*token, compute);
  if (!url.ok()) {
    return url.status();
  }
  result.compute_url = *std::move(url);
  result.token = Secret(*subject_token);
  return result;
}

}  // namespace spicegate
