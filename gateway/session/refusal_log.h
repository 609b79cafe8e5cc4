// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_SESSION_REFUSAL_LOG_H_
#define SPICEGATE_GATEWAY_SESSION_REFUSAL_LOG_H_

#include <array>
#include <cstdint>
#include <string>

#include "gateway/base/close_reason.h"

namespace spicegate {

// One log line for each refused link, but at most kLinesPerSecond for each
// reason: a storm of refusals is told by the metrics, and by one line with the
// number left out. One worker's.
class RefusalLog {
 public:
  static constexpr int64_t kLinesPerSecond = 10;

  // `channel` and `console` are empty where they are not known yet.
  void Refused(CloseReason reason, int64_t now_ms, const std::string& client,
               const std::string& channel, const std::string& console);

 private:
  struct Budget {
    int64_t second = -1;
    int64_t lines = 0;
    int64_t left_out = 0;
  };

  std::array<Budget, kNumCloseReasons> budgets_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_REFUSAL_LOG_H_
