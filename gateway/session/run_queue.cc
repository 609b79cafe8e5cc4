// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/run_queue.h"

#include <algorithm>

#include "gateway/base/limits.h"

namespace spicegate {
namespace {

// A debt beyond this is forgiven: many times what one turn can overdraw.
constexpr size_t kMostOwedBytes = size_t{1} << 30;

void Append(std::deque<RunQueue::Entry>* from,
            std::deque<RunQueue::Entry>* to) {
  to->insert(to->end(), from->begin(), from->end());
  from->clear();
}

}  // namespace

std::optional<RunQueue::Entry> RunQueue::Next() {
  for (std::deque<Entry>& queue : queued_) {
    if (!queue.empty()) {
      const Entry entry = queue.front();
      queue.pop_front();
      --num_;
      return entry;
    }
  }
  return std::nullopt;
}

bool RunQueue::Defer(Entry entry, const RoundShare& share) {
  if (!IsSpent(share)) {
    return false;
  }
  Queue(&deferred_[IndexOf(entry)], entry);
  return true;
}

bool RunQueue::IsSpent(const RoundShare& share) const {
  return Owed(share) >= kSessionRoundBytes;
}

size_t RunQueue::Owed(const RoundShare& share) const {
  const size_t num_rounds = round_ - share.round_;
  return num_rounds > share.bytes_ / kSessionRoundBytes
             ? 0
             : share.bytes_ - num_rounds * kSessionRoundBytes;
}

void RunQueue::Charge(RoundShare* share, size_t bytes) const {
  share->bytes_ = static_cast<uint32_t>(
      std::min(Owed(*share) + std::min(bytes, kMostOwedBytes), kMostOwedBytes));
  share->round_ = round_;
}

void RunQueue::BeginRound() {
  ++round_;
  for (size_t i = 0; i < kNumUrgencies; ++i) {
    // Ahead of everybody, or a display that never ends would take its session's
    // whole share in every round.
    Append(&deferred_[i], &queued_[0]);
  }
  for (size_t i = 0; i < kNumUrgencies; ++i) {
    Append(&again_[i], &queued_[i]);
  }
}

}  // namespace spicegate
