// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/scripted_peer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

namespace spicegate {

bool ScriptedPeer::Step(SimRandom* random) {
  if (!peer_.open() || !random->Chance(script_.eagerness)) {
    return false;
  }
  const bool read = Read(random);
  const bool said = peer_.open() && Say(random);
  const bool left = peer_.open() && LeaveIfDue();
  return read || said || left;
}

bool ScriptedPeer::Read(SimRandom* random) {
  if (saw_fin_ || received_.size() >= script_.stall_after_bytes) {
    return false;
  }
  const size_t most =
      received_.size() + 1 + random->Below(script_.max_piece_bytes);
  std::array<uint8_t, 16 * 1024> piece;
  bool progress = false;
  while (received_.size() < most &&
         TakeIn(std::span(piece).first(
             std::min(piece.size(), most - received_.size())))) {
    progress = true;
    if (saw_fin_ || !peer_.open()) {
      break;
    }
  }
  return progress;
}

bool ScriptedPeer::TakeIn(std::span<uint8_t> piece) {
  const ssize_t n = peer_.Read(piece);
  if (n == -EAGAIN) {
    return false;
  }
  if (n > 0) {
    received_.append(reinterpret_cast<const char*>(piece.data()),
                     static_cast<size_t>(n));
  } else if (n == 0) {
    saw_fin_ = true;
  } else {
    saw_reset_ = true;
    left_ = true;
    peer_.Close();
  }
  return true;
}

size_t ScriptedPeer::NextPiece(SimRandom* random) const {
  if (script_.burst_bytes == 0) {
    return 1 + random->Below(script_.max_piece_bytes);
  }
  const size_t cycle = script_.burst_bytes + script_.trickle_bytes;
  const size_t at = num_said_ % cycle;
  return at < script_.burst_bytes ? script_.burst_bytes - at
                                  : 1 + random->Below(kMaxTrickleBytes);
}

bool ScriptedPeer::Say(SimRandom* random) {
  const size_t most = std::min(script_.text.size(), script_.leave_after_bytes);
  if (left_ || num_said_ >= most) {
    return false;
  }
  const size_t len = std::min(most - num_said_, NextPiece(random));
  const auto* data =
      reinterpret_cast<const uint8_t*>(script_.text.data()) + num_said_;
  const ssize_t n = peer_.Write({data, len});
  num_said_ += n > 0 ? static_cast<size_t>(n) : 0;
  return n > 0;
}

bool ScriptedPeer::LeaveIfDue() {
  const size_t most = std::min(script_.text.size(), script_.leave_after_bytes);
  if (left_) {
    if (saw_fin_) {
      peer_.Close();  // both directions are over
      return true;
    }
    return false;
  }
  const bool done = num_said_ >= most;
  switch (script_.leave) {
    case PeerScript::Leave::kNever:
      if (!saw_fin_ || !script_.follows) {
        return false;
      }
      break;
    case PeerScript::Leave::kFin:
      if (!done) {
        return false;
      }
      break;
    case PeerScript::Leave::kClose:
      left_ = done;
      if (done) {
        peer_.Close();
      }
      return done;
    case PeerScript::Leave::kReset:
      left_ = done;
      if (done) {
        peer_.Reset();
      }
      return done;
  }
  left_ = true;
  peer_.ShutdownWrite();
  return true;
}

void ScriptedPeer::Drain() {
  std::array<uint8_t, 4096> piece;
  while (peer_.open() && !saw_fin_ && TakeIn(piece)) {
  }
}

}  // namespace spicegate
