// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_CONSOLE_WATCHED_FILES_H_
#define SPICEGATE_GATEWAY_CONSOLE_WATCHED_FILES_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/console/file_reader.h"

namespace spicegate {

// The files that something was loaded from, so that it can be loaded again
// once one of them is another file or has another content:
//
//   if (!files.MayHaveChanged()) return;
//   const size_t before = files.content_hash();
//   files.Clear();
//   ... files.Read(path, max_bytes) of each ...
//   if (files.content_hash() == before) return;  // touched, nothing more
//
// Control thread only: everything here looks at files.
class WatchedFiles {
 public:
  // Forgets all files; the hash is 0 again.
  void Clear();

  // As ReadFile, and remembers what the file was like. One that cannot be
  // read is remembered too: what makes it readable is a change.
  absl::StatusOr<std::string> Read(const std::string& path, size_t max_bytes);

  // Whether a file is not the one that was read, by device, inode, size and
  // times, or was so fresh then that those tell nothing.
  bool MayHaveChanged() const;

  // Of every name, byte and error since Clear, in order.
  size_t content_hash() const { return content_hash_; }

 private:
  struct Watched {
    std::string path;
    FileStamp stamp;
  };

  void Mix(std::string_view text);

  std::vector<Watched> watched_;
  size_t content_hash_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONSOLE_WATCHED_FILES_H_
