// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/clock.h"
#include "gateway/base/limits.h"

namespace spicegate {
namespace {

// How often a writer held up by its reader looks whether it is to stop.
constexpr int kWritePollMs = 50;

constexpr std::array<std::string_view, 4> kLevelNames = {"debug", "info",
                                                         "warning", "error"};

std::atomic<LogLevel> g_level{LogLevel::kInfo};

// "2026-11-22T03:00:00.123Z"
std::string Stamp(int64_t wall_ms) {
  const time_t seconds = static_cast<time_t>(wall_ms / 1000);
  tm utc{};
  gmtime_r(&seconds, &utc);
  char date[32];
  strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
  char stamp[48];
  std::snprintf(stamp, sizeof(stamp), "%s.%03dZ", date,
                static_cast<int>(wall_ms % 1000));
  return stamp;
}

// A line up to its own fields, without the closing brace.
std::string LineStart(LogLevel level, std::string_view event) {
  std::string text = "{\"ts\":\"" + Stamp(WallClockMs()) + "\",\"level\":\"";
  text += kLevelNames[static_cast<size_t>(level)];
  text += "\",\"event\":";
  AppendJsonString(event, &text);
  return text;
}

// Writes all of `text` or gives up: on an error, or when `give_up` holds
// while the descriptor takes nothing.
template <typename GiveUp>
bool WriteAll(int fd, std::string_view text, const GiveUp& give_up) {
  while (!text.empty()) {
    // Waited for even when the descriptor blocks, so that a pipe nobody reads
    // does not outlast the deadline of StopLogging.
    pollfd ready{fd, POLLOUT, 0};
    if (poll(&ready, 1, kWritePollMs) <= 0) {
      if (give_up()) {
        return false;
      }
      continue;
    }
    // A pipe that poll calls writable takes PIPE_BUF bytes without blocking.
    const size_t len = std::min<size_t>(text.size(), 4096);
    const ssize_t written = write(fd, text.data(), len);
    if (written > 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (written < 0 && errno != EINTR && errno != EAGAIN) {
      return false;
    }
  }
  return true;
}

// The queue and its thread. One per process, never destroyed: a line may be
// logged by any destructor at exit.
class LogQueue {
 public:
  void Start(int fd);
  void Stop(int64_t deadline_ms);
  void Push(std::string line);
  int64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  void Run();
  // Takes what is queued; false when there is nothing left and we stop.
  bool Take(std::deque<std::string>* lines, int64_t* num_dropped);
  void WriteBatch(const std::deque<std::string>& lines, int64_t num_dropped);
  // What came after the thread's last look, written by the caller.
  void WriteRest();
  bool PastDeadline() const { return MonotonicMs() >= stop_at_ms_.load(); }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::string> lines_;
  bool running_ = false;
  bool stopping_ = false;
  int64_t dropped_unreported_ = 0;
  // Not changed while the thread runs.
  int fd_ = STDERR_FILENO;

  std::atomic<int64_t> dropped_{0};
  std::atomic<int64_t> stop_at_ms_{INT64_MAX};
  std::thread thread_;
};

LogQueue& Queue() {
  static LogQueue* const queue = new LogQueue;
  return *queue;
}

void LogQueue::Start(int fd) {
  const std::lock_guard lock(mutex_);
  CHECK(!running_);
  fd_ = fd;
  stopping_ = false;
  running_ = true;
  dropped_unreported_ = 0;
  stop_at_ms_ = INT64_MAX;
  // Signals are the control thread's.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "log");
    Run();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void LogQueue::Stop(int64_t deadline_ms) {
  {
    const std::lock_guard lock(mutex_);
    if (!running_) {
      return;
    }
    stop_at_ms_ = MonotonicMs() + deadline_ms;
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  WriteRest();
}

void LogQueue::WriteRest() {
  const std::lock_guard lock(mutex_);
  running_ = false;
  const auto give_up = [this] { return PastDeadline(); };
  while (!lines_.empty() && WriteAll(fd_, lines_.front(), give_up)) {
    lines_.pop_front();
  }
  dropped_.fetch_add(static_cast<int64_t>(lines_.size()),
                     std::memory_order_relaxed);
  lines_.clear();
}

void LogQueue::Push(std::string line) {
  std::unique_lock lock(mutex_);
  if (!running_) {
    WriteAll(fd_, line, [] { return true; });
    return;
  }
  if (lines_.size() >= kMaxQueuedLogLines) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    ++dropped_unreported_;
    return;
  }
  lines_.push_back(std::move(line));
  const bool first = lines_.size() == 1;
  lock.unlock();
  if (first) {
    wake_.notify_one();
  }
}

void LogQueue::Run() {
  std::deque<std::string> lines;
  int64_t num_dropped = 0;
  while (Take(&lines, &num_dropped)) {
    WriteBatch(lines, num_dropped);
  }
}

bool LogQueue::Take(std::deque<std::string>* lines, int64_t* num_dropped) {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return !lines_.empty() || stopping_; });
  if (stopping_ && PastDeadline()) {
    return false;
  }
  *lines = std::exchange(lines_, {});
  *num_dropped = std::exchange(dropped_unreported_, 0);
  return !lines->empty();
}

void LogQueue::WriteBatch(const std::deque<std::string>& lines,
                          int64_t num_dropped) {
  const auto give_up = [this] { return PastDeadline(); };
  for (const std::string& line : lines) {
    if (PastDeadline() || !WriteAll(fd_, line, give_up)) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
    }
  }
  if (num_dropped > 0) {
    // Not by way of the queue, which may be full again.
    WriteAll(fd_,
             LineStart(LogLevel::kWarning, "log_lines_dropped") +
                 ",\"lines\":" + std::to_string(num_dropped) + "}\n",
             give_up);
  }
}

// Length of the UTF-8 sequence at the front of `text`, 0 when there is none
// (RFC 3629: shortest form, no surrogates, up to U+10FFFF).
size_t Utf8Len(std::string_view text) {
  const auto byte = [&text](size_t i) {
    return i < text.size() ? static_cast<uint8_t>(text[i]) : 0;
  };
  const auto follows = [&byte](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const uint8_t lead = byte(0);
  if (lead < 0x80) {
    return 1;
  }
  if (lead >= 0xc2 && lead <= 0xdf) {
    return follows(1) ? 2 : 0;
  }
  if (lead >= 0xe0 && lead <= 0xef) {
    const bool overlong = lead == 0xe0 && byte(1) < 0xa0;
    const bool surrogate = lead == 0xed && byte(1) >= 0xa0;
    return follows(1) && follows(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const bool overlong = lead == 0xf0 && byte(1) < 0x90;
    const bool too_large = lead == 0xf4 && byte(1) >= 0x90;
    return follows(1) && follows(2) && follows(3) && !overlong && !too_large
               ? 4
               : 0;
  }
  return 0;
}

void AppendEscaped(char c, std::string* out) {
  switch (c) {
    case '"':
      *out += "\\\"";
      return;
    case '\\':
      *out += "\\\\";
      return;
    case '\n':
      *out += "\\n";
      return;
    case '\r':
      *out += "\\r";
      return;
    case '\t':
      *out += "\\t";
      return;
    default:
      break;
  }
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0x20 && byte != 0x7f) {
    *out += c;
    return;
  }
  char escape[8];
  std::snprintf(escape, sizeof(escape), "\\u%04x", byte);
  *out += escape;
}

}  // namespace

void SetLogLevel(LogLevel level) {
  g_level.store(level, std::memory_order_relaxed);
}

bool ParseLogLevel(std::string_view name, LogLevel* level) {
  for (size_t i = 0; i < kLevelNames.size(); ++i) {
    if (kLevelNames[i] == name) {
      *level = static_cast<LogLevel>(i);
      return true;
    }
  }
  return false;
}

void StartLogging(int fd) { Queue().Start(fd); }

void StopLogging(int64_t deadline_ms) { Queue().Stop(deadline_ms); }

int64_t DroppedLogLines() { return Queue().dropped(); }

LogLine::LogLine(LogLevel level, std::string_view event)
    : enabled_(level >= g_level.load(std::memory_order_relaxed)) {
  if (enabled_) {
    text_ = LineStart(level, event);
  }
}

LogLine::~LogLine() {
  if (enabled_) {
    text_ += "}\n";
    Queue().Push(std::move(text_));
  }
}

LogLine& LogLine::Str(std::string_view key, std::string_view value) {
  if (enabled_) {
    std::string quoted;
    AppendJsonString(value, &quoted);
    Raw(key, quoted);
  }
  return *this;
}

LogLine& LogLine::Int(std::string_view key, int64_t value) {
  return Raw(key, std::to_string(value));
}

LogLine& LogLine::Bool(std::string_view key, bool value) {
  return Raw(key, value ? "true" : "false");
}

LogLine& LogLine::Raw(std::string_view key, std::string_view json) {
  if (enabled_) {
    text_ += ',';
    AppendJsonString(key, &text_);
    text_ += ':';
    text_ += json;
  }
  return *this;
}

void AppendJsonString(std::string_view text, std::string* out) {
  *out += '"';
  while (!text.empty()) {
    const size_t len = Utf8Len(text);
    if (len == 1) {
      AppendEscaped(text[0], out);
    } else if (len > 1) {
      *out += text.substr(0, len);
    } else {
      *out += "\xef\xbf\xbd";  // U+FFFD
    }
    text.remove_prefix(std::max<size_t>(len, 1));
  }
  *out += '"';
}

}  // namespace spicegate
