// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/file_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "gateway/base/clock.h"
#include "gateway/base/unique_fd.h"

namespace spicegate {
namespace {

// Above one tick of any kernel (10 ms) and of coarse network file systems'
// caching of times.
constexpr int64_t kFreshMs = 1'000;

int64_t ToNs(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

FileStamp ToStamp(const struct stat& info) {
  FileStamp stamp;
  stamp.exists = true;
  stamp.device = info.st_dev;
  stamp.inode = info.st_ino;
  stamp.size = info.st_size;
  stamp.mtime_ns = ToNs(info.st_mtim);
  stamp.ctime_ns = ToNs(info.st_ctim);
  const int64_t age_ms = WallClockMs() - stamp.ctime_ns / 1'000'000;
  stamp.fresh = age_ms < kFreshMs;
  return stamp;
}

absl::Status ErrnoError(const std::string& path, int error) {
  const std::string text = path + ": cannot be read: " + strerrordesc_np(error);
  return error == ENOENT ? absl::NotFoundError(text)
                         : absl::FailedPreconditionError(text);
}

absl::Status TooLong(const std::string& path, size_t max_bytes) {
  return absl::InvalidArgumentError(path + ": expected at most " +
                                    std::to_string(max_bytes) + " bytes");
}

// Reads to the end; the size that fstat told is only a hint.
absl::Status ReadAll(int fd, const std::string& path, size_t max_bytes,
                     std::string* text) {
  char buffer[16 * 1024];
  while (true) {
    const ssize_t len = read(fd, buffer, sizeof(buffer));
    if (len == 0) {
      return absl::OkStatus();
    }
    if (len < 0 && errno != EINTR) {
      return ErrnoError(path, errno);
    }
    if (len > 0) {
      text->append(buffer, static_cast<size_t>(len));
    }
    if (text->size() > max_bytes) {
      return TooLong(path, max_bytes);
    }
  }
}

}  // namespace

bool FileStamp::SameFile(const FileStamp& other) const {
  return exists == other.exists && device == other.device &&
         inode == other.inode && size == other.size &&
         mtime_ns == other.mtime_ns && ctime_ns == other.ctime_ns;
}

FileStamp StampOf(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? ToStamp(info) : FileStamp{};
}

absl::StatusOr<FileContent> ReadFile(const std::string& path,
                                     size_t max_bytes) {
  const UniqueFd fd(
      open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (!fd.valid() || fstat(fd.get(), &info) != 0) {
    return ErrnoError(path, errno);
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(path + ": expected a regular file");
  }
  if (static_cast<size_t>(info.st_size) > max_bytes) {
    return TooLong(path, max_bytes);
  }
  FileContent content;
  // Before reading: a change meanwhile then shows as another stamp.
  content.stamp = ToStamp(info);
  content.text.reserve(static_cast<size_t>(info.st_size));
  const absl::Status status = ReadAll(fd.get(), path, max_bytes, &content.text);
  if (!status.ok()) {
    return status;
  }
  return content;
}

std::string ResolveBeside(const std::string& base, const std::string& name) {
  const size_t slash = base.rfind('/');
  if (name.empty() || name[0] == '/' || slash == std::string::npos) {
    return name;
  }
  return base.substr(0, slash + 1) + name;
}

}  // namespace spicegate
