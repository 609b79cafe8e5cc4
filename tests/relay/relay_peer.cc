// SPDX-License-Identifier: Apache-2.0
#include "tests/relay/relay_peer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "tests/peer/traffic.h"

namespace spicegate {

size_t RelayPeer::Say(size_t len) {
  if (!leg_ || cut_off_) {
    return 0;
  }
  if (idle()) {
    pending_.resize(len);
    pending_start_ = 0;
    FillPattern(said_seed_, said_, pending_);
  }
  const ssize_t n =
      leg_.stream->Write(std::span(pending_).subspan(pending_start_));
  if (n <= 0) {
    cut_off_ = n != -EAGAIN;
    if (n == -ECONNRESET) {
      saw_ = Saw::kReset;  // told once, to whoever asks first
    }
    return 0;
  }
  pending_start_ += static_cast<size_t>(n);
  said_ += static_cast<uint64_t>(n);
  return static_cast<size_t>(n);
}

bool RelayPeer::SayUpTo(uint64_t total, size_t write_bytes) {
  while (said_ < total) {
    const size_t len = std::min<uint64_t>(write_bytes, total - said_);
    if (Say(len) == 0) {
      return false;
    }
  }
  return true;
}

size_t RelayPeer::Hear(size_t max_bytes) {
  std::array<uint8_t, 64 * 1024> piece;
  size_t heard = 0;
  while (leg_ && saw_ == Saw::kOpen && heard < max_bytes) {
    const size_t most = std::min(piece.size(), max_bytes - heard);
    const ssize_t n = leg_.stream->Read(std::span(piece).first(most));
    if (n == -EAGAIN) {
      break;
    }
    if (n <= 0) {
      saw_ = n == 0 ? Saw::kFin : Saw::kReset;
      break;
    }
    const size_t len = static_cast<size_t>(n);
    exact_ &=
        MatchPattern(heard_seed_, heard_, std::span(piece).first(len)) == len;
    heard_ += len;
    heard += len;
  }
  return heard;
}

bool RelayPeer::HearUpTo(uint64_t total) {
  if (heard_ < total) {
    Hear(total - heard_);
  }
  return heard_ >= total;
}

bool RelayPeer::HearEnd() {
  Hear(SIZE_MAX);
  return saw_ != Saw::kOpen;
}

void RelayPeer::ShutdownWrite() {
  if (leg_) {
    leg_.stream->ShutdownWrite();
  }
}

}  // namespace spicegate
