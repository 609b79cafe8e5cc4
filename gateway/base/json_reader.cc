// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/json_reader.h"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

namespace spicegate {
namespace {

using PortRange = JsonObjectReader::PortRange;

constexpr char kExpectedPorts[] =
    "a port from 1 to 65535, or a range such as \"5900-5999\"";

// Longest value shown in an error.
constexpr size_t kMaxShownLen = 60;

const char* TypeName(JsonValue::Type type) {
  switch (type) {
    case JsonValue::Type::kNull:
      return "null";
    case JsonValue::Type::kBool:
      return "true or false";
    case JsonValue::Type::kInt:
    case JsonValue::Type::kDouble:
      return "a number";
    case JsonValue::Type::kString:
      return "a string";
    case JsonValue::Type::kArray:
      return "an array";
    case JsonValue::Type::kObject:
      return "an object";
  }
  return "nothing";
}

// Text from a file in an error message: one line, of bounded length.
std::string Quoted(std::string_view text) {
  if (text.size() > kMaxShownLen) {
    return "a string of " + std::to_string(text.size()) + " bytes";
  }
  std::string shown = "\"";
  for (const char c : text) {
    shown += (c >= 0 && c < 0x20) || c == 0x7f ? '?' : c;
  }
  return shown + '"';
}

std::string Shown(const JsonValue& value) {
  switch (value.type()) {
    case JsonValue::Type::kBool:
      return value.AsBool() ? "true" : "false";
    case JsonValue::Type::kInt:
      return std::to_string(value.AsInt());
    case JsonValue::Type::kString:
      return Quoted(value.AsString());
    default:
      return TypeName(value.type());
  }
}

std::string ShownSecret(const JsonValue& value) {
  return value.type() == JsonValue::Type::kString
             ? "one of " + std::to_string(value.AsString().size()) + " bytes"
             : TypeName(value.type());
}

bool AcceptsText(const JsonObjectReader::Text& text, const JsonValue& value) {
  if (value.type() != JsonValue::Type::kString) {
    return false;
  }
  const std::string& s = value.AsString();
  // C interfaces below would see the shorter string.
  const bool has_nul = s.find('\0') != std::string::npos;
  const bool fits =
      s.size() <= text.max_len && (!s.empty() || text.may_be_empty);
  return fits && !has_nul && (text.valid == nullptr || text.valid(s));
}

bool ParsePort(std::string_view text, uint16_t* out) {
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, *out);
  return error == std::errc() && stopped == end;
}

bool ParsePorts(const JsonValue& value, PortRange* out) {
  if (value.type() == JsonValue::Type::kInt) {
    const int64_t port = value.AsInt();
    out->first = out->second = static_cast<uint16_t>(port);
    return port >= 1 && port <= 65535;
  }
  if (value.type() != JsonValue::Type::kString) {
    return false;
  }
  const std::string_view text = value.AsString();
  const size_t dash = text.find('-');
  return dash != std::string_view::npos &&
         ParsePort(text.substr(0, dash), &out->first) &&
         ParsePort(text.substr(dash + 1), &out->second) && out->first != 0 &&
         out->first <= out->second;
}

std::string ItemOf(const char* key, size_t index) {
  return std::string(key) + "[" + std::to_string(index) + "]";
}

}  // namespace

JsonObjectReader::JsonObjectReader(const JsonValue& value, std::string path,
                                   absl::Status* status)
    : object_(value.type() == JsonValue::Type::kObject ? &value : nullptr),
      path_(std::move(path)),
      status_(status) {
  if (object_ == nullptr) {
    FailGot("", "an object", value, /*secret=*/false);
  }
}

bool JsonObjectReader::Has(std::string_view key) const {
  return object_ != nullptr && object_->Find(key) != nullptr;
}

void JsonObjectReader::Bool(const char* key, bool* out) {
  const JsonValue* value = Ask(key);
  if (value == nullptr) {
    return;
  }
  if (value->type() != JsonValue::Type::kBool) {
    return FailGot(key, "true or false", *value, /*secret=*/false);
  }
  *out = value->AsBool();
}

void JsonObjectReader::Int(const char* key, int64_t min, int64_t max,
                           int64_t* out) {
  const JsonValue* value = Ask(key);
  if (value == nullptr) {
    return;
  }
  if (value->type() != JsonValue::Type::kInt || value->AsInt() < min ||
      value->AsInt() > max) {
    return FailGot(key,
                   "a whole number from " + std::to_string(min) + " to " +
                       std::to_string(max),
                   *value, /*secret=*/false);
  }
  *out = value->AsInt();
}

void JsonObjectReader::Port(const char* key, uint16_t* out) {
  int64_t port = *out;
  Int(key, 1, 65535, &port);
  *out = static_cast<uint16_t>(port);
}

void JsonObjectReader::Ports(const char* key, PortRange* out) {
  const JsonValue* value = Ask(key);
  PortRange range;
  if (value == nullptr) {
    return;
  }
  if (!ParsePorts(*value, &range)) {
    return FailGot(key, kExpectedPorts, *value, /*secret=*/false);
  }
  *out = range;
}

void JsonObjectReader::PortRanges(const char* key, size_t min_items,
                                  size_t max_items,
                                  std::vector<PortRange>* out) {
  const JsonValue* value = AskArray(key, min_items, max_items, "ports");
  if (value == nullptr) {
    return;
  }
  out->clear();
  for (const JsonValue& item : value->Items()) {
    PortRange range;
    if (!ParsePorts(item, &range)) {
      return FailGot(ItemOf(key, out->size()), kExpectedPorts, item,
                     /*secret=*/false);
    }
    out->push_back(range);
  }
}

void JsonObjectReader::String(const char* key, const Text& text,
                              std::string* out) {
  const JsonValue* value = Ask(key);
  if (value == nullptr) {
    return;
  }
  if (!AcceptsText(text, *value)) {
    return FailGot(key, text.expected, *value, text.secret);
  }
  *out = value->AsString();
}

void JsonObjectReader::Strings(const char* key, size_t min_items,
                               size_t max_items, const Text& text,
                               std::vector<std::string>* out) {
  const JsonValue* value = AskArray(key, min_items, max_items, "strings");
  if (value == nullptr) {
    return;
  }
  out->clear();
  for (const JsonValue& item : value->Items()) {
    if (!AcceptsText(text, item)) {
      return FailGot(ItemOf(key, out->size()), text.expected, item,
                     text.secret);
    }
    out->push_back(item.AsString());
  }
}

void JsonObjectReader::Object(
    const char* key, const std::function<void(JsonObjectReader&)>& read) {
  const JsonValue* value = Ask(key);
  if (value == nullptr) {
    return;
  }
  JsonObjectReader reader(*value, PathOf(key), status_);
  read(reader);
  reader.Finish();
}

void JsonObjectReader::Objects(
    const char* key, size_t min_items, size_t max_items,
    const std::function<void(JsonObjectReader&)>& read) {
  const JsonValue* value = AskArray(key, min_items, max_items, "objects");
  if (value == nullptr) {
    return;
  }
  for (size_t i = 0; i < value->Items().size() && ok(); ++i) {
    JsonObjectReader reader(value->Items()[i], PathOf(ItemOf(key, i)), status_);
    read(reader);
    reader.Finish();
  }
}

void JsonObjectReader::Members(
    const char* key, size_t max_items, const Text& name,
    const std::function<void(const std::string&, JsonObjectReader&)>& read) {
  const auto* members = AskMembers(key, max_items, name);
  if (members == nullptr) {
    return;
  }
  for (const JsonValue::Member& member : *members) {
    JsonObjectReader reader(member.second, PathOf(key) + "." + member.first,
                            status_);
    read(member.first, reader);
    reader.Finish();
  }
}

void JsonObjectReader::StringMembers(
    const char* key, size_t max_items, const Text& name, const Text& value,
    std::vector<std::pair<std::string, std::string>>* out) {
  const auto* members = AskMembers(key, max_items, name);
  if (members == nullptr) {
    return;
  }
  out->clear();
  for (const JsonValue::Member& member : *members) {
    if (!AcceptsText(value, member.second)) {
      return FailGot(std::string(key) + "." + member.first, value.expected,
                     member.second, value.secret);
    }
    out->emplace_back(member.first, member.second.AsString());
  }
}

void JsonObjectReader::Require(const char* key, const char* expected) {
  if (ok() && !Has(key)) {
    Fail(key, std::string(expected) + ", got nothing");
  }
}

void JsonObjectReader::Fail(std::string_view key, const std::string& expected) {
  if (!ok()) {
    return;
  }
  const std::string path = PathOf(key);
  *status_ = absl::InvalidArgumentError((path.empty() ? "" : path + ": ") +
                                        "expected " + expected);
}

void JsonObjectReader::FailGot(std::string_view key,
                               const std::string& expected,
                               const JsonValue& got, bool secret) {
  Fail(key, expected + ", got " + (secret ? ShownSecret(got) : Shown(got)));
}

void JsonObjectReader::Finish() {
  if (!ok()) {
    return;
  }
  for (const JsonValue::Member& member : object_->Members()) {
    const auto asked = [&member](const char* key) {
      return member.first == key;
    };
    if (std::any_of(asked_.begin(), asked_.end(), asked)) {
      continue;
    }
    std::string known;
    for (const char* key : asked_) {
      known += (known.empty() ? "" : ", ") + std::string(key);
    }
    return Fail("",
                "one of the keys " + known + ", got " + Quoted(member.first));
  }
}

const JsonValue* JsonObjectReader::Ask(const char* key) {
  asked_.push_back(key);
  return ok() ? object_->Find(key) : nullptr;
}

const JsonValue* JsonObjectReader::AskArray(const char* key, size_t min_items,
                                            size_t max_items,
                                            const char* items) {
  const JsonValue* value = Ask(key);
  if (value == nullptr) {
    return nullptr;
  }
  const std::string expected = "an array of " + std::to_string(min_items) +
                               " to " + std::to_string(max_items) + " " + items;
  if (value->type() != JsonValue::Type::kArray) {
    FailGot(key, expected, *value, /*secret=*/false);
    return nullptr;
  }
  const size_t count = value->Items().size();
  if (count < min_items || count > max_items) {
    Fail(key, expected + ", got " + std::to_string(count));
    return nullptr;
  }
  return value;
}

const std::vector<JsonValue::Member>* JsonObjectReader::AskMembers(
    const char* key, size_t max_items, const Text& name) {
  const JsonValue* value = Ask(key);
  if (value == nullptr) {
    return nullptr;
  }
  if (value->type() != JsonValue::Type::kObject) {
    FailGot(key, "an object", *value, /*secret=*/false);
    return nullptr;
  }
  const std::vector<JsonValue::Member>& members = value->Members();
  if (members.size() > max_items) {
    Fail(key, "an object of at most " + std::to_string(max_items) +
                  " members, got " + std::to_string(members.size()));
    return nullptr;
  }
  for (const JsonValue::Member& member : members) {
    const JsonValue key_text = JsonValue::String(member.first);
    if (!AcceptsText(name, key_text)) {
      FailGot(key, std::string("each key ") + name.expected, key_text,
              name.secret);
      return nullptr;
    }
  }
  return &members;
}

std::string JsonObjectReader::PathOf(std::string_view key) const {
  const bool separate = !path_.empty() && !key.empty();
  return path_ + (separate ? "." : "") + std::string(key);
}

}  // namespace spicegate
