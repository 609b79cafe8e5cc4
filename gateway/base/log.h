// SPDX-License-Identifier: Apache-2.0
//
// Log lines, one JSON object each. A line is built on the stack of the thread
// that has something to say and queued; a thread of its own writes it, so that
// a full disk or a stopped journal never holds a worker. The queue is bounded:
// beyond kMaxQueuedLogLines lines are dropped, and the number of dropped ones
// is logged when there is room again.
//
// Secrets (tickets, passwords, keys) never go into a field.
#ifndef SPICEGATE_GATEWAY_BASE_LOG_H_
#define SPICEGATE_GATEWAY_BASE_LOG_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace spicegate {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarning, kError };

// Lines below `level` are not built. Any thread; default kInfo.
void SetLogLevel(LogLevel level);

// Parses "debug", "info", "warning", "error"; false for anything else.
bool ParseLogLevel(std::string_view name, LogLevel* level);

// Starts the writing thread on file descriptor `fd` (borrowed). Before that,
// and after StopLogging, lines are written by the caller, synchronously.
void StartLogging(int fd);

// Writes what is queued, for at most `deadline_ms`, and joins the thread.
void StopLogging(int64_t deadline_ms);

// Lines dropped since the start because the queue was full. Any thread.
int64_t DroppedLogLines();

// One line: LogLine(LogLevel::kInfo, "ready").Int("workers", 2). Queued by the
// destructor. Any thread. Values are escaped; bytes that are not UTF-8 are
// replaced.
class LogLine {
 public:
  LogLine(LogLevel level, std::string_view event);
  ~LogLine();
  LogLine(const LogLine&) = delete;
  LogLine& operator=(const LogLine&) = delete;

  LogLine& Str(std::string_view key, std::string_view value);
  LogLine& Int(std::string_view key, int64_t value);
  LogLine& Bool(std::string_view key, bool value);
  // `json` is a complete JSON value built by the caller.
  LogLine& Raw(std::string_view key, std::string_view json);

 private:
  const bool enabled_;
  std::string text_;
};

// Appends `text` to `out` as a JSON string, quotes included.
void AppendJsonString(std::string_view text, std::string* out);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_BASE_LOG_H_
