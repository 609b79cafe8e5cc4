// SPDX-License-Identifier: Apache-2.0
//
// The real driver with shortages on demand, and a count of the pipes that go
// through it. What it does not disturb goes to the kernel unchanged.
#ifndef SPICEGATE_TESTS_RELAY_FAULTY_DRIVER_H_
#define SPICEGATE_TESTS_RELAY_FAULTY_DRIVER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

#include "gateway/io/driver.h"

namespace spicegate {

class FaultyDriver final : public IoDriver {
 public:
  // `real` outlives it.
  explicit FaultyDriver(IoDriver* real) : real_(real) {}

  // ---- Shortages. All are off at first.

  // Every `period`th call that moves bytes fails with `error` (a negated
  // errno) instead and moves nothing. 0: none.
  void FailTransfers(unsigned period, int error) {
    period_ = period;
    transfer_error_ = error;
  }
  // OpenPipe fails with this negated errno while it is not 0.
  void set_pipe_error(int error) { pipe_error_ = error; }
  // SpliceIn fails with this negated errno while it is not 0.
  void set_splice_error(int error) { splice_error_ = error; }

  // ---- What happened.

  size_t open_pipes() const { return bytes_in_pipe_.size(); }
  size_t most_open_pipes() const { return most_open_pipes_; }
  size_t smallest_pipe_bytes() const { return smallest_pipe_bytes_; }
  // The most that pipes ever held, all together.
  size_t most_piped_bytes() const { return most_piped_bytes_; }
  // Calls that failed because of the settings above.
  uint64_t num_faults() const { return num_faults_; }

  // ---- IoDriver.

  OpId Poll(int fd, Ready ready, OpHandler* handler, uint32_t tag) override {
    return real_->Poll(fd, ready, handler, tag);
  }
  OpId Accept(int listen_fd, OpHandler* handler, uint32_t tag) override {
    return real_->Accept(listen_fd, handler, tag);
  }
  OpId Connect(int fd, const sockaddr* address, socklen_t address_len,
               OpHandler* handler, uint32_t tag) override {
    return real_->Connect(fd, address, address_len, handler, tag);
  }
  void Cancel(OpId op) override { real_->Cancel(op); }
  int OpenSocket(int family) override { return real_->OpenSocket(family); }
  int ShutdownWrite(int fd) override { return real_->ShutdownWrite(fd); }
  void Close(int fd, bool reset) override { real_->Close(fd, reset); }
  void Wait(int64_t timeout_ms) override { real_->Wait(timeout_ms); }
  bool Spin(int64_t spin_us) override { return real_->Spin(spin_us); }
  unsigned Dispatch() override { return real_->Dispatch(); }
  void Wake() override { real_->Wake(); }
  int64_t NowMs() const override { return real_->NowMs(); }
  size_t OpsInFlight() const override { return real_->OpsInFlight(); }

  ssize_t Recv(int fd, std::span<uint8_t> out) override;
  ssize_t Send(int fd, std::span<const uint8_t> in) override;
  int OpenPipe(size_t size_bytes, Pipe* pipe) override;
  void ClosePipe(Pipe* pipe) override;
  ssize_t SpliceIn(int fd, const Pipe& pipe, size_t max_bytes) override;
  ssize_t SpliceOut(const Pipe& pipe, int fd, size_t max_bytes) override;

 private:
  // The error of this call, or 0.
  int NextFault();
  void NotePiped(const Pipe& pipe, ssize_t change);

  IoDriver* const real_;
  unsigned period_ = 0;
  int transfer_error_ = 0;
  int pipe_error_ = 0;
  int splice_error_ = 0;
  uint64_t num_transfers_ = 0;
  uint64_t num_faults_ = 0;
  std::map<int, size_t> bytes_in_pipe_;  // by read_fd
  size_t piped_bytes_ = 0;
  size_t most_open_pipes_ = 0;
  size_t most_piped_bytes_ = 0;
  size_t smallest_pipe_bytes_ = SIZE_MAX;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_RELAY_FAULTY_DRIVER_H_
