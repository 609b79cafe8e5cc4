// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_CLOUD_DELAY_QUEUE_H_
#define SPICEGATE_GATEWAY_CLOUD_DELAY_QUEUE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

namespace spicegate {

// What is to be done later on the control thread. Nothing is taken back: what
// is called looks for itself whether it is still wanted. Times are milliseconds
// of the caller's clock.
class DelayQueue {
 public:
  void Add(int64_t at_ms, std::function<void()> action) {
    actions_.emplace(at_ms, std::move(action));
  }

  // Calls what is due, the earliest first. What that adds waits for the next
  // Run, whenever it is due.
  void Run(int64_t now_ms) {
    std::multimap<int64_t, std::function<void()>> due;
    while (!actions_.empty() && actions_.begin()->first <= now_ms) {
      due.insert(actions_.extract(actions_.begin()));
    }
    for (const auto& [at_ms, action] : due) {
      action();
    }
  }

  // INT64_MAX: nothing waits.
  int64_t NextMs() const {
    return actions_.empty() ? INT64_MAX : actions_.begin()->first;
  }

 private:
  std::multimap<int64_t, std::function<void()>> actions_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_DELAY_QUEUE_H_
