// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/cloud_journal.h"

#include "gateway/base/log.h"

namespace spicegate {

void CloudJournal::Failed(std::string_view service, std::string_view error,
                          int64_t now_ms) {
  if (any_failed_ && now_ms - failed_ms_ < kFailurePauseMs) {
    ++num_left_out_;
    return;
  }
  LogLine line(LogLevel::kWarning, "cloud_failed");
  line.Str("cloud", cloud_).Str("service", service).Str("error", error);
  if (num_left_out_ > 0) {
    line.Int("left_out", num_left_out_);
  }
  any_failed_ = true;
  failed_ms_ = now_ms;
  num_left_out_ = 0;
}

void CloudJournal::Breaker(std::string_view service, bool open) const {
  LogLine(open ? LogLevel::kWarning : LogLevel::kInfo, "cloud_breaker")
      .Str("cloud", cloud_)
      .Str("service", service)
      .Str("state", open ? "open" : "closed");
}

void CloudJournal::Token(int64_t expires_s) const {
  LogLine(LogLevel::kInfo, "keystone_token")
      .Str("cloud", cloud_)
      .Int("expires_s", expires_s);
}

}  // namespace spicegate
