// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/pump.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/limits.h"

namespace spicegate {
namespace {

// Not ready, or memory is short for the moment: streams say -EAGAIN for both,
// splices tell them apart.
bool IsTransient(ssize_t error) {
  return error == -EAGAIN || error == -ENOBUFS || error == -ENOMEM;
}

}  // namespace

size_t Pump::Run(size_t quantum_bytes) {
  run_bytes_ = 0;
  due_ = false;
  Next next = Next::kGoOn;
  while (next == Next::kGoOn && state_ == State::kRunning) {
    if (run_bytes_ >= quantum_bytes) {
      due_ = true;
      owner()->OnPumpYielded(this);
      break;
    }
    next = Step();
  }
  return run_bytes_;
}

Pump::Next Pump::Step() {
  if (pipe_ != nullptr && pipe_->bytes > 0) {
    return SpliceOut();
  }
  if (!held_ && HasOutput()) {
    return filter_ == nullptr ? Write() : WriteFiltered();
  }
  if (!source_ended_) {
    if (drained_) {
      drained_ = false;
      return WaitFor(from(), Ready::kReadable);
    }
    return PreparePipe() ? SpliceIn() : Read();
  }
  return held_ || end_held_ ? Next::kWait : PassEnd();
}

bool Pump::HasOutput() const {
  return (buffer_ != nullptr && !buffer_->empty()) ||
         (filter_ != nullptr && filter_->HasInsert());
}

void Pump::set_filter(PumpFilter* filter) {
  filter_ = filter;
  if (buffer_ != nullptr) {
    buffer_->cleared = buffer_->end - buffer_->begin;  // read before it came
    buffer_->insert = {};
    buffer_->skip = 0;
  }
}

Pump::Next Pump::WriteFiltered() {
  if (buffer_ == nullptr) {
    buffer_ = context().buffers->Take();
  }
  if (buffer_->cleared > 0) {
    return Write();
  }
  return buffer_->insert.empty() ? Filter() : WriteInsert();
}

Pump::Next Pump::WriteInsert() {
  const ssize_t n = to()->stream->Write(buffer_->insert);
  if (n < 0) {
    return IsTransient(n) ? WaitFor(to(), Ready::kWritable)
                          : Fail(/*source=*/false, static_cast<int>(n));
  }
  buffer_->insert = buffer_->insert.subspan(static_cast<size_t>(n));
  Count(static_cast<size_t>(n), &context().counters->bytes_copied);
  return Next::kGoOn;
}

Pump::Next Pump::Filter() {
  buffer_->begin += std::exchange(buffer_->skip, 0);
  if (buffer_->begin == buffer_->end) {
    buffer_->begin = 0;
    buffer_->end = 0;
    if (!filter_->HasInsert()) {
      return Next::kGoOn;
    }
  }
  const size_t len = buffer_->end - buffer_->begin;
  const PumpFilter::Step step =
      filter_->Next({buffer_->bytes.data() + buffer_->begin, len});
  if (state_ != State::kRunning) {
    return Next::kOver;  // what the filter told its owner ended the channel
  }
  if (step.then == PumpFilter::Then::kRefuse) {
    Stop();
    owner()->OnPumpRefused(this);
    return Next::kOver;
  }
  DCHECK(step.pass + step.skip <= len);
  buffer_->cleared = step.pass;
  buffer_->insert = step.insert;
  buffer_->skip = step.skip;
  run_bytes_ += static_cast<uint32_t>(step.skip);  // work, though not moved
  const bool nothing = step.pass == 0 && step.insert.empty() && step.skip == 0;
  DCHECK(!nothing || step.then == PumpFilter::Then::kHold);
  held_ = nothing;  // what goes on before it goes first, and it is asked again
  return Next::kGoOn;
}

Pump::Next Pump::Write() {
  const size_t len =
      filter_ == nullptr ? buffer_->end - buffer_->begin : buffer_->cleared;
  const std::span<const uint8_t> in(buffer_->bytes.data() + buffer_->begin,
                                    len);
  const ssize_t n = to()->stream->Write(in);
  if (n < 0) {
    return IsTransient(n) ? WaitFor(to(), Ready::kWritable)
                          : Fail(/*source=*/false, static_cast<int>(n));
  }
  buffer_->begin += static_cast<size_t>(n);
  buffer_->cleared -= std::min(buffer_->cleared, static_cast<size_t>(n));
  Count(static_cast<size_t>(n), &context().counters->bytes_copied);
  if (buffer_->begin == buffer_->end) {
    buffer_->begin = 0;
    buffer_->end = 0;
  }
  return Next::kGoOn;
}

Pump::Next Pump::SpliceOut() {
  const ssize_t n = to()->stream->SpliceOut(pipe_->pipe, pipe_->bytes);
  if (n <= 0) {
    return IsTransient(n) ? WaitFor(to(), Ready::kWritable)
                          : Fail(/*source=*/false, static_cast<int>(n));
  }
  pipe_->bytes -= static_cast<size_t>(n);
  Count(static_cast<size_t>(n), &context().counters->bytes_spliced);
  return Next::kGoOn;
}

Pump::Next Pump::Read() {
  if (buffer_ == nullptr) {
    buffer_ = context().buffers->Take();
  }
  const std::span<uint8_t> out(buffer_->bytes.data() + buffer_->end,
                               buffer_->bytes.size() - buffer_->end);
  if (out.empty()) {
    return Next::kWait;  // held with a full buffer: goes on after Unhold
  }
  const ssize_t n = from()->stream->Read(out);
  if (n <= 0) {
    return NothingRead(n);
  }
  const size_t len = static_cast<size_t>(n);
  drained_ = len < out.size() && from()->stream->ShortReadDrains();
  buffer_->end += len;
  ChooseWay(len);
  if (inspecting_) {
    owner()->OnPumpBytes(this, out.first(len));
  }
  return Next::kGoOn;
}

bool Pump::PreparePipe() {
  const bool ask_recv = ask_recv_;
  ask_recv_ = false;
  if (!splicing_ || ask_recv || inspecting_ || filter_ != nullptr || held_) {
    return false;
  }
  if (pipe_ == nullptr) {
    pipe_ = context().pipes->Take();
  }
  if (pipe_ == nullptr) {
    splicing_ = false;  // tried again after the next large reads
    return false;
  }
  GiveBuffer();
  return true;
}

Pump::Next Pump::SpliceIn() {
  const ssize_t n =
      from()->stream->SpliceIn(pipe_->pipe, pipe_->pipe.capacity_bytes);
  if (n == -EINVAL) {
    cannot_splice_ = true;  // not this kind of socket, or not this kernel
    splicing_ = false;
    GivePipe();
    return Next::kGoOn;
  }
  const bool woken = woken_;
  woken_ = false;
  if (n == 0 || (n == -EAGAIN && woken)) {
    // Perhaps not true: splice(2) stops at an urgent byte for good, and calls
    // it the end once FIN is behind it. A read tells, and skips the byte.
    ask_recv_ = true;
    GivePipe();
    return Next::kGoOn;
  }
  if (n < 0) {
    return NothingRead(n);
  }
  pipe_->bytes = static_cast<size_t>(n);
  // What a pipe takes at once depends on how the bytes are cut into segments:
  // only few of them say that there were no more.
  drained_ = pipe_->bytes < kCopyBelowBytes;
  ChooseWay(pipe_->bytes);
  return Next::kGoOn;
}

Pump::Next Pump::NothingRead(ssize_t n) {
  if (n == 0) {
    GivePipe();
    source_ended_ = true;
    owner()->OnPumpSourceEnded(this);
    return Next::kGoOn;
  }
  return IsTransient(n) ? WaitFor(from(), Ready::kReadable)
                        : Fail(/*source=*/true, static_cast<int>(n));
}

void Pump::ChooseWay(size_t num_read) {
  const bool small = num_read < kCopyBelowBytes;
  const bool other_way = splicing_ ? small : num_read >= kSpliceFromBytes;
  if (!other_way) {
    // While copying only small reads speak against bulk: the rest of a lot that
    // did not fit the buffer does not.
    streak_ = splicing_ || small ? 0 : streak_;
    return;
  }
  ++streak_;
  if (streak_ < (splicing_ ? kSmallReadsToCopy : kLargeReadsToSplice)) {
    return;
  }
  streak_ = 0;
  splicing_ = !splicing_ && context().pipes != nullptr && !cannot_splice_ &&
              from()->stream->CanSpliceIn() && to()->stream->CanSpliceOut();
}

void Pump::Count(size_t num_written, Counter* way) {
  const int64_t n = static_cast<int64_t>(num_written);
  bytes_moved_ += n;
  run_bytes_ += static_cast<uint32_t>(num_written);
  pair_->moved[from_]->Add(n);
  way->Add(n);
}

Pump::Next Pump::PassEnd() {
  // Behind the last direction both legs are closed at once, which says the same
  // with a system call less.
  const bool close_follows =
      pair_->num_finished == 1 && to()->stream->CloseIsShutdown();
  const int error = close_follows ? 0 : to()->stream->ShutdownWrite();
  if (error == -EAGAIN) {
    return WaitFor(to(), Ready::kWritable);
  }
  if (error < 0) {
    return Fail(/*source=*/false, error);
  }
  state_ = State::kFinished;
  ++pair_->num_finished;
  GiveBuffer();
  owner()->OnPumpFinished(this);
  return Next::kOver;
}

Pump::Next Pump::Fail(bool source, int error) {
  Stop();
  owner()->OnPumpFailed(this, source, error);
  return Next::kOver;
}

Pump::Next Pump::WaitFor(Leg* leg, Ready ready) {
  if (buffer_ != nullptr && buffer_->empty()) {
    GiveBuffer();
  }
  if (pipe_ != nullptr && pipe_->bytes == 0) {
    GivePipe();
  }
  // After its handshake a stream waits for what it does: a read for input, a
  // write for room (renegotiation is refused).
  if (!leg->socket->waiting(ready)) {
    leg->socket->Wait(ready, this);
  }
  return Next::kWait;
}

void Pump::OnReady(Ready ready, int error) {
  if (error != 0) {
    Fail(/*source=*/ready == Ready::kReadable, error);
    return;
  }
  due_ = true;
  woken_ = ready == Ready::kReadable;
  owner()->OnPumpReady(this);
}

void Pump::CountEarlier(size_t num_bytes) {
  bytes_moved_ += static_cast<int64_t>(num_bytes);
  pair_->moved[from_]->Add(static_cast<int64_t>(num_bytes));
}

void Pump::Stop() {
  GiveBuffer();
  GivePipe();
  if (state_ != State::kRunning) {
    return;
  }
  state_ = State::kStopped;
  if (from()->socket != nullptr) {
    from()->socket->Forget(Ready::kReadable);
  }
  if (to()->socket != nullptr) {
    to()->socket->Forget(Ready::kWritable);
  }
}

void Pump::GiveBuffer() {
  if (buffer_ != nullptr) {
    context().buffers->Give(std::move(buffer_));
  }
}

void Pump::GivePipe() {
  if (pipe_ != nullptr) {
    context().pipes->Give(std::move(pipe_));
  }
}

}  // namespace spicegate
