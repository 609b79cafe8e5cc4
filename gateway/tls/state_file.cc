// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/state_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "gateway/base/unique_fd.h"

namespace spicegate {
namespace {

absl::Status Failed(const std::string& path, int error) {
  const std::string text = path + ": " + std::strerror(error);
  return error == ENOENT ? absl::NotFoundError(text)
                         : absl::FailedPreconditionError(text);
}

// 0 or errno.
int WriteAndSync(int fd, const std::string& content) {
  size_t at = 0;
  while (at < content.size()) {
    const ssize_t n = write(fd, content.data() + at, content.size() - at);
    if (n < 0 && errno != EINTR) {
      return errno;
    }
    at += n > 0 ? static_cast<size_t>(n) : 0;
  }
  return fsync(fd) == 0 ? 0 : errno;
}

// Makes the rename itself survive. Not every file system can; that is no
// reason to fail, the content is safe either way.
void SyncDirectoryOf(const std::string& path) {
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  const UniqueFd fd(open(directory.empty() ? "." : directory.c_str(),
                         O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid()) {
    static_cast<void>(fsync(fd.get()));
  }
}

}  // namespace

absl::StatusOr<std::string> ReadStateFile(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    return Failed(path, errno);
  }
  std::string content(kMaxStateFileBytes, '\0');
  size_t len = 0;
  while (len < content.size()) {
    const ssize_t n = read(fd.get(), &content[len], content.size() - len);
    if (n == 0) {
      content.resize(len);
      return content;
    }
    if (n < 0 && errno != EINTR) {
      return Failed(path, errno);
    }
    len += n > 0 ? static_cast<size_t>(n) : 0;
  }
  return Failed(path, EFBIG);
}

absl::Status WriteStateFile(const std::string& path,
                            const std::string& content) {
  std::string temporary = path + ".XXXXXX";
  UniqueFd fd(mkostemp(temporary.data(), O_CLOEXEC));  // mode 0600
  if (!fd.valid()) {
    return absl::FailedPreconditionError(path + ": " + std::strerror(errno));
  }
  int error = WriteAndSync(fd.get(), content);
  fd.Reset();
  if (error == 0 && std::rename(temporary.c_str(), path.c_str()) != 0) {
    error = errno;
  }
  if (error != 0) {
    unlink(temporary.c_str());
    return absl::FailedPreconditionError(path + ": " + std::strerror(error));
  }
  SyncDirectoryOf(path);
  return absl::OkStatus();
}

}  // namespace spicegate
