// SPDX-License-Identifier: Apache-2.0
//
// Reads configuration files and tells whether one has changed since.
#ifndef SPICEGATE_GATEWAY_CONSOLE_FILE_READER_H_
#define SPICEGATE_GATEWAY_CONSOLE_FILE_READER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace spicegate {

// Which file stood under a name, and in which state. Two equal stamps mean the
// same content, unless `fresh`.
struct FileStamp {
  bool exists = false;
  uint64_t device = 0;
  uint64_t inode = 0;
  int64_t size = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  // Read so soon after its last change that another change could have left
  // every time as it is: timestamps move in steps of the kernel's tick.
  bool fresh = false;

  bool SameFile(const FileStamp& other) const;
};

// The stamp of what `path` names now; exists is false for anything that cannot
// be looked at.
FileStamp StampOf(const std::string& path);

struct FileContent {
  std::string text;
  FileStamp stamp;  // of what was read
};

// Reads a regular file of at most `max_bytes`. Never blocks on a FIFO or a
// device. NotFound when there is none; other errors name the file and what is
// wrong: "FILE: cannot be read: Permission denied".
absl::StatusOr<FileContent> ReadFile(const std::string& path, size_t max_bytes);

// `name` as seen from the file `base`: itself when absolute, else inside the
// directory of `base`.
std::string ResolveBeside(const std::string& base, const std::string& name);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONSOLE_FILE_READER_H_
