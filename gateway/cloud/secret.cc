// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/secret.h"

#include <string.h>

#include <algorithm>

#include "absl/status/status.h"
#include "gateway/console/file_reader.h"

namespace spicegate {
namespace {

bool IsControl(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f;
}

}  // namespace

void WipeText(std::string* text) {
  // What a longer text left behind the end of this one goes too.
  text->resize(text->capacity());
  explicit_bzero(text->data(), text->size());
  text->clear();
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    WipeText(&text_);
    text_.swap(other.text_);
  }
  return *this;
}

absl::StatusOr<Secret> ReadSecretFile(const std::string& path) {
  absl::StatusOr<FileContent> file = ReadFile(path, kMaxSecretLen + 2);
  if (!file.ok()) {
    return file.status();
  }
  Secret whole(std::move(file->text));
  // Where the text is short the move has copied it.
  WipeText(&file->text);
  std::string_view line = whole.text();
  if (line.ends_with('\n')) {
    line.remove_suffix(line.ends_with("\r\n") ? 2 : 1);
  }
  if (line.empty() || line.size() > kMaxSecretLen ||
      std::any_of(line.begin(), line.end(), IsControl)) {
    return absl::FailedPreconditionError(path + ": expected one line of text");
  }
  return Secret(std::string(line));
}

}  // namespace spicegate
