// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_CLOUD_SECRET_H_
#define SPICEGATE_GATEWAY_CLOUD_SECRET_H_

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace spicegate {

// Longest password, application credential's secret or bearer token that a
// file may hold.
inline constexpr size_t kMaxSecretLen = 4096;

// Overwrites `*text` and leaves it empty.
void WipeText(std::string* text);

// A text that is overwritten when it goes or another takes its place. Moved,
// never copied.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  Secret(Secret&& other) noexcept { text_.swap(other.text_); }
  Secret& operator=(Secret&& other) noexcept;
  ~Secret() { WipeText(&text_); }

  bool empty() const { return text_.empty(); }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// The one line of a file with a secret, without its end. Reads the file, which
// is short: control thread only. An error names the file and never its content.
absl::StatusOr<Secret> ReadSecretFile(const std::string& path);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_SECRET_H_
