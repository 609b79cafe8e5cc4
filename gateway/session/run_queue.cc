// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/run_queue.h"

#include <algorithm>
#include <limits>

#include "gateway/base/limits.h"

namespace spicegate {

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
  if (share.round_ != round_ || share.bytes_ < kSessionRoundBytes) {
    return false;
  }
  Queue(&deferred_[IndexOf(entry)], entry);
  return true;
}

void RunQueue::Charge(RoundShare* share, size_t bytes) const {
  if (share->round_ != round_) {
    share->round_ = round_;
    share->bytes_ = 0;
  }
  const size_t most = std::numeric_limits<uint32_t>::max() - share->bytes_;
  share->bytes_ += static_cast<uint32_t>(std::min(bytes, most));
}

void RunQueue::BeginRound() {
  ++round_;
  for (size_t i = 0; i < kNumUrgencies; ++i) {
    for (Queues* next : {&deferred_, &again_}) {
      std::deque<Entry>& queue = (*next)[i];
      queued_[i].insert(queued_[i].end(), queue.begin(), queue.end());
      queue.clear();
    }
  }
}

}  // namespace spicegate
