// SPDX-License-Identifier: Apache-2.0
//
// A viewer or a hypervisor on a real connection: says a pattern, checks the
// other one, never waits. It does what the test says and nothing else.
#ifndef SPICEGATE_TESTS_RELAY_RELAY_PEER_H_
#define SPICEGATE_TESTS_RELAY_RELAY_PEER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gateway/io/leg.h"

namespace spicegate {

class RelayPeer {
 public:
  // How the other side ended, as far as this peer has read.
  enum class Saw : uint8_t { kOpen, kFin, kReset };

  // The seeds name the patterns (tests/peer/traffic.h).
  RelayPeer(Leg leg, uint64_t said_seed, uint64_t heard_seed)
      : leg_(std::move(leg)), said_seed_(said_seed), heard_seed_(heard_seed) {}

  // One write of the next `len` bytes, or of what is left of the write before;
  // `len` counts only when nothing is. Returns the bytes taken.
  size_t Say(size_t len);
  // Writes until `total` bytes were said; true then.
  bool SayUpTo(uint64_t total, size_t write_bytes);
  // Nothing of a write is left.
  bool idle() const { return pending_start_ == pending_.size(); }
  // Reads at most `max_bytes`; returns how many.
  size_t Hear(size_t max_bytes);
  // Likewise up to a total; true when that many were heard.
  bool HearUpTo(uint64_t total);
  // Reads until nothing more is there; true when the end was behind it.
  bool HearEnd();

  void ShutdownWrite();
  void Close() { leg_.Release(Socket::End::kFin); }
  void Reset() { leg_.Release(Socket::End::kReset); }

  int fd() const { return leg_.socket->fd(); }
  uint64_t said() const { return said_; }
  uint64_t heard() const { return heard_; }
  // Every byte heard was the pattern's.
  bool exact() const { return exact_; }
  Saw saw() const { return saw_; }
  // Writing failed: the other side is gone.
  bool cut_off() const { return cut_off_; }

 private:
  Leg leg_;
  const uint64_t said_seed_;
  const uint64_t heard_seed_;
  std::vector<uint8_t> pending_;  // of a write that was not taken whole
  size_t pending_start_ = 0;
  uint64_t said_ = 0;
  uint64_t heard_ = 0;
  bool exact_ = true;
  bool cut_off_ = false;
  Saw saw_ = Saw::kOpen;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_RELAY_RELAY_PEER_H_
