// SPDX-License-Identifier: Apache-2.0
//
// The simulator's driver with a note of what is dialled and of the order in
// which that is ended again. Test code only.
#ifndef SPICEGATE_GATEWAY_SESSION_RECORDING_DRIVER_H_
#define SPICEGATE_GATEWAY_SESSION_RECORDING_DRIVER_H_

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "gateway/io/driver.h"

namespace spicegate {

class RecordingDriver final : public IoDriver {
 public:
  // `sim` outlives it.
  explicit RecordingDriver(IoDriver* sim) : sim_(sim) {}

  // The ports that were dialled, in that order.
  const std::vector<uint16_t>& dialled() const { return dialled_; }
  // Which of the dialled connections were ended by us (0: the first one), by
  // FIN or RST, in the order in which their servers see it.
  const std::vector<size_t>& ended() const { return ended_; }
  // The place of one of them in that order; behind all when it has not ended.
  size_t EndOf(size_t number) const {
    return static_cast<size_t>(std::find(ended_.begin(), ended_.end(), number) -
                               ended_.begin());
  }

  OpId Poll(int fd, Ready ready, OpHandler* handler, uint32_t tag) override {
    return sim_->Poll(fd, ready, handler, tag);
  }
  OpId Accept(int listen_fd, OpHandler* handler, uint32_t tag) override {
    return sim_->Accept(listen_fd, handler, tag);
  }
  OpId Connect(int fd, const sockaddr* address, socklen_t address_len,
               OpHandler* handler, uint32_t tag) override {
    number_of_[fd] = dialled_.size();
    dialled_.push_back(
        ntohs(reinterpret_cast<const sockaddr_in*>(address)->sin_port));
    return sim_->Connect(fd, address, address_len, handler, tag);
  }
  void Cancel(OpId op) override { sim_->Cancel(op); }
  int OpenSocket(int family) override { return sim_->OpenSocket(family); }
  ssize_t Recv(int fd, std::span<uint8_t> out) override {
    return sim_->Recv(fd, out);
  }
  ssize_t Send(int fd, std::span<const uint8_t> in) override {
    return sim_->Send(fd, in);
  }
  int ShutdownWrite(int fd) override {
    NoteEnd(fd);
    return sim_->ShutdownWrite(fd);
  }
  int OpenPipe(size_t size_bytes, Pipe* pipe) override {
    return sim_->OpenPipe(size_bytes, pipe);
  }
  void ClosePipe(Pipe* pipe) override { sim_->ClosePipe(pipe); }
  ssize_t SpliceIn(int fd, const Pipe& pipe, size_t max_bytes) override {
    return sim_->SpliceIn(fd, pipe, max_bytes);
  }
  ssize_t SpliceOut(const Pipe& pipe, int fd, size_t max_bytes) override {
    return sim_->SpliceOut(pipe, fd, max_bytes);
  }
  void Close(int fd, bool reset) override {
    NoteEnd(fd);
    sim_->Close(fd, reset);
  }
  void Wait(int64_t timeout_ms) override { sim_->Wait(timeout_ms); }
  bool Spin(int64_t spin_us) override { return sim_->Spin(spin_us); }
  unsigned Dispatch() override { return sim_->Dispatch(); }
  void Wake() override { sim_->Wake(); }
  int64_t NowMs() const override { return sim_->NowMs(); }
  size_t OpsInFlight() const override { return sim_->OpsInFlight(); }

 private:
  void NoteEnd(int fd) {
    const auto found = number_of_.find(fd);
    if (found != number_of_.end() && EndOf(found->second) == ended_.size()) {
      ended_.push_back(found->second);
    }
  }

  IoDriver* const sim_;
  std::map<int, size_t> number_of_;  // descriptors are never used twice
  std::vector<uint16_t> dialled_;
  std::vector<size_t> ended_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_RECORDING_DRIVER_H_
