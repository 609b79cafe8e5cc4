// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/file_directory.h"

#include <utility>

#include "absl/container/flat_hash_map.h"

namespace spicegate {

FileDirectory::FileDirectory(std::string path, const ConsoleDefaults& defaults,
                             PemCheck pem_check)
    : path_(std::move(path)),
      defaults_(defaults),
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
  if (!files_.MayHaveChanged()) {
    return Reload::kUnchanged;
  }
  const size_t hash_before = files_.content_hash();
  absl::StatusOr<std::shared_ptr<const ConsoleTable>> table = Read();
  if (files_.content_hash() == hash_before) {
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
  files_.Clear();
  const absl::StatusOr<std::string> text =
      files_.Read(path_, kMaxConsolesFileBytes);
  present_ = !absl::IsNotFound(text.status());
  if (!text.ok()) {
    return text.status();
  }
  // Thousands of consoles may share one CA.
  absl::flat_hash_map<std::string, absl::StatusOr<std::string>> fetched;
  const FileFetch fetch = [&](const std::string& path) {
    auto found = fetched.find(path);
    if (found == fetched.end()) {
      found = fetched.emplace(path, files_.Read(path, kMaxCaBytes)).first;
    }
    return found->second;
  };
  return ParseConsoles(*text, path_, defaults_, fetch, pem_check_);
}

}  // namespace spicegate
