// SPDX-License-Identifier: Apache-2.0
//
// Values sent to a worker by other threads. Many may push, one takes.
#ifndef SPICEGATE_GATEWAY_BASE_MAILBOX_H_
#define SPICEGATE_GATEWAY_BASE_MAILBOX_H_

#include <mutex>
#include <utility>
#include <vector>

namespace spicegate {

template <typename T>
class Mailbox {
 public:
  Mailbox() = default;
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Any thread. True when the mailbox was empty: the caller then wakes the
  // owner (IoDriver::Wake); otherwise a wake-up is under way already.
  [[nodiscard]] bool Push(T value) {
    const std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    return values_.size() == 1;
  }

  // The owner's thread. Everything pushed so far, in order.
  std::vector<T> TakeAll() {
    const std::lock_guard lock(mutex_);
    return std::exchange(values_, {});
  }

 private:
  // A handful of instructions are held under it; a worker never waits for
  // more than another thread's push.
  std::mutex mutex_;
  std::vector<T> values_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_MAILBOX_H_
