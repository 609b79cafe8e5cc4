// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/file_directory.h"

#include <utility>

#include "absl/container/flat_hash_map.h"

namespace spicegate {

FileDirectory::FileDirectory(std::string path, const ConsoleDefaults& defaults,
                             PemCheck pem_check, SocketList list_sockets)
    : path_(std::move(path)),
      defaults_(defaults),
      pem_check_(std::move(pem_check)),
      list_sockets_(std::move(list_sockets)),
      table_(std::make_shared<const ConsoleTable>()) {}

absl::Status FileDirectory::Load() {
  absl::StatusOr<ConsolesFile> file = Read();
  error_ = absl::IsNotFound(file.status()) ? absl::OkStatus() : file.status();
  file_ = file.ok() ? *std::move(file) : ConsolesFile();
  MakeTable(ListPatternSockets(file_.patterns, list_sockets_));
  return error_;
}

FileDirectory::Reload FileDirectory::ReloadIfChanged() {
  const Reload reload = ReloadFile();
  if (reload == Reload::kRefused) {
    return reload;
  }
  PatternSockets sockets = ListPatternSockets(file_.patterns, list_sockets_);
  if (reload == Reload::kUnchanged && sockets == sockets_) {
    return reload;
  }
  MakeTable(std::move(sockets));
  return Reload::kChanged;
}

FileDirectory::Reload FileDirectory::ReloadFile() {
  if (!files_.MayHaveChanged()) {
    return Reload::kUnchanged;
  }
  const size_t hash_before = files_.content_hash();
  absl::StatusOr<ConsolesFile> file = Read();
  if (files_.content_hash() == hash_before) {
    return Reload::kUnchanged;
  }
  error_ = file.status();
  if (!file.ok()) {
    return Reload::kRefused;
  }
  file_ = *std::move(file);
  return Reload::kChanged;
}

void FileDirectory::MakeTable(PatternSockets sockets) {
  sockets_ = std::move(sockets);
  if (!file_.patterns.empty()) {
    table_ = MakeConsoleTable(file_, sockets_);
    return;
  }
  // Nothing will come to these: one copy of 100 000 consoles is enough.
  table_ =
      std::make_shared<const ConsoleTable>(std::exchange(file_.consoles, {}));
}

absl::StatusOr<ConsolesFile> FileDirectory::Read() {
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
