// SPDX-License-Identifier: Apache-2.0
//
// A worker's side of the resolver: a coroutine waits for the answer that
// arrives in the worker's mailbox, or for its deadline.
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_NAME_LOOKUP_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_NAME_LOOKUP_H_

#include <coroutine>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "gateway/base/handle.h"
#include "gateway/base/slab.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/server_link/resolver.h"

namespace spicegate {

// One worker's.
class NameLookup {
 public:
  // `ask` hands a question to the resolver, which sees to it that Deliver is
  // called on this thread with the same handle.
  using Ask = std::function<void(Handle lookup, const std::string& host,
                                 uint16_t port, int64_t deadline_ms)>;

  NameLookup(TimerWheel* timers, Ask ask)
      : timers_(timers), ask_(std::move(ask)), waiting_(kMaxWaiting) {}
  NameLookup(const NameLookup&) = delete;
  NameLookup& operator=(const NameLookup&) = delete;

  class Answer;
  // `Addresses a = co_await lookup.Resolve(host, port, deadline_ms)`. Empty
  // when the name does not resolve in time.
  Answer Resolve(const std::string& host, uint16_t port, int64_t deadline_ms);

  // An answer came. Too late a one is dropped.
  void Deliver(Handle handle, Addresses addresses);

  // Every wait ends empty: the worker stops.
  void CancelAll();

  static constexpr size_t kMaxWaiting = 65'536;

 private:
  TimerWheel* const timers_;
  const Ask ask_;
  Slab<Answer*> waiting_;
};

class NameLookup::Answer {
 public:
  Answer(NameLookup* lookup, const std::string& host, uint16_t port,
         int64_t deadline_ms)
      : lookup_(lookup),
        host_(host),
        port_(port),
        deadline_ms_(deadline_ms),
        timer_([](void* self) { static_cast<Answer*>(self)->End({}); }, this) {}
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> awaiting) {
    awaiting_ = awaiting;
    handle_ = lookup_->waiting_.Emplace(this);
    if (!handle_) {
      return false;
    }
    timer_.Arm(lookup_->timers_, deadline_ms_);
    lookup_->ask_(handle_, host_, port_, deadline_ms_);
    return true;
  }
  Addresses await_resume() { return std::move(addresses_); }

 private:
  friend class NameLookup;

  void End(Addresses addresses) {
    timer_.Cancel();
    lookup_->waiting_.Erase(handle_);
    addresses_ = std::move(addresses);
    awaiting_.resume();
  }

  NameLookup* const lookup_;
  const std::string& host_;
  const uint16_t port_;
  const int64_t deadline_ms_;
  Handle handle_;
  std::coroutine_handle<> awaiting_;
  Addresses addresses_;
  Timer timer_;
};

inline NameLookup::Answer NameLookup::Resolve(const std::string& host,
                                              uint16_t port,
                                              int64_t deadline_ms) {
  return Answer(this, host, port, deadline_ms);
}

inline void NameLookup::Deliver(Handle handle, Addresses addresses) {
  if (Answer** answer = waiting_.Get(handle)) {
    (*answer)->End(std::move(addresses));
  }
}

inline void NameLookup::CancelAll() {
  for (const Handle handle : waiting_.Handles()) {
    Deliver(handle, {});
  }
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_NAME_LOOKUP_H_
