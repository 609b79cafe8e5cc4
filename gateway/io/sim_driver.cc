// SPDX-License-Identifier: Apache-2.0
#include "gateway/io/sim_driver.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr std::array kConnectErrors = {ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH,
                                       ENETUNREACH};
constexpr std::array kBreakErrors = {ECONNRESET, ETIMEDOUT, EHOSTUNREACH};

template <typename Array>
int PickError(SimRandom* random, const Array& errors) {
  return -errors[random->Below(errors.size())];
}

}  // namespace

SimDriver::~SimDriver() { CHECK(num_ops_ == 0); }

OpId SimDriver::Start(Kind kind, int fd, OpHandler* handler, uint32_t tag) {
  CHECK(handler != nullptr);
  network_->AddOps(fd, 1);
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(ops_.size()));
    ops_.emplace_back();
  }
  const uint32_t slot = free_.back();
  free_.pop_back();
  const uint32_t generation = ops_[slot].generation;
  Op op;
  op.kind = kind;
  op.generation = generation;
  op.fd = fd;
  op.handler = handler;
  op.tag = tag;
  ops_[slot] = std::move(op);
  ++num_ops_;
  return OpId{slot, generation};
}

OpId SimDriver::Poll(int fd, Ready ready, OpHandler* handler, uint32_t tag) {
  const OpId id = Start(Kind::kPoll, fd, handler, tag);
  ops_[id.slot].wanted =
      (ready == Ready::kReadable ? POLLIN : POLLOUT) | POLLERR | POLLHUP;
  return id;
}

OpId SimDriver::Accept(int listen_fd, OpHandler* handler, uint32_t tag) {
  return Start(Kind::kAccept, listen_fd, handler, tag);
}

OpId SimDriver::Connect(int fd, const sockaddr* address, socklen_t address_len,
                        OpHandler* handler, uint32_t tag) {
  const OpId id = Start(Kind::kConnect, fd, handler, tag);
  Op& op = ops_[id.slot];
  op.address.assign(reinterpret_cast<const char*>(address), address_len);
  op.stalled = Chance(faults().connect_stall);
  return id;
}

void SimDriver::Cancel(OpId id) {
  if (id.slot >= ops_.size() || ops_[id.slot].generation != id.generation ||
      ops_[id.slot].kind == Kind::kFree) {
    return;
  }
  ops_[id.slot].cancelled = true;
}

int SimDriver::OpenSocket(int) {
  return Chance(faults().open_error) ? -EMFILE : network_->Open();
}

ssize_t SimDriver::Break(int fd) {
  network_->Fail(fd);
  return PickError(network_->random(), kBreakErrors);
}

ssize_t SimDriver::Disturb(int fd, double error_probability) {
  if (!network_->connected(fd)) {
    return 0;
  }
  if (Chance(error_probability)) {
    return Break(fd);
  }
  if (Chance(faults().no_memory)) {
    return Chance(0.5) ? -ENOBUFS : -ENOMEM;
  }
  return Chance(faults().spurious_eagain) ? -EAGAIN : 0;
}

size_t SimDriver::Shorten(size_t asked, size_t possible, double probability) {
  if (possible <= 1 || !Chance(probability)) {
    return asked;
  }
  return 1 + network_->random()->Below(std::min(asked, possible));
}

ssize_t SimDriver::Recv(int fd, std::span<uint8_t> out) {
  const size_t readable = network_->Readable(fd);
  if (const ssize_t error = Disturb(fd, faults().recv_error)) {
    return error;
  }
  return network_->Recv(
      fd, out.first(Shorten(out.size(), readable, faults().partial_read)));
}

ssize_t SimDriver::Send(int fd, std::span<const uint8_t> in) {
  const size_t writable = network_->Writable(fd);
  if (const ssize_t error = Disturb(fd, faults().send_error)) {
    return error;
  }
  return network_->Send(
      fd, in.first(Shorten(in.size(), writable, faults().partial_write)));
}

int SimDriver::OpenPipe(size_t size_bytes, Pipe* pipe) {
  if (Chance(faults().pipe_error)) {
    return Chance(0.5) ? -EMFILE : -ENFILE;
  }
  if (Chance(faults().small_pipe)) {
    // From the two pages of an exhausted quota to a pipe's first size.
    const size_t pages = size_t{2} << network_->random()->Below(4);
    size_bytes = std::min(size_bytes, pages * SimPipes::kPageBytes);
  }
  *pipe = network_->OpenPipe(size_bytes);
  return 0;
}

void SimDriver::ClosePipe(Pipe* pipe) {
  network_->ClosePipe(*pipe);
  *pipe = Pipe{};
}

ssize_t SimDriver::SpliceIn(int fd, const Pipe& pipe, size_t max_bytes) {
  const size_t readable = network_->Readable(fd);
  if (network_->PipeIsFull(pipe)) {
    return -EAGAIN;
  }
  if (const ssize_t error = Disturb(fd, faults().recv_error)) {
    return error;
  }
  return network_->SpliceIn(
      fd, pipe, Shorten(max_bytes, readable, faults().partial_read));
}

ssize_t SimDriver::SpliceOut(const Pipe& pipe, int fd, size_t max_bytes) {
  const size_t writable = network_->Writable(fd);
  if (const ssize_t error = Disturb(fd, faults().send_error)) {
    return error;
  }
  return network_->SpliceOut(
      pipe, fd, Shorten(max_bytes, writable, faults().partial_write));
}

int SimDriver::ShutdownWrite(int fd) { return network_->ShutdownWrite(fd); }

void SimDriver::Close(int fd, bool reset) { network_->Close(fd, reset); }

void SimDriver::Queue(Op* op, OpResult result) {
  uint64_t due =
      turn_ + network_->random()->Below(uint64_t{faults().max_delay_turns} + 1);
  if (!op->completions.empty()) {
    // One operation's completions keep their order.
    due = std::max(due, op->completions.back().due_turn);
  }
  op->completions.push_back(Completion{due, result});
  op->ended = !result.more;
}

void SimDriver::Finish(Op* op, int32_t value) {
  Queue(op, OpResult{value, false});
}

bool SimDriver::CancelWins(Op* op, bool could_complete) {
  if (!op->cancelled || (could_complete && Chance(faults().cancel_loses))) {
    return false;
  }
  Finish(op, -ECANCELED);
  return true;
}

void SimDriver::ProgressPoll(Op* op) {
  const int ready = network_->PollMask(op->fd) & op->wanted;
  if (CancelWins(op, ready != 0)) {
    return;
  }
  if (ready != 0) {
    Finish(op, ready);
  } else if (Chance(faults().spurious_ready)) {
    Finish(op, op->wanted & (POLLIN | POLLOUT));
  }
}

void SimDriver::ProgressAccept(Op* op) {
  while ((network_->PollMask(op->fd) & POLLIN) != 0) {
    if (op->cancelled && !Chance(faults().cancel_loses)) {
      break;
    }
    if (Chance(faults().accept_error)) {
      if (Chance(0.25)) {
        network_->AbortOldest(op->fd);
        Finish(op, -ECONNABORTED);
      } else {
        Finish(op, Chance(0.5) ? -EMFILE : -ENFILE);
      }
      return;
    }
    Queue(op, OpResult{network_->Accept(op->fd), true});
  }
  CancelWins(op, /*could_complete=*/false);
}

void SimDriver::ProgressConnect(Op* op) {
  if (CancelWins(op, !op->stalled)) {
    if (Chance(0.5)) {
      // The handshake may have gone through all the same.
      network_->Connect(op->fd, op->address);
    }
    return;
  }
  if (op->stalled) {
    return;
  }
  if (Chance(faults().connect_error)) {
    Finish(op, PickError(network_->random(), kConnectErrors));
    return;
  }
  const int result = network_->Connect(op->fd, op->address);
  if (result != -EAGAIN) {
    Finish(op, result);
  } else {
    CancelWins(op, /*could_complete=*/false);
  }
}

void SimDriver::Progress() {
  for (Op& op : ops_) {
    if (op.kind == Kind::kFree || op.ended) {
      continue;
    }
    switch (op.kind) {
      case Kind::kPoll:
        ProgressPoll(&op);
        break;
      case Kind::kAccept:
        ProgressAccept(&op);
        break;
      case Kind::kConnect:
        ProgressConnect(&op);
        break;
      case Kind::kFree:
        break;
    }
  }
}

uint64_t SimDriver::NextDueTurn() const {
  uint64_t next = UINT64_MAX;
  for (const Op& op : ops_) {
    if (!op.completions.empty()) {
      next = std::min(next, op.completions.front().due_turn);
    }
  }
  return next;
}

void SimDriver::Sleep(int64_t timeout_ms) {
  // A turn that has to be waited for lasts a millisecond.
  const uint64_t next_turn = NextDueTurn();
  if (next_turn != UINT64_MAX &&
      (timeout_ms < 0 ||
       next_turn - turn_ <= static_cast<uint64_t>(timeout_ms))) {
    network_->AdvanceMs(static_cast<int64_t>(next_turn - turn_));
    turn_ = next_turn;
  } else if (timeout_ms > 0) {
    network_->AdvanceMs(timeout_ms);
    turn_ += static_cast<uint64_t>(timeout_ms);
  }
}

std::vector<uint32_t> SimDriver::DueOps() {
  std::vector<uint32_t> due;
  for (uint32_t slot = 0; slot < ops_.size(); ++slot) {
    const Op& op = ops_[slot];
    if (!op.completions.empty() && op.completions.front().due_turn <= turn_) {
      due.push_back(slot);
    }
  }
  for (size_t i = due.size(); i > 1; --i) {
    std::swap(due[i - 1], due[network_->random()->Below(i)]);
  }
  return due;
}

unsigned SimDriver::HandOut(uint32_t slot) {
  unsigned handed_out = 0;
  while (!ops_[slot].completions.empty() &&
         ops_[slot].completions.front().due_turn <= turn_) {
    Op& op = ops_[slot];
    const OpResult result = op.completions.front().result;
    op.completions.pop_front();
    OpHandler* const handler = op.handler;
    const uint32_t tag = op.tag;
    if (!result.more) {
      network_->AddOps(op.fd, -1);
      op.kind = Kind::kFree;
      op.generation = op.generation == UINT32_MAX ? 1 : op.generation + 1;
      free_.push_back(slot);
      --num_ops_;
    }
    ++handed_out;
    handler->OnOp(tag, result);
    if (!result.more) {
      break;  // the slot may have a new tenant by now
    }
  }
  return handed_out;
}

void SimDriver::Wait(int64_t timeout_ms) {
  ++turn_;
  Progress();
  if (!woken_.exchange(false) && NextDueTurn() > turn_) {
    Sleep(timeout_ms);
  }
}

unsigned SimDriver::Dispatch() {
  unsigned handed_out = 0;
  for (const uint32_t slot : DueOps()) {
    handed_out += HandOut(slot);
  }
  return handed_out;
}

}  // namespace spicegate
