// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/refusal_log.h"

#include <utility>

#include "gateway/base/log.h"

namespace spicegate {

void RefusalLog::Refused(CloseReason reason, int64_t now_ms,
                         const std::string& client, const std::string& channel,
                         const std::string& console) {
  Budget& budget = budgets_[static_cast<size_t>(reason)];
  const int64_t second = now_ms / 1000;
  if (budget.second != second) {
    budget.second = second;
    budget.lines = 0;
  }
  if (++budget.lines > kLinesPerSecond) {
    ++budget.left_out;
    return;
  }
  LogLine line(LogLevel::kWarning, "channel_refused");
  line.Str("reason", CloseReasonName(reason)).Str("client", client);
  if (!channel.empty()) {
    line.Str("channel", channel);
  }
  if (!console.empty()) {
    line.Str("console", console);
  }
  if (budget.left_out > 0) {
    line.Int("left_out", std::exchange(budget.left_out, 0));
  }
}

}  // namespace spicegate
