// SPDX-License-Identifier: Apache-2.0
//
// Whose turn it is among the channels that have bytes to move. Time is cut into
// rounds: in one round every session with work moves up to kSessionRoundBytes,
// its urgent channels first, whatever the number of its channels. So a session
// of many floods gets what a session of one gets, and a display is not held up
// by its own user's USB stick.
//
// Works on handles alone; one thread.
#ifndef SPICEGATE_GATEWAY_SESSION_RUN_QUEUE_H_
#define SPICEGATE_GATEWAY_SESSION_RUN_QUEUE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "gateway/base/handle.h"
#include "gateway/relay/channel.h"

namespace spicegate {

// What a session has moved, up to the round it last had work in.
class RoundShare {
 private:
  friend class RunQueue;
  uint32_t round_ = 0;
  uint32_t bytes_ = 0;
};

class RunQueue {
 public:
  struct Entry {
    Handle channel;
    Urgency urgency = Urgency::kBulk;
  };

  // A channel has work. Once, until it is handed out by Next.
  void Add(Entry entry) { Queue(&queued_[IndexOf(entry)], entry); }
  // It was just handed out, has used up its share at once and has more: others
  // come first.
  void AddAgain(Entry entry) { Queue(&again_[IndexOf(entry)], entry); }

  // Whoever is next in this round; nothing when the round is over.
  std::optional<Entry> Next();

  // Asked for each entry that Next hands out: true when `share`'s session has
  // had its part of the round. The entry is kept for the next one then.
  bool Defer(Entry entry, const RoundShare& share);

  // That session has had its part of this round.
  bool IsSpent(const RoundShare& share) const;

  // `bytes` were moved for that session. What it moved beyond its part counts
  // against its next rounds.
  void Charge(RoundShare* share, size_t bytes) const;

  // Starts the next round with what was deferred, and behind that with what was
  // added again. Nothing may be left of the round before.
  void BeginRound();

  bool empty() const { return num_ == 0; }

 private:
  using Queues = std::array<std::deque<Entry>, kNumUrgencies>;

  static size_t IndexOf(Entry entry) {
    return static_cast<size_t>(entry.urgency);
  }
  // What of `share` falls into this round.
  size_t Owed(const RoundShare& share) const;
  void Queue(std::deque<Entry>* queue, Entry entry) {
    queue->push_back(entry);
    ++num_;
  }

  Queues queued_;    // this round
  Queues deferred_;  // the next one, first
  Queues again_;     // the next one, behind those
  size_t num_ = 0;
  uint32_t round_ = 1;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_RUN_QUEUE_H_
