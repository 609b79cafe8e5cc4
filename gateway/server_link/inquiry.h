// SPDX-License-Identifier: Apache-2.0
//
// A worker asks somebody who may take long: a coroutine waits for the answer
// that arrives in the worker's mailbox, or for its deadline.
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_INQUIRY_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_INQUIRY_H_

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

#include "gateway/base/slab.h"
#include "gateway/base/timer_wheel.h"

namespace spicegate {

// One worker's. `Reply{}` is what an inquiry ends with that has no answer.
template <typename Question, typename Reply>
class Inquiry {
 public:
  // Hands a question on, and sees to it that Deliver is called on this thread
  // with the same handle; later, never from inside.
  using Ask = std::function<void(Handle inquiry, const Question& question,
                                 int64_t deadline_ms)>;

  Inquiry(TimerWheel* timers, Ask ask)
      : timers_(timers), ask_(std::move(ask)), waiting_(kMaxWaiting) {}
  Inquiry(const Inquiry&) = delete;
  Inquiry& operator=(const Inquiry&) = delete;

  class Answer;
  // `Reply reply = co_await inquiry.Put(question, deadline_ms)`. The question
  // outlives the wait.
  Answer Put(const Question& question, int64_t deadline_ms) {
    return Answer(this, question, deadline_ms);
  }

  // An answer came. Too late a one is dropped.
  void Deliver(Handle handle, Reply reply) {
    if (Answer** answer = waiting_.Get(handle)) {
      (*answer)->End(std::move(reply));
    }
  }

  // Every wait ends without an answer: the worker stops.
  void CancelAll() {
    for (const Handle handle : waiting_.Handles()) {
      Deliver(handle, {});
    }
  }

  static constexpr size_t kMaxWaiting = 65'536;

 private:
  TimerWheel* const timers_;
  const Ask ask_;
  Slab<Answer*> waiting_;
};

template <typename Question, typename Reply>
class Inquiry<Question, Reply>::Answer {
 public:
  Answer(Inquiry* inquiry, const Question& question, int64_t deadline_ms)
      : inquiry_(inquiry),
        question_(question),
        deadline_ms_(deadline_ms),
        timer_([](void* self) { static_cast<Answer*>(self)->End({}); }, this) {}
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> awaiting) {
    awaiting_ = awaiting;
    handle_ = inquiry_->waiting_.Emplace(this);
    if (!handle_) {
      return false;
    }
    timer_.Arm(inquiry_->timers_, deadline_ms_);
    inquiry_->ask_(handle_, question_, deadline_ms_);
    return true;
  }
  Reply await_resume() { return std::move(reply_); }

 private:
  friend class Inquiry;

  void End(Reply reply) {
    timer_.Cancel();
    inquiry_->waiting_.Erase(handle_);
    reply_ = std::move(reply);
    awaiting_.resume();
  }

  Inquiry* const inquiry_;
  const Question& question_;
  const int64_t deadline_ms_;
  Handle handle_;
  std::coroutine_handle<> awaiting_;
  Reply reply_{};
  Timer timer_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_INQUIRY_H_
