// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/uring_driver.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/clock.h"
#include "gateway/base/limits.h"
#include "gateway/io/tls_socket.h"

namespace spicegate {
namespace {

// user_data is slot (24 bits), generation (24 bits) and a kind (8 bits). Two
// kinds have no operation behind them.
constexpr uint64_t kKindOp = 0;
constexpr uint64_t kKindWake = 1;
constexpr uint64_t kKindCancel = 2;
constexpr uint32_t kFieldMask = (1u << 24) - 1;
constexpr size_t kMaxOps = size_t{1} << 24;
constexpr int kMaxSubmitAttempts = 10'000;
// Between two looks at the ring while spinning, about 0.1 us.
constexpr int kPausesPerLook = 4;

// Tells the core that this is a loop that waits.
void RelaxCpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

uint64_t UserData(uint32_t slot, uint32_t generation) {
  return (uint64_t{slot} << 40) | (uint64_t{generation} << 16) | kKindOp;
}

ssize_t Splice(int from, int to, size_t max_bytes) {
  for (;;) {
    const ssize_t n = splice(from, nullptr, to, nullptr, max_bytes,
                             SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n >= 0 || errno != EINTR) {
      return n >= 0 ? n : -errno;
    }
  }
}

int MakeRing(const UringOptions& options, io_uring* ring) {
  io_uring_params params{};
  params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  params.cq_entries = options.completion_entries != 0
                          ? options.completion_entries
                          : kRingCompletionEntries;
  const unsigned entries = options.submission_entries != 0
                               ? options.submission_entries
                               : kRingSubmissionEntries;
  if (options.defer_taskrun) {
    io_uring_params best = params;
    // TASKRUN_FLAG shows in memory that completions wait to be made.
    best.flags |= IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                  IORING_SETUP_TASKRUN_FLAG;
    if (io_uring_queue_init_params(entries, ring, &best) == 0) {
      return 0;
    }
  }
  return io_uring_queue_init_params(entries, ring, &params);
}

}  // namespace

absl::StatusOr<std::unique_ptr<UringDriver>> UringDriver::Create(
    const UringOptions& options) {
  auto driver = std::unique_ptr<UringDriver>(new UringDriver());
  if (const int error = MakeRing(options, &driver->ring_); error != 0) {
    return absl::UnavailableError(std::string("io_uring_setup: ") +
                                  std::strerror(-error));
  }
  driver->ring_made_ = true;
  // Spares each entry a look-up of the ring's descriptor. May be refused.
  io_uring_register_ring_fd(&driver->ring_);
  driver->wake_fd_.Reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!driver->wake_fd_.valid()) {
    return absl::ResourceExhaustedError(std::string("eventfd: ") +
                                        std::strerror(errno));
  }
  driver->now_ms_ = MonotonicMs();
  driver->completions_.reserve(kMaxCompletionsPerTurn);
  driver->ArmWake();
  return driver;
}

UringDriver::~UringDriver() {
  CHECK(ops_in_flight_ == 0);
  if (ring_made_) {
    io_uring_queue_exit(&ring_);
  }
}

io_uring_sqe* UringDriver::NextSqe() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  for (int attempt = 0; sqe == nullptr; ++attempt) {
    // Full: hand over what is queued. With the completion queue full as well
    // the kernel says -EBUSY until completions are taken. A ring that takes
    // nothing more can not even close its sockets.
    CHECK(attempt < kMaxSubmitAttempts);
    const int submitted = io_uring_submit(&ring_);
    if (submitted == -EBUSY || submitted == -EAGAIN) {
      Collect();
    }
    sqe = io_uring_get_sqe(&ring_);
  }
  return sqe;
}

OpId UringDriver::Start(io_uring_sqe* sqe, OpHandler* handler, uint32_t tag) {
  if (free_ops_.empty()) {
    CHECK(ops_.size() < kMaxOps);
    free_ops_.push_back(static_cast<uint32_t>(ops_.size()));
    ops_.emplace_back();
  }
  const uint32_t slot = free_ops_.back();
  free_ops_.pop_back();
  Op& op = ops_[slot];
  op.handler = handler;
  op.tag = tag;
  ++ops_in_flight_;
  io_uring_sqe_set_data64(sqe, UserData(slot, op.generation));
  return OpId{slot, op.generation};
}

OpId UringDriver::Poll(int fd, Ready ready, OpHandler* handler, uint32_t tag) {
  io_uring_sqe* sqe = NextSqe();
  const unsigned events =
      ready == Ready::kReadable ? POLLIN | POLLRDHUP : POLLOUT;
  io_uring_prep_poll_add(sqe, fd, events);
  return Start(sqe, handler, tag);
}

OpId UringDriver::Accept(int listen_fd, OpHandler* handler, uint32_t tag) {
  io_uring_sqe* sqe = NextSqe();
  io_uring_prep_multishot_accept(sqe, listen_fd, nullptr, nullptr,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);
  return Start(sqe, handler, tag);
}

OpId UringDriver::Connect(int fd, const sockaddr* address,
                          socklen_t address_len, OpHandler* handler,
                          uint32_t tag) {
  io_uring_sqe* sqe = NextSqe();
  sockaddr_storage* const copy = &addresses_.emplace_back();
  std::memcpy(copy, address, address_len);
  io_uring_prep_connect(sqe, fd, reinterpret_cast<sockaddr*>(copy),
                        address_len);
  return Start(sqe, handler, tag);
}

void UringDriver::Cancel(OpId op) {
  if (!op || op.slot >= ops_.size() || ops_[op.slot].handler == nullptr ||
      ops_[op.slot].generation != op.generation) {
    return;
  }
  io_uring_sqe* sqe = NextSqe();
  io_uring_prep_cancel64(sqe, UserData(op.slot, op.generation), 0);
  io_uring_sqe_set_data64(sqe, kKindCancel);
}

void UringDriver::ArmWake() {
  io_uring_sqe* sqe = NextSqe();
  io_uring_prep_poll_add(sqe, wake_fd_.get(), POLLIN);
  io_uring_sqe_set_data64(sqe, kKindWake);
  wake_armed_ = true;
}

void UringDriver::Wake() {
  const uint64_t one = 1;
  // Fails only when the counter is full, and then a wake-up is pending.
  const ssize_t n = write(wake_fd_.get(), &one, sizeof(one));
  static_cast<void>(n);
}

int UringDriver::OpenSocket(int family) {
  const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd >= 0 ? fd : -errno;
}

ssize_t UringDriver::Recv(int fd, std::span<uint8_t> out) {
  for (;;) {
    const ssize_t n = recv(fd, out.data(), out.size(), MSG_DONTWAIT);
    if (n >= 0 || errno != EINTR) {
      return n >= 0 ? n : -errno;
    }
  }
}

ssize_t UringDriver::Send(int fd, std::span<const uint8_t> in) {
  for (;;) {
    const ssize_t n =
        send(fd, in.data(), in.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0 || errno != EINTR) {
      return n >= 0 ? n : -errno;
    }
  }
}

int UringDriver::ShutdownWrite(int fd) {
  return shutdown(fd, SHUT_WR) == 0 ? 0 : -errno;
}

int UringDriver::OpenPipe(size_t size_bytes, Pipe* pipe) {
  int fds[2];
  if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) {
    return -errno;
  }
  pipe->read_fd = fds[0];
  pipe->write_fd = fds[1];
  // -EPERM beyond the quota (fs.pipe-user-pages-soft): it stays as it is.
  int capacity =
      fcntl(pipe->write_fd, F_SETPIPE_SZ, static_cast<int>(size_bytes));
  if (capacity < 0) {
    capacity = fcntl(pipe->write_fd, F_GETPIPE_SZ);
  }
  pipe->capacity_bytes = capacity < 0 ? 0 : static_cast<size_t>(capacity);
  return 0;
}

void UringDriver::ClosePipe(Pipe* pipe) {
  close(pipe->read_fd);
  close(pipe->write_fd);
  *pipe = Pipe{};
}

ssize_t UringDriver::SpliceIn(int fd, const Pipe& pipe, size_t max_bytes) {
  return Splice(fd, pipe.write_fd, max_bytes);
}

ssize_t UringDriver::SpliceOut(const Pipe& pipe, int fd, size_t max_bytes) {
  return Splice(pipe.read_fd, fd, max_bytes);
}

int UringDriver::StartTls(int fd) { return StartTlsOn(fd); }

int UringDriver::SetTlsKey(int fd, TlsDirection direction,
                           std::span<const uint8_t> key) {
  return SetTlsKeyOn(fd, direction, key);
}

ssize_t UringDriver::RecvTlsRecord(int fd, std::span<uint8_t> out,
                                   uint8_t* type) {
  return RecvTlsRecordFrom(fd, out, type);
}

ssize_t UringDriver::SendTlsRecord(int fd, uint8_t type,
                                   std::span<const uint8_t> in) {
  return SendTlsRecordTo(fd, type, in);
}

int64_t UringDriver::TcpBytesTaken(int fd) { return TcpBytesTakenBy(fd); }

int64_t UringDriver::NextTlsRecord(int fd, size_t key_len) {
  return NextTlsRecordOf(fd, key_len);
}

int UringDriver::ReadableWhenMore(int fd) {
  const int error = ReadableWhenMoreOn(fd);
  if (error == 0) {
    low_water_raised_.push_back(fd);
  }
  return error;
}

// A poll that is armed by now is woken by whole records alone. Were the mark
// left raised, and TLS took the part out of the socket's queue because memory
// is short, then nothing would wake it.
void UringDriver::LowerMarks() {
  if (low_water_raised_.empty()) {
    return;
  }
  io_uring_submit(&ring_);
  for (const int fd : low_water_raised_) {
    ReadableAsUsualOn(fd);  // harmless where it is another socket by now
  }
  low_water_raised_.clear();
}

void UringDriver::Close(int fd, bool reset) {
  if (reset) {
    const linger abort_now{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_now, sizeof(abort_now));
  }
  close(fd);
}

void UringDriver::Enter(int64_t timeout_ms) {
  LowerMarks();
  io_uring_cqe* cqe = nullptr;
  if (timeout_ms == 0) {
    // GETEVENTS even without waiting: with DEFER_TASKRUN completions stay
    // invisible until the kernel is entered for them.
    io_uring_submit_and_get_events(&ring_);
    return;
  }
  __kernel_timespec timeout{};
  timeout.tv_sec = timeout_ms / 1000;
  timeout.tv_nsec = (timeout_ms % 1000) * 1'000'000;
  // -ETIME and -EINTR are ordinary; -EBUSY asks for completions to be taken,
  // which happens next.
  io_uring_submit_and_wait_timeout(
      &ring_, &cqe, 1, timeout_ms < 0 ? nullptr : &timeout, nullptr);
}

void UringDriver::Collect() {
  unsigned head = 0;
  unsigned count = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    completions_.push_back(
        {cqe->user_data, cqe->res, (cqe->flags & IORING_CQE_F_MORE) != 0});
    if (++count == kMaxCompletionsPerTurn) {
      break;
    }
  }
  io_uring_cq_advance(&ring_, count);
}

void UringDriver::Wait(int64_t timeout_ms) {
  if (!wake_armed_) {
    ArmWake();
  }
  // What a full ring made us collect early is not in the ring any more.
  Enter(completions_.empty() ? timeout_ms : 0);
  if (io_uring_sq_ready(&ring_) == 0) {
    addresses_.clear();
  }
  now_ms_ = MonotonicMs();
}

bool UringDriver::HasWork() const {
  const unsigned flags = IO_URING_READ_ONCE(*ring_.sq.kflags);
  return !completions_.empty() || io_uring_cq_ready(&ring_) > 0 ||
         (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

bool UringDriver::Spin(int64_t spin_us) {
  if (!wake_armed_) {
    ArmWake();
  }
  Enter(0);
  const int64_t end_us = MonotonicUs() + spin_us;
  while (!HasWork()) {
    for (int i = 0; i < kPausesPerLook; ++i) {
      RelaxCpu();
    }
    if (MonotonicUs() >= end_us) {
      return HasWork();
    }
  }
  return true;
}

unsigned UringDriver::Dispatch() {
  Collect();
  // Handlers may add to completions_ (NextSqe on a full ring): those are
  // handed out in this turn too, hence the index.
  unsigned handed_out = 0;
  for (size_t i = 0; i < completions_.size(); ++i) {
    const Completion completion = completions_[i];
    handed_out += HandOut(completion) ? 1 : 0;
  }
  completions_.clear();
  return handed_out;
}

bool UringDriver::HandOut(const Completion& completion) {
  const uint64_t kind = completion.user_data & 0xff;
  if (kind == kKindCancel) {
    return false;
  }
  if (kind == kKindWake) {
    uint64_t count = 0;
    const ssize_t n = read(wake_fd_.get(), &count, sizeof(count));
    static_cast<void>(n);
    wake_armed_ = false;
    return false;
  }
  const uint32_t slot = static_cast<uint32_t>(completion.user_data >> 40);
  const uint32_t generation =
      static_cast<uint32_t>(completion.user_data >> 16) & kFieldMask;
  Op& op = ops_[slot];
  if (op.handler == nullptr || op.generation != generation) {
    ++stale_completions_;
    return false;
  }
  OpHandler* handler = op.handler;
  const uint32_t tag = op.tag;
  if (!completion.more) {
    op.handler = nullptr;
    op.generation = op.generation == kFieldMask ? 1 : op.generation + 1;
    free_ops_.push_back(slot);
    --ops_in_flight_;
  }
  handler->OnOp(tag, OpResult{completion.value, completion.more});
  return true;
}

}  // namespace spicegate
