// SPDX-License-Identifier: Apache-2.0
//
// IoDriver on io_uring. The ring is made and used by one thread
// (SINGLE_ISSUER, DEFER_TASKRUN where the kernel has them); completions are
// collected first and handed out afterwards, so handlers never recurse.
#ifndef SPICEGATE_GATEWAY_IO_URING_DRIVER_H_
#define SPICEGATE_GATEWAY_IO_URING_DRIVER_H_

#include <liburing.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/base/unique_fd.h"
#include "gateway/io/driver.h"

namespace spicegate {

struct UringOptions {
  unsigned submission_entries = 0;  // 0: kRingSubmissionEntries
  unsigned completion_entries = 0;  // 0: kRingCompletionEntries
  bool defer_taskrun = true;        // false: tests of the older way
};

class UringDriver final : public IoDriver {
 public:
  // Call on the thread that will use it. The status names the limit when the
  // kernel refuses (see probe.h).
  static absl::StatusOr<std::unique_ptr<UringDriver>> Create(
      const UringOptions& options = {});
  ~UringDriver() override;

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
  // A broken connection raises SIGPIPE here, which the process must ignore:
  // splice(2) has no flag against it.
  ssize_t SpliceIn(int fd, const Pipe& pipe, size_t max_bytes) override;
  ssize_t SpliceOut(const Pipe& pipe, int fd, size_t max_bytes) override;
  void Close(int fd, bool reset) override;

  int StartTls(int fd) override;
  int SetTlsKey(int fd, TlsDirection direction,
                std::span<const uint8_t> key) override;
  ssize_t RecvTlsRecord(int fd, std::span<uint8_t> out, uint8_t* type) override;
  ssize_t SendTlsRecord(int fd, uint8_t type,
                        std::span<const uint8_t> in) override;
  int64_t TcpBytesTaken(int fd) override;
  int64_t NextTlsRecord(int fd, size_t key_len) override;
  int ReadableWhenMore(int fd) override;

  void Wait(int64_t timeout_ms) override;
  bool Spin(int64_t spin_us) override;
  unsigned Dispatch() override;
  void Wake() override;
  int64_t NowMs() const override { return now_ms_; }
  size_t OpsInFlight() const override { return ops_in_flight_; }

  // Completions whose operation was no longer known. Stays 0.
  int64_t StaleCompletions() const { return stale_completions_; }

 private:
  struct Op {
    OpHandler* handler = nullptr;  // nullptr: the slot is free
    uint32_t tag = 0;
    uint32_t generation = 1;
  };
  struct Completion {
    uint64_t user_data;
    int32_t value;
    bool more;
  };

  UringDriver() = default;

  io_uring_sqe* NextSqe();
  OpId Start(io_uring_sqe* sqe, OpHandler* handler, uint32_t tag);
  void ArmWake();
  void Enter(int64_t timeout_ms);
  void LowerMarks();
  void Collect();
  // Something is to be collected, or will be once the kernel is entered.
  bool HasWork() const;
  // False for completions that are the driver's own.
  bool HandOut(const Completion& completion);

  io_uring ring_{};
  bool ring_made_ = false;
  UniqueFd wake_fd_;
  bool wake_armed_ = false;
  // Grows in pieces: two operations of each idle channel are in it.
  std::deque<Op> ops_;
  // Of connects that the kernel has not seen yet; it copies them then.
  std::deque<sockaddr_storage> addresses_;
  std::vector<uint32_t> free_ops_;
  std::vector<Completion> completions_;
  // Sockets that call nothing readable until their polls are submitted.
  std::vector<int> low_water_raised_;
  size_t ops_in_flight_ = 0;
  int64_t now_ms_ = 0;
  int64_t stale_completions_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_URING_DRIVER_H_
