// SPDX-License-Identifier: Apache-2.0
//
// The way to one service of one cloud: who may ask now, what is asked once more
// and when nobody is to be asked at all.
#ifndef SPICEGATE_GATEWAY_CLOUD_CALL_GATE_H_
#define SPICEGATE_GATEWAY_CLOUD_CALL_GATE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/base/circuit_breaker.h"
#include "gateway/cloud/cloud_context.h"
#include "gateway/cloud/cloud_journal.h"
#include "gateway/cloud/cloud_service.h"

namespace spicegate {

enum class CallResult : uint8_t {
  kOk,
  kNotFound,
  kRefused,
  kError,
  kTimeout,
  kGone,
};

// What an answer is.
struct CallVerdict {
  CallResult result = CallResult::kOk;
  absl::Status status{};  // for who asked
  std::string error{};    // for the log; empty: nothing to say
  bool alive = true;      // the service works
};

struct GatedCall {
  HttpCall http{};  // all but the deadline
  // Asking twice does no harm. Without it the call is repeated only when
  // nothing of it was sent.
  bool repeatable = false;
  int64_t give_up_ms = 0;  // when all is over, a repeat included
  // Judges an answer that is neither 429 nor 5xx, and takes out of it what is
  // needed: it is wiped then.
  std::function<CallVerdict(const HttpAnswer&)> judge{};
  // Called exactly once, inside Call or later: the verdict's status.
  std::function<void(const absl::Status&)> done{};
};

// Control thread only. The gate outlives its calls: HttpCaller is closed, and
// the timers are thrown away, before it goes.
class CallGate {
 public:
  // One request, without the repeat.
  static constexpr int64_t kCallMs = 4'000;
  // Longest time for which a service that wants to be left alone is so.
  static constexpr int64_t kLongestHoldMs = 30'000;

  // `service` is a label of metrics and logs, a literal.
  CallGate(const char* service, CloudContext* context, CloudJournal* journal)
      : service_(service), context_(context), journal_(journal) {}
  CallGate(const CallGate&) = delete;
  CallGate& operator=(const CallGate&) = delete;

  void Call(GatedCall call);

  // Counts a call that was not made for another reason than the gate's.
  void CountRejected() { ++requests_.rejected; }
  // Logs a failure without a call.
  void LogFailure(std::string_view error);

  bool breaker_open() const { return breaker_.open(); }
  const CloudStats::Requests& requests() const { return requests_; }

 private:
  struct Running;
  using Answer = absl::StatusOr<HttpAnswer>;

  void Send(const std::shared_ptr<Running>& running);
  void Taken(const std::shared_ptr<Running>& running, Answer answer);
  // After how many milliseconds to send the call again; -1: not at all.
  int64_t RepeatAfterMs(const Running& running, const Answer& answer);
  void Hold(const Answer& answer);
  void Settle(uint64_t epoch, bool alive);
  void Count(CallResult result);

  const char* const service_;
  CloudContext* const context_;
  CloudJournal* const journal_;
  CircuitBreaker breaker_;
  // Of the breaker's state: what was begun in another one says nothing about
  // this one. A hundred calls that fail together open it once.
  uint64_t epoch_ = 0;
  int64_t hold_until_ms_ = 0;
  CloudStats::Requests requests_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_CALL_GATE_H_
