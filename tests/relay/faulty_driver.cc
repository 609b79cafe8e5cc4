// SPDX-License-Identifier: Apache-2.0
#include "tests/relay/faulty_driver.h"

#include <algorithm>

#include "gateway/base/check.h"

namespace spicegate {

int FaultyDriver::NextFault() {
  if (period_ == 0 || ++num_transfers_ % period_ != 0) {
    return 0;
  }
  ++num_faults_;
  return transfer_error_;
}

ssize_t FaultyDriver::Recv(int fd, std::span<uint8_t> out) {
  const int error = NextFault();
  return error != 0 ? error : real_->Recv(fd, out);
}

ssize_t FaultyDriver::Send(int fd, std::span<const uint8_t> in) {
  const int error = NextFault();
  return error != 0 ? error : real_->Send(fd, in);
}

int FaultyDriver::OpenPipe(size_t size_bytes, Pipe* pipe) {
  if (pipe_error_ != 0) {
    ++num_faults_;
    return pipe_error_;
  }
  const int error = real_->OpenPipe(size_bytes, pipe);
  if (error == 0) {
    CHECK(bytes_in_pipe_.emplace(pipe->read_fd, 0).second);
    most_open_pipes_ = std::max(most_open_pipes_, open_pipes());
    smallest_pipe_bytes_ = std::min(smallest_pipe_bytes_, pipe->capacity_bytes);
  }
  return error;
}

void FaultyDriver::ClosePipe(Pipe* pipe) {
  const auto found = bytes_in_pipe_.find(pipe->read_fd);
  CHECK(found != bytes_in_pipe_.end());
  piped_bytes_ -= found->second;
  bytes_in_pipe_.erase(found);
  real_->ClosePipe(pipe);
}

ssize_t FaultyDriver::SpliceIn(int fd, const Pipe& pipe, size_t max_bytes) {
  if (splice_error_ != 0) {
    ++num_faults_;
    return splice_error_;
  }
  const int error = NextFault();
  const ssize_t n = error != 0 ? error : real_->SpliceIn(fd, pipe, max_bytes);
  NotePiped(pipe, std::max<ssize_t>(n, 0));
  return n;
}

ssize_t FaultyDriver::SpliceOut(const Pipe& pipe, int fd, size_t max_bytes) {
  const int error = NextFault();
  const ssize_t n = error != 0 ? error : real_->SpliceOut(pipe, fd, max_bytes);
  NotePiped(pipe, -std::max<ssize_t>(n, 0));
  return n;
}

void FaultyDriver::NotePiped(const Pipe& pipe, ssize_t change) {
  const auto found = bytes_in_pipe_.find(pipe.read_fd);
  CHECK(found != bytes_in_pipe_.end());
  found->second += static_cast<size_t>(change);
  piped_bytes_ += static_cast<size_t>(change);
  most_piped_bytes_ = std::max(most_piped_bytes_, piped_bytes_);
}

}  // namespace spicegate
