// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_CLOUD_CLOUD_JOURNAL_H_
#define SPICEGATE_GATEWAY_CLOUD_CLOUD_JOURNAL_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace spicegate {

// The log of one cloud. Nothing secret is given to it. Control thread only;
// times are milliseconds of the caller's clock.
class CloudJournal {
 public:
  static constexpr int64_t kFailurePauseMs = 10'000;

  explicit CloudJournal(std::string cloud) : cloud_(std::move(cloud)) {}

  // cloud_failed, once in kFailurePauseMs; the next record says how many were
  // left out.
  void Failed(std::string_view service, std::string_view error, int64_t now_ms);
  // cloud_breaker
  void Breaker(std::string_view service, bool open) const;
  // keystone_token
  void Token(int64_t expires_s) const;

 private:
  const std::string cloud_;
  bool any_failed_ = false;
  int64_t failed_ms_ = 0;
  int64_t num_left_out_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_CLOUD_JOURNAL_H_
