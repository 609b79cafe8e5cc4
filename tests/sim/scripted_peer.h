// SPDX-License-Identifier: Apache-2.0
//
// A viewer or a hypervisor as the relay sees one: bytes to say, a way to
// leave, and manners. All of it is decided before the run starts.
#ifndef SPICEGATE_TESTS_SIM_SCRIPTED_PEER_H_
#define SPICEGATE_TESTS_SIM_SCRIPTED_PEER_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "gateway/io/sim_network.h"

namespace spicegate {

struct PeerScript {
  // How it leaves, once it has said `leave_after_bytes` of `text`.
  enum class Leave : uint8_t {
    kFin,    // half-closes, then reads to the end
    kClose,  // closes without looking at what comes
    kReset,
    kNever,  // stays; on the other side's FIN see `follows`
  };

  std::string text;
  Leave leave = Leave::kFin;
  size_t leave_after_bytes = 0;
  // Says FIN itself once the other side's has come.
  bool follows = true;
  // Reads no more after this many bytes, for good.
  size_t stall_after_bytes = std::numeric_limits<size_t>::max();
  // How often it does anything in a turn, and how much at most.
  double eagerness = 0.5;
  size_t max_piece_bytes = 1000;
  // The text by turns: so much of it as fast as it goes, then so much in small
  // pieces of at most kMaxTrickleBytes. 0: all of it as fast as it goes.
  size_t burst_bytes = 0;
  size_t trickle_bytes = 0;
};

inline constexpr size_t kMaxTrickleBytes = 600;

class ScriptedPeer {
 public:
  ScriptedPeer(PeerScript script, SimPeer peer)
      : script_(std::move(script)), peer_(std::move(peer)) {}

  // One turn. True when anything was read, written or ended.
  bool Step(SimRandom* random);

  // Reads what is left; for the end of a run.
  void Drain();

  const PeerScript& script() const { return script_; }
  const SimPeer& peer() const { return peer_; }
  const std::string& received() const { return received_; }
  size_t num_said() const { return num_said_; }
  // It has left, or begun to: from then on nothing is owed to it.
  bool left() const { return left_; }
  // How the other side ended, as far as this peer has read.
  bool saw_fin() const { return saw_fin_; }
  bool saw_reset() const { return saw_reset_; }

 private:
  bool Read(SimRandom* random);
  bool Say(SimRandom* random);
  // How much to say at once, by where it is between burst and trickle.
  size_t NextPiece(SimRandom* random) const;
  bool LeaveIfDue();
  bool TakeIn(std::span<uint8_t> piece);

  const PeerScript script_;
  SimPeer peer_;
  std::string received_;
  size_t num_said_ = 0;
  bool left_ = false;
  bool saw_fin_ = false;
  bool saw_reset_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_SIM_SCRIPTED_PEER_H_
