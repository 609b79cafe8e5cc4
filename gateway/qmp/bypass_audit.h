// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_QMP_BYPASS_AUDIT_H_
#define SPICEGATE_GATEWAY_QMP_BYPASS_AUDIT_H_

#include <cstdint>
#include <string>

#include "gateway/qmp/foreign_channels.h"
#include "gateway/qmp/qmp_protocol.h"

namespace spicegate {

// The audit of one console: when to look at query-spice, and what is counted
// and logged of what is seen.
//
// In a shared monitor's life it is looked at once at first (a migration's
// destination is found by where it listens), then every kLookEveryMs: for
// kWatchMs after somebody asked for the console, and as long as it has
// channels. A look that fails is made again within that time. An own monitor
// tells by itself; it is looked at once for each connection, by its owner.
class BypassAudit {
 public:
  static constexpr int64_t kLookEveryMs = 30'000;
  static constexpr int64_t kWatchMs = 600'000;

  // A viewer that goes past us has twenty channels at most. A QEMU that
  // invents more does not fill the log.
  static constexpr int64_t kLogPeriodMs = 10'000;
  static constexpr int kMaxLinesPerPeriod = 64;

  // `console` names it in the log; `first_look_ms` is when to look at first.
  BypassAudit(std::string console, int64_t first_look_ms);

  // Somebody asked for the console.
  void Asked(int64_t now_ms);

  void Listed(const QmpSpice& spice, int64_t now_ms);
  void Opened(const QmpChannel& channel, int64_t now_ms);
  void Closed(const QmpAddress& peer);

  // An operation or a look is over. `ok`: Listed was called with what it saw;
  // `listening`: there is somebody behind the socket.
  void Looked(bool ok, bool listening, int64_t now_ms);

  // When to look next; INT64_MAX: not.
  int64_t next_look_ms() const { return next_look_ms_; }

  // When Judge has something to do; INT64_MAX: never.
  int64_t judge_ms() const { return channels_.deadline_ms(); }

  // Judges what was seen, and logs what is foreign. Returns how many.
  uint64_t Judge(int64_t now_ms, const IsOurs& is_ours);

 private:
  void Log(const ForeignChannels::Foreign& foreign, int64_t now_ms);

  const std::string console_;
  ForeignChannels channels_;
  int64_t next_look_ms_;
  int64_t watch_until_ms_;
  bool asked_ = false;   // somebody did, ever
  bool looked_ = false;  // a look has succeeded
  int64_t log_period_ends_ms_ = 0;
  int lines_ = 0;  // in this period
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_QMP_BYPASS_AUDIT_H_
