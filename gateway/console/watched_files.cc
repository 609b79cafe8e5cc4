// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/watched_files.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace spicegate {

void WatchedFiles::Clear() {
  watched_.clear();
  content_hash_ = 0;
}

absl::StatusOr<std::string> WatchedFiles::Read(const std::string& path,
                                               size_t max_bytes) {
  // For a file that cannot be read; looked at before trying, so that what
  // makes it readable shows as a change.
  FileStamp stamp = StampOf(path);
  absl::StatusOr<FileContent> content = ReadFile(path, max_bytes);
  if (content.ok()) {
    stamp = content->stamp;
  }
  watched_.push_back({path, stamp});
  Mix(path);
  if (!content.ok()) {
    Mix(std::string(content.status().message()));
    return content.status();
  }
  Mix(content->text);
  return std::move(content->text);
}

bool WatchedFiles::MayHaveChanged() const {
  return std::any_of(watched_.begin(), watched_.end(),
                     [](const Watched& watched) {
                       return watched.stamp.fresh ||
                              !watched.stamp.SameFile(StampOf(watched.path));
                     });
}

void WatchedFiles::Mix(std::string_view text) {
  // The golden ratio spreads the bits, as in every hash combination.
  content_hash_ = (content_hash_ ^ std::hash<std::string_view>()(text)) *
                  0x9e3779b97f4a7c15U;
}

}  // namespace spicegate
