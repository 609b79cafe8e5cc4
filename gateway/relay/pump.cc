// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/pump.h"

#include <cerrno>
#include <utility>

#include "gateway/base/check.h"

namespace spicegate {

void Pump::Run() {
  turn_bytes_ = 0;
  yielded_ = false;
  while (state_ == State::kRunning) {
    if (turn_bytes_ >= kPumpQuantumBytes) {
      yielded_ = true;
      owner_->OnPumpYielded(this);
      return;
    }
    const bool in_hand = buffer_ != nullptr && !buffer_->empty();
    Next next = Next::kWait;
    if (in_hand && !held_) {
      next = Write();
    } else if (!source_ended_) {
      next = Read();
    } else if (!held_) {
      next = PassEnd();
    }
    if (next != Next::kGoOn) {
      return;
    }
  }
}

Pump::Next Pump::Write() {
  const std::span<const uint8_t> in(buffer_->bytes.data() + buffer_->begin,
                                    buffer_->end - buffer_->begin);
  const ssize_t n = to_->stream->Write(in);
  if (n == -EAGAIN) {
    WaitFor(to_, Ready::kWritable);
    return Next::kWait;
  }
  if (n < 0) {
    return Fail(/*source=*/false, static_cast<int>(n));
  }
  buffer_->begin += static_cast<size_t>(n);
  bytes_moved_ += n;
  turn_bytes_ += static_cast<size_t>(n);
  moved_->Add(n);
  if (buffer_->empty()) {
    buffer_->begin = 0;
    buffer_->end = 0;
  }
  return Next::kGoOn;
}

Pump::Next Pump::Read() {
  if (buffer_ == nullptr) {
    buffer_ = pool_->Take();
  }
  const std::span<uint8_t> out(buffer_->bytes.data() + buffer_->end,
                               buffer_->bytes.size() - buffer_->end);
  if (out.empty()) {
    return Next::kWait;  // held with a full buffer: Unhold goes on
  }
  const ssize_t n = from_->stream->Read(out);
  if (n == -EAGAIN) {
    if (buffer_->empty()) {
      GiveBuffer();
    }
    WaitFor(from_, Ready::kReadable);
    return Next::kWait;
  }
  if (n < 0) {
    return Fail(/*source=*/true, static_cast<int>(n));
  }
  if (n == 0) {
    source_ended_ = true;
    owner_->OnPumpSourceEnded(this);
    return Next::kGoOn;
  }
  buffer_->end += static_cast<size_t>(n);
  if (inspecting_) {
    owner_->OnPumpBytes(this, out.first(static_cast<size_t>(n)));
  }
  return Next::kGoOn;
}

Pump::Next Pump::PassEnd() {
  const int error = to_->stream->ShutdownWrite();
  if (error == -EAGAIN) {
    WaitFor(to_, Ready::kWritable);
    return Next::kWait;
  }
  if (error < 0) {
    return Fail(/*source=*/false, error);
  }
  state_ = State::kFinished;
  GiveBuffer();
  owner_->OnPumpFinished(this);
  return Next::kOver;
}

Pump::Next Pump::Fail(bool source, int error) {
  Stop();
  owner_->OnPumpFailed(this, source, error);
  return Next::kOver;
}

void Pump::WaitFor(Leg* leg, Ready ready) {
  // After its handshake a stream waits for what it does: a read for input, a
  // write for room (renegotiation is refused).
  if (!leg->socket->waiting(ready)) {
    leg->socket->Wait(ready, this);
  }
}

void Pump::OnReady(Ready ready, int error) {
  if (error != 0) {
    Fail(/*source=*/ready == Ready::kReadable, error);
    return;
  }
  Run();
}

void Pump::Unhold() {
  if (held_) {
    held_ = false;
    Run();
  }
}

void Pump::CountEarlier(size_t num_bytes) {
  bytes_moved_ += static_cast<int64_t>(num_bytes);
  moved_->Add(static_cast<int64_t>(num_bytes));
}

void Pump::Stop() {
  GiveBuffer();
  if (state_ != State::kRunning) {
    return;
  }
  state_ = State::kStopped;
  if (from_->socket != nullptr) {
    from_->socket->Forget(Ready::kReadable);
  }
  if (to_->socket != nullptr) {
    to_->socket->Forget(Ready::kWritable);
  }
}

void Pump::GiveBuffer() {
  if (buffer_ != nullptr) {
    pool_->Give(std::move(buffer_));
  }
}

}  // namespace spicegate
