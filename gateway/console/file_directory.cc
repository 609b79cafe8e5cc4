// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/file_directory.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace spicegate {
namespace {

size_t Mix(size_t hash, std::string_view text) {
  // The golden ratio spreads the bits, as in every hash combination.
  return (hash ^ std::hash<std::string_view>()(text)) * 0x9e3779b97f4a7c15U;
}

}  // namespace

FileDirectory::FileDirectory(std::string path, PemCheck pem_check)
    : path_(std::move(path)),
      pem_check_(std::move(pem_check)),
      table_(std::make_shared<const ConsoleTable>()) {}

absl::Status FileDirectory::Load() {
  absl::StatusOr<std::shared_ptr<const ConsoleTable>> table = Read();
  error_ = absl::IsNotFound(table.status()) ? absl::OkStatus() : table.status();
  table_ =
      table.ok() ? *std::move(table) : std::make_shared<const ConsoleTable>();
  return error_;
}

FileDirectory::Reload FileDirectory::ReloadIfChanged() {
  if (!MayHaveChanged()) {
    return Reload::kUnchanged;
  }
  const size_t hash_before = content_hash_;
  absl::StatusOr<std::shared_ptr<const ConsoleTable>> table = Read();
  if (content_hash_ == hash_before) {
    return Reload::kUnchanged;
  }
  error_ = table.status();
  if (!table.ok()) {
    return Reload::kRefused;
  }
  table_ = *std::move(table);
  return Reload::kChanged;
}

absl::StatusOr<std::shared_ptr<const ConsoleTable>> FileDirectory::Read() {
  watched_.clear();
  content_hash_ = 0;
  const absl::StatusOr<std::string> text =
      ReadWatched(path_, kMaxConsolesFileBytes);
  present_ = !absl::IsNotFound(text.status());
  if (!text.ok()) {
    return text.status();
  }
  // Thousands of consoles may share one CA.
  absl::flat_hash_map<std::string, absl::StatusOr<std::string>> fetched;
  const FileFetch fetch = [&](const std::string& path) {
    auto found = fetched.find(path);
    if (found == fetched.end()) {
      found = fetched.emplace(path, ReadWatched(path, kMaxCaBytes)).first;
    }
    return found->second;
  };
  return ParseConsoles(*text, path_, fetch, pem_check_);
}

absl::StatusOr<std::string> FileDirectory::ReadWatched(const std::string& path,
                                                       size_t max_bytes) {
  // For a file that cannot be read; looked at before trying, so that what
  // makes it readable shows as a change.
  FileStamp stamp = StampOf(path);
  absl::StatusOr<FileContent> content = ReadFile(path, max_bytes);
  if (content.ok()) {
    stamp = content->stamp;
  }
  watched_.push_back({path, stamp});
  content_hash_ = Mix(content_hash_, path);
  if (!content.ok()) {
    content_hash_ = Mix(content_hash_, std::string(content.status().message()));
    return content.status();
  }
  content_hash_ = Mix(content_hash_, content->text);
  return std::move(content->text);
}

bool FileDirectory::MayHaveChanged() const {
  return std::any_of(watched_.begin(), watched_.end(),
                     [](const Watched& watched) {
                       return watched.stamp.fresh ||
                              !watched.stamp.SameFile(StampOf(watched.path));
                     });
}

}  // namespace spicegate
