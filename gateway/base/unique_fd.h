// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_BASE_UNIQUE_FD_H_
#define SPICEGATE_GATEWAY_BASE_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace spicegate {

// Owns one file descriptor of the control path. Sockets of the data path
// belong to Socket, because closing those takes more than close(2).
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd() { Reset(); }
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    Reset(other.Release());
    return *this;
  }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1) {
    if (fd_ >= 0) {
      close(fd_);
    }
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_UNIQUE_FD_H_
