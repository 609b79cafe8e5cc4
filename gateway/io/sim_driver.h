// SPDX-License-Identifier: Apache-2.0
//
// The simulator's IoDriver: no kernel, no waiting, no real clock. What happens
// and in which order follows from the network's seed, so that a failing run is
// repeated by its number. Held to driver_conformance_test.cc like the real
// driver, and stricter: breaking the contract of driver.h is a CHECK failure
// here where a kernel might forgive it.
//
// Test code only.
#ifndef SPICEGATE_GATEWAY_IO_SIM_DRIVER_H_
#define SPICEGATE_GATEWAY_IO_SIM_DRIVER_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "gateway/io/driver.h"
#include "gateway/io/sim_network.h"

namespace spicegate {

class SimDriver final : public IoDriver {
 public:
  // Several drivers may share a network, as workers share a host; they are
  // then run in turn by one thread. The network outlives them.
  explicit SimDriver(SimNetwork* network) : network_(network) {}
  SimDriver(const SimDriver&) = delete;
  SimDriver& operator=(const SimDriver&) = delete;
  ~SimDriver() override;

  OpId Poll(int fd, Ready ready, OpHandler* handler, uint32_t tag) override;
  OpId Accept(int listen_fd, OpHandler* handler, uint32_t tag) override;
  OpId Connect(int fd, const sockaddr* address, socklen_t address_len,
               OpHandler* handler, uint32_t tag) override;
  void Cancel(OpId op) override;

  int OpenSocket(int family) override;
  ssize_t Recv(int fd, std::span<uint8_t> out) override;
  ssize_t Send(int fd, std::span<const uint8_t> in) override;
  int ShutdownWrite(int fd) override;
  int OpenPipe(size_t size_bytes, Pipe* pipe) override;
  void ClosePipe(Pipe* pipe) override;
  ssize_t SpliceIn(int fd, const Pipe& pipe, size_t max_bytes) override;
  ssize_t SpliceOut(const Pipe& pipe, int fd, size_t max_bytes) override;
  void Close(int fd, bool reset) override;

  // Never sleeps: when nothing is there to hand out, the network's clock jumps
  // by the timeout. With -1 and nothing under way it returns 0 at once, since
  // only the caller could change that.
  void Wait(int64_t timeout_ms) override;
  bool Spin(int64_t) override { return false; }
  unsigned Dispatch() override;
  void Wake() override { woken_.store(true); }
  int64_t NowMs() const override { return network_->now_ms(); }
  size_t OpsInFlight() const override { return num_ops_; }

 private:
  enum class Kind : uint8_t { kFree, kPoll, kAccept, kConnect };

  struct Completion {
    uint64_t due_turn;
    OpResult result;
  };

  struct Op {
    Kind kind = Kind::kFree;
    uint32_t generation = 1;
    int fd = -1;
    OpHandler* handler = nullptr;
    uint32_t tag = 0;
    int wanted = 0;  // poll mask
    bool cancelled = false;
    bool stalled = false;  // a connect that is never answered
    bool ended = false;    // its last completion is queued
    std::string address;
    std::deque<Completion> completions;
  };

  OpId Start(Kind kind, int fd, OpHandler* handler, uint32_t tag);
  // What the kernel would do between two turns.
  void Progress();
  void ProgressPoll(Op* op);
  void ProgressAccept(Op* op);
  void ProgressConnect(Op* op);
  void Finish(Op* op, int32_t value);
  void Queue(Op* op, OpResult result);
  // Ends a cancelled operation that did not get to complete.
  bool CancelWins(Op* op, bool could_complete);
  // Turn of the earliest queued completion, or UINT64_MAX.
  uint64_t NextDueTurn() const;
  void Sleep(int64_t timeout_ms);
  std::vector<uint32_t> DueOps();
  unsigned HandOut(uint32_t slot);

  ssize_t Break(int fd);
  // The error that keeps bytes from moving this time, or 0.
  ssize_t Disturb(int fd, double error_probability);
  // How many of `asked` bytes move when `possible` could.
  size_t Shorten(size_t asked, size_t possible, double probability);
  bool Chance(double probability) {
    return network_->random()->Chance(probability);
  }
  const SimFaults& faults() const { return network_->options().faults; }

  SimNetwork* const network_;
  std::deque<Op> ops_;  // a deque: handlers start operations meanwhile
  std::vector<uint32_t> free_;
  size_t num_ops_ = 0;
  uint64_t turn_ = 0;
  std::atomic<bool> woken_{false};
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_SIM_DRIVER_H_
