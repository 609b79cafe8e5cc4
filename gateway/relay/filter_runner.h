// SPDX-License-Identifier: Apache-2.0
//
// For tests: plays the pump's part before a filter, and holds it to its
// contract (pump_filter.h).
#ifndef SPICEGATE_GATEWAY_RELAY_FILTER_RUNNER_H_
#define SPICEGATE_GATEWAY_RELAY_FILTER_RUNNER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gateway/base/check.h"
#include "gateway/relay/pump_filter.h"

namespace spicegate {

class FilterRunner {
 public:
  using Then = PumpFilter::Then;

  // The filter outlives it.
  explicit FilterRunner(PumpFilter* filter) : filter_(filter) {}

  // One read. What the filter does not use yet stays and is shown again.
  void Feed(std::span<const uint8_t> bytes) {
    waiting_.insert(waiting_.end(), bytes.begin(), bytes.end());
    Run();
  }

  // Shows what waits, or nothing at all when there is something to insert.
  void Run() {
    while (then_ == Then::kGoOn &&
           (!waiting_.empty() || filter_->HasInsert())) {
      TakeStep();
    }
  }

  // Shows what was held again.
  void Unhold() {
    CHECK(then_ == Then::kHold);
    then_ = Then::kGoOn;
    Run();
  }

  const std::vector<uint8_t>& out() const { return out_; }
  Then then() const { return then_; }
  size_t num_steps() const { return num_steps_; }
  size_t num_waiting() const { return waiting_.size(); }

 private:
  void TakeStep() {
    // A block of exactly this size, for the address sanitizer.
    const std::vector<uint8_t> shown(waiting_.begin(), waiting_.end());
    const PumpFilter::Step step = filter_->Next(shown);
    CHECK(step.pass <= shown.size() && step.skip <= shown.size() - step.pass);
    const size_t used = step.pass + step.skip;
    CHECK(used > 0 || !step.insert.empty() || step.then != Then::kGoOn);
    // What is held is shown again only when there is something to show.
    CHECK(step.then != Then::kHold || used < shown.size());
    out_.insert(out_.end(), shown.begin(),
                shown.begin() + static_cast<ptrdiff_t>(step.pass));
    out_.insert(out_.end(), step.insert.begin(), step.insert.end());
    waiting_.erase(waiting_.begin(),
                   waiting_.begin() + static_cast<ptrdiff_t>(used));
    then_ = step.then;
    ++num_steps_;
  }

  PumpFilter* const filter_;
  std::vector<uint8_t> waiting_;
  std::vector<uint8_t> out_;
  Then then_ = Then::kGoOn;
  size_t num_steps_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_FILTER_RUNNER_H_
