// SPDX-License-Identifier: Apache-2.0
//
// Takes a JSON document apart strictly: every key is asked for with an
// expectation, and a key that nobody asked for is an error. The first error
// wins and names the path inside the document:
// "listeners[1].tls: expected true or false, got 1".
//
// Control thread only.
#ifndef SPICEGATE_GATEWAY_BASE_JSON_READER_H_
#define SPICEGATE_GATEWAY_BASE_JSON_READER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gateway/base/json.h"

namespace spicegate {

// Reads one object strictly. All readers of a document share one status: once
// it is an error every call does nothing, so the caller asks for everything in
// a row and looks at the status at the end.
//
//   absl::Status status;
//   JsonObjectReader reader(root, "", &status);
//   reader.Int("workers", 0, 256, &config.workers);
//   reader.Object("tls", [&](JsonObjectReader& tls) { ... });
//   reader.Finish();
//
// An absent key leaves `*out` as it was. `null` is a value like any other, and
// never what was expected.
class JsonObjectReader {
 public:
  // What a string is, for the error message and for its secrecy.
  struct Text {
    const char* expected;  // "a file name"
    size_t max_len;        // bytes
    // Asked when type and length are right; may be null.
    bool (*valid)(std::string_view) = nullptr;
    // Never shown in an error, not even when it has the wrong type.
    bool secret = false;
    bool may_be_empty = false;
  };

  // First and last of a range of TCP ports; both 1 to 65535, in that order.
  using PortRange = std::pair<uint16_t, uint16_t>;

  // `path` is where the object stands in the document, "" for the root.
  // `value`, `status` outlive the reader. If `value` is no object that is the
  // error.
  JsonObjectReader(const JsonValue& value, std::string path,
                   absl::Status* status);
  JsonObjectReader(const JsonObjectReader&) = delete;
  JsonObjectReader& operator=(const JsonObjectReader&) = delete;

  bool Has(std::string_view key) const;

  void Bool(const char* key, bool* out);
  void Int(const char* key, int64_t min, int64_t max, int64_t* out);
  // A TCP port from 1 to 65535.
  void Port(const char* key, uint16_t* out);
  // A port as above, or a range of them as a string, "5900-5999".
  void Ports(const char* key, PortRange* out);
  // An array of those; replaces what `*out` held.
  void PortRanges(const char* key, size_t min_items, size_t max_items,
                  std::vector<PortRange>* out);
  void String(const char* key, const Text& text, std::string* out);
  // An array of such strings; replaces what `*out` held.
  void Strings(const char* key, size_t min_items, size_t max_items,
               const Text& text, std::vector<std::string>* out);

  // Calls `read` with a reader of the object `key`, then finishes that.
  void Object(const char* key,
              const std::function<void(JsonObjectReader&)>& read);

  // The same for each object of the array `key`.
  void Objects(const char* key, size_t min_items, size_t max_items,
               const std::function<void(JsonObjectReader&)>& read);

  // The same for each member of the object `key`, whose keys are names that
  // the file's author chose.
  void Members(const char* key, size_t max_items, const Text& name,
               const std::function<void(const std::string& name,
                                        JsonObjectReader&)>& read);

  // An object whose members are strings, `name` and `value`, in the order of
  // the file; replaces what `*out` held.
  void StringMembers(const char* key, size_t max_items, const Text& name,
                     const Text& value,
                     std::vector<std::pair<std::string, std::string>>* out);

  // The key must be there.
  void Require(const char* key, const char* expected);

  // Records "PATH.key: expected EXPECTED"; with `key` "" about this object.
  void Fail(std::string_view key, const std::string& expected);

  // Reports the first key that nobody asked for. Call it last.
  void Finish();

  bool ok() const { return status_->ok(); }
  const std::string& path() const { return path_; }

 private:
  const JsonValue* Ask(const char* key);
  // The array `key`, or null when it is absent or, which is the error, no
  // array of so many `items`.
  const JsonValue* AskArray(const char* key, size_t min_items, size_t max_items,
                            const char* items);
  // The members of the object `key`, each key such a `name`; or null when it is
  // absent or, which is the error, something else.
  const std::vector<JsonValue::Member>* AskMembers(const char* key,
                                                   size_t max_items,
                                                   const Text& name);
  std::string PathOf(std::string_view key) const;
  void FailGot(std::string_view key, const std::string& expected,
               const JsonValue& got, bool secret);

  const JsonValue* object_;  // null when the value is no object
  const std::string path_;
  absl::Status* const status_;
  std::vector<const char*> asked_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_JSON_READER_H_
