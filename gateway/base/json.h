// SPDX-License-Identifier: Apache-2.0
//
// JSON for files that people write: configuration and consoles. A document is
// read whole into a tree; json_reader.h takes that apart.
//
// Control thread only: it allocates, and a large file takes milliseconds.
#ifndef SPICEGATE_GATEWAY_BASE_JSON_H_
#define SPICEGATE_GATEWAY_BASE_JSON_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace spicegate {

// Objects and arrays inside each other. Our formats need 4.
inline constexpr size_t kMaxJsonDepth = 32;

// Longest document: a consoles file of 100 000 desktops, each with a CA.
inline constexpr size_t kMaxJsonBytes = 64 * 1024 * 1024;

// A value with everything below it. Copyable; holds no reference to the text.
class JsonValue {
 public:
  enum class Type : uint8_t {
    kNull,
    kBool,
    kInt,     // fits int64_t and was written without fraction and exponent
    kDouble,  // every other number
    kString,
    kArray,
    kObject,
  };
  using Member = std::pair<std::string, JsonValue>;

  JsonValue() = default;
  static JsonValue Bool(bool value);
  static JsonValue Int(int64_t value);
  static JsonValue Double(double value);
  static JsonValue String(std::string value);
  static JsonValue Array(std::vector<JsonValue> items);
  static JsonValue Object(std::vector<Member> members);

  Type type() const { return type_; }

  // Each of these is for its own type only (CHECK).
  bool AsBool() const;
  int64_t AsInt() const;
  double AsDouble() const;
  const std::string& AsString() const;  // valid UTF-8
  const std::vector<JsonValue>& Items() const;
  const std::vector<Member>& Members() const;  // in the order of the text

  // The member `key` of an object, or null. Linear: our objects are small.
  const JsonValue* Find(std::string_view key) const;

 private:
  Type type_ = Type::kNull;
  bool bool_ = false;
  int64_t int_ = 0;
  double double_ = 0;
  std::string string_;
  std::vector<JsonValue> items_;
  std::vector<Member> members_;
};

// Parses one document. InvalidArgument with a reason, and with "line L, column
// C: " in front where the place is known (columns count bytes). Errors: no
// JSON, not UTF-8, a key twice in an object, more than kMaxJsonDepth or
// kMaxJsonBytes.
absl::StatusOr<JsonValue> ParseJson(const std::string& text);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_JSON_H_
