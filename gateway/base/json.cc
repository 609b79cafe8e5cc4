// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/json.h"

#include <simdjson.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

namespace dom = simdjson::dom;
namespace ondemand = simdjson::ondemand;

// "line 3, column 7: " for an offset into the text; columns count bytes.
std::string PlaceOf(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return "line " + std::to_string(line) + ", column " +
         std::to_string(before.size() - line_start + 1) + ": ";
}

// simdjson's DOM parser does not say where it failed, its on-demand parser
// does. So a text that failed is walked once more, for the message only.
class ErrorFinder {
 public:
  explicit ErrorFinder(const std::string& text) : padded_(text) {}

  // Offset of the first error, or of the byte behind the string or word that
  // is wrong; nothing where the walk cannot tell.
  std::optional<size_t> Find() {
    if (parser_.iterate(padded_).get(document_) != simdjson::SUCCESS) {
      return std::nullopt;  // before any place: encoding, an open string
    }
    // Stops at the error. With no error in it the document has something
    // behind its end, which is where it stops then.
    WalkDocument();
    return Location();
  }

 private:
  using Error = simdjson::error_code;

  Error WalkDocument() {
    ondemand::value root;
    const Error error = document_.get_value().get(root);
    // A number or word alone has no parts to look at.
    return error != simdjson::SUCCESS ? error : WalkValue(root, 0);
  }

  Error WalkArray(ondemand::array array, size_t depth) {
    for (auto item : array) {
      ondemand::value value;
      Error error = item.get(value);
      if (error == simdjson::SUCCESS) {
        error = WalkValue(value, depth);
      }
      if (error != simdjson::SUCCESS) {
        return error;
      }
    }
    return simdjson::SUCCESS;
  }

  Error WalkObject(ondemand::object object, size_t depth) {
    for (simdjson::simdjson_result<ondemand::field> member : object) {
      ondemand::field field;
      Error error = std::move(member).get(field);
      if (error == simdjson::SUCCESS) {
        error = field.unescaped_key().error();
      }
      if (error == simdjson::SUCCESS) {
        error = WalkValue(field.value(), depth);
      }
      if (error != simdjson::SUCCESS) {
        return error;
      }
    }
    return simdjson::SUCCESS;
  }

  Error WalkValue(ondemand::value value, size_t depth) {
    if (depth >= kMaxJsonDepth) {
      return simdjson::DEPTH_ERROR;
    }
    ondemand::array array;
    ondemand::object object;
    ondemand::json_type type{};
    if (const Error error = value.type().get(type)) {
      return error;
    }
    // The type is a guess from the first byte; getting the value checks it.
    switch (type) {
      case ondemand::json_type::array: {
        const Error error = value.get_array().get(array);
        return error ? error : WalkArray(array, depth + 1);
      }
      case ondemand::json_type::object: {
        const Error error = value.get_object().get(object);
        return error ? error : WalkObject(object, depth + 1);
      }
      case ondemand::json_type::string:
        return value.get_string().error();
      case ondemand::json_type::number:
        return value.get_number().error();
      case ondemand::json_type::boolean:
        return value.get_bool().error();
      case ondemand::json_type::null:
        return value.is_null().error();
    }
    return simdjson::TAPE_ERROR;
  }

  std::optional<size_t> Location() {
    const char* at = nullptr;
    if (document_.current_location().get(at) != simdjson::SUCCESS) {
      return std::nullopt;
    }
    const ptrdiff_t offset = at - padded_.data();
    if (offset < 0 || static_cast<size_t>(offset) > padded_.size()) {
      return std::nullopt;
    }
    return static_cast<size_t>(offset);
  }

  const simdjson::padded_string padded_;
  ondemand::parser parser_;
  ondemand::document document_;
};

// The library's texts are written for its callers; these are for whoever
// wrote the file.
const char* Reason(simdjson::error_code code) {
  switch (code) {
    case simdjson::CAPACITY:
      return "the document is too long";
    case simdjson::DEPTH_ERROR:
      return "too many objects and arrays inside each other";
    case simdjson::UTF8_ERROR:
      return "not valid UTF-8";
    case simdjson::EMPTY:
      return "the document is empty";
    case simdjson::UNCLOSED_STRING:
      return "a string is not closed";
    case simdjson::UNESCAPED_CHARS:
      return "a line end or control character inside a string";
    case simdjson::STRING_ERROR:
      return "a string with a bad escape";
    case simdjson::NUMBER_ERROR:
      return "not a number as JSON writes them";
    case simdjson::T_ATOM_ERROR:
    case simdjson::F_ATOM_ERROR:
    case simdjson::N_ATOM_ERROR:
      return "expected true, false or null";
    case simdjson::MEMALLOC:
      return "out of memory";
    default:
      return "not valid JSON";
  }
}

absl::Status SyntaxError(const std::string& text, simdjson::error_code code) {
  if (code == simdjson::CAPACITY || code == simdjson::MEMALLOC) {
    return absl::InvalidArgumentError(Reason(code));
  }
  const std::optional<size_t> offset = ErrorFinder(text).Find();
  const std::string place = offset.has_value() ? PlaceOf(text, *offset) : "";
  return absl::InvalidArgumentError(place + Reason(code));
}

absl::StatusOr<JsonValue> Convert(dom::element element);

absl::StatusOr<JsonValue> ConvertArray(dom::array array) {
  std::vector<JsonValue> items;
  items.reserve(array.size());
  for (const dom::element element : array) {
    absl::StatusOr<JsonValue> item = Convert(element);
    if (!item.ok()) {
      return item;
    }
    items.push_back(*std::move(item));
  }
  return JsonValue::Array(std::move(items));
}

// The first key that stands twice, or null.
const std::string* FindDuplicate(const std::vector<JsonValue::Member>& list) {
  std::vector<const std::string*> keys;
  keys.reserve(list.size());
  for (const JsonValue::Member& member : list) {
    keys.push_back(&member.first);
  }
  std::sort(keys.begin(), keys.end(), [](auto* a, auto* b) { return *a < *b; });
  const auto twice = std::adjacent_find(
      keys.begin(), keys.end(), [](auto* a, auto* b) { return *a == *b; });
  return twice == keys.end() ? nullptr : *twice;
}

absl::StatusOr<JsonValue> ConvertObject(dom::object object) {
  std::vector<JsonValue::Member> members;
  members.reserve(object.size());
  for (const dom::key_value_pair pair : object) {
    absl::StatusOr<JsonValue> value = Convert(pair.value);
    if (!value.ok()) {
      return value;
    }
    members.emplace_back(std::string(pair.key), *std::move(value));
  }
  if (const std::string* key = FindDuplicate(members)) {
    return absl::InvalidArgumentError("the key \"" + *key +
                                      "\" stands twice in one object");
  }
  return JsonValue::Object(std::move(members));
}

// The getters below cannot fail: each is asked for the element's own type.
absl::StatusOr<JsonValue> Convert(dom::element element) {
  switch (element.type()) {
    case dom::element_type::ARRAY:
      return ConvertArray(element.get_array().value_unsafe());
    case dom::element_type::OBJECT:
      return ConvertObject(element.get_object().value_unsafe());
    case dom::element_type::INT64:
      return JsonValue::Int(element.get_int64().value_unsafe());
    case dom::element_type::UINT64:
    case dom::element_type::DOUBLE:
      return JsonValue::Double(element.get_double().value_unsafe());
    case dom::element_type::STRING:
      return JsonValue::String(
          std::string(element.get_string().value_unsafe()));
    case dom::element_type::BOOL:
      return JsonValue::Bool(element.get_bool().value_unsafe());
    case dom::element_type::NULL_VALUE:
      break;
  }
  return JsonValue();
}

}  // namespace

JsonValue JsonValue::Bool(bool value) {
  JsonValue result;
  result.type_ = Type::kBool;
  result.bool_ = value;
  return result;
}

JsonValue JsonValue::Int(int64_t value) {
  JsonValue result;
  result.type_ = Type::kInt;
  result.int_ = value;
  return result;
}

JsonValue JsonValue::Double(double value) {
  JsonValue result;
  result.type_ = Type::kDouble;
  result.double_ = value;
  return result;
}

JsonValue JsonValue::String(std::string value) {
  JsonValue result;
  result.type_ = Type::kString;
  result.string_ = std::move(value);
  return result;
}

JsonValue JsonValue::Array(std::vector<JsonValue> items) {
  JsonValue result;
  result.type_ = Type::kArray;
  result.items_ = std::move(items);
  return result;
}

JsonValue JsonValue::Object(std::vector<Member> members) {
  JsonValue result;
  result.type_ = Type::kObject;
  result.members_ = std::move(members);
  return result;
}

bool JsonValue::AsBool() const {
  CHECK(type_ == Type::kBool);
  return bool_;
}

int64_t JsonValue::AsInt() const {
  CHECK(type_ == Type::kInt);
  return int_;
}

double JsonValue::AsDouble() const {
  CHECK(type_ == Type::kDouble);
  return double_;
}

const std::string& JsonValue::AsString() const {
  CHECK(type_ == Type::kString);
  return string_;
}

const std::vector<JsonValue>& JsonValue::Items() const {
  CHECK(type_ == Type::kArray);
  return items_;
}

const std::vector<JsonValue::Member>& JsonValue::Members() const {
  CHECK(type_ == Type::kObject);
  return members_;
}

const JsonValue* JsonValue::Find(std::string_view key) const {
  for (const Member& member : Members()) {
    if (member.first == key) {
      return &member.second;
    }
  }
  return nullptr;
}

absl::StatusOr<JsonValue> ParseJson(const std::string& text) {
  if (text.size() > kMaxJsonBytes) {
    return SyntaxError(text, simdjson::CAPACITY);
  }
  dom::parser parser(kMaxJsonBytes);
  simdjson::error_code code = parser.allocate(text.size(), kMaxJsonDepth);
  dom::element root;
  if (code == simdjson::SUCCESS) {
    code = parser.parse(text).get(root);
  }
  if (code != simdjson::SUCCESS) {
    return SyntaxError(text, code);
  }
  return Convert(root);
}

}  // namespace spicegate
