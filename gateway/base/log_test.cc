// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "gateway/base/clock.h"
#include "gateway/base/limits.h"
#include "gateway/base/unique_fd.h"

namespace spicegate {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

std::string Quoted(std::string_view text) {
  std::string out;
  AppendJsonString(text, &out);
  return out;
}

struct Pipe {
  Pipe() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    reader.Reset(fds[0]);
    writer.Reset(fds[1]);
  }

  // Reads until the writing side is closed.
  std::string ReadAll() const {
    std::string text;
    char buffer[65536];
    ssize_t len = 0;
    while ((len = read(reader.get(), buffer, sizeof(buffer))) > 0) {
      text.append(buffer, static_cast<size_t>(len));
    }
    return text;
  }

  UniqueFd reader;
  UniqueFd writer;
};

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    lines.push_back(line);
  }
  return lines;
}

class LogTest : public ::testing::Test {
 protected:
  void TearDown() override { SetLogLevel(LogLevel::kInfo); }

  // What `log` writes, with the thread at work.
  template <typename Log>
  std::string Written(const Log& log) {
    Pipe pipe;
    StartLogging(pipe.writer.get());
    log();
    StopLogging(10'000);
    pipe.writer.Reset();
    return pipe.ReadAll();
  }
};

TEST(JsonString, EscapesWhatJsonDemands) {
  EXPECT_EQ(Quoted("plain"), "\"plain\"");
  EXPECT_EQ(Quoted("a\"b\\c"), "\"a\\\"b\\\\c\"");
  EXPECT_EQ(Quoted("\n\r\t"), "\"\\n\\r\\t\"");
  EXPECT_EQ(Quoted(std::string_view("\0\x1f\x7f", 3)),
            "\"\\u0000\\u001f\\u007f\"");
  EXPECT_EQ(Quoted(""), "\"\"");
}

TEST(JsonString, KeepsUtf8) {
  // One of each length, and the ends of every range of RFC 3629.
  for (const char* text :
       {"\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(Quoted(text), "\"" + std::string(text) + "\"");
  }
}

TEST(JsonString, ReplacesWhatIsNoUtf8) {
  const std::string mark = "\xef\xbf\xbd";
  EXPECT_EQ(Quoted("a\xff"
                   "b"),
            "\"a" + mark + "b\"");
  EXPECT_EQ(Quoted("\xc3"), "\"" + mark + "\"");             // cut short
  EXPECT_EQ(Quoted("\xc0\xaf"), "\"" + mark + mark + "\"");  // overlong
  EXPECT_EQ(Quoted("\xe0\x80\x80"), "\"" + mark + mark + mark + "\"");
  EXPECT_EQ(Quoted("\xed\xa0\x80"), "\"" + mark + mark + mark + "\"");
  EXPECT_EQ(Quoted("\xf4\x90\x80\x80"),
            "\"" + mark + mark + mark + mark + "\"");
  EXPECT_EQ(Quoted("\xf0\x9f\x98"), "\"" + mark + mark + mark + "\"");
}

TEST(LogLevels, AreParsed) {
  LogLevel level = LogLevel::kDebug;
  EXPECT_TRUE(ParseLogLevel("warning", &level));
  EXPECT_EQ(level, LogLevel::kWarning);
  EXPECT_FALSE(ParseLogLevel("Warning", &level));
  EXPECT_FALSE(ParseLogLevel("", &level));
  EXPECT_EQ(level, LogLevel::kWarning);
}

TEST_F(LogTest, WritesOneObjectALine) {
  const std::string text = Written([] {
    LogLine(LogLevel::kInfo, "listening")
        .Str("address", "[::1]:5930")
        .Int("workers", -2)
        .Bool("tls", true)
        .Raw("bytes", "{\"main\":1}");
  });
  EXPECT_THAT(text, MatchesRegex("\\{\"ts\":\"[0-9]{4}-[0-9]{2}-[0-9]{2}T"
                                 "[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z\","
                                 "\"level\":\"info\",\"event\":\"listening\","
                                 ".*\n"));
  EXPECT_THAT(text, EndsWith(",\"address\":\"[::1]:5930\",\"workers\":-2,"
                             "\"tls\":true,\"bytes\":{\"main\":1}}\n"));
}

TEST_F(LogTest, LeavesOutLowerLevels) {
  const std::string text = Written([] {
    LogLine(LogLevel::kDebug, "hidden").Str("a", "b").Int("c", 1);
    SetLogLevel(LogLevel::kError);
    LogLine(LogLevel::kWarning, "hidden");
    LogLine(LogLevel::kError, "shown");
  });
  EXPECT_EQ(Lines(text).size(), 1U);
  EXPECT_THAT(text, HasSubstr("\"shown\""));
}

TEST_F(LogTest, KeepsLinesOfManyThreadsWhole) {
  constexpr int kThreads = 4;
  constexpr int kLinesEach = 500;
  // The pipe holds less than all lines: it is read meanwhile.
  Pipe pipe;
  std::string text;
  std::thread reader([&] { text = pipe.ReadAll(); });
  StartLogging(pipe.writer.get());
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < kLinesEach; ++i) {
        LogLine(LogLevel::kInfo, "line").Int("thread", t).Int("i", i);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  StopLogging(10'000);
  pipe.writer.Reset();
  reader.join();
  const std::vector<std::string> lines = Lines(text);
  EXPECT_EQ(lines.size(), size_t{kThreads * kLinesEach});
  for (const std::string& line : lines) {
    EXPECT_THAT(line, MatchesRegex("\\{\"ts\":.*\"thread\":[0-3],"
                                   "\"i\":[0-9]+\\}"));
  }
}

TEST_F(LogTest, AReaderThatStopsCostsLinesAndNoTime) {
  Pipe pipe;
  const int64_t dropped_before = DroppedLogLines();
  StartLogging(pipe.writer.get());
  // 64 KiB of pipe, one batch in the writer's hands and a full queue.
  const std::string filler(200, 'x');
  constexpr size_t kLines = 3 * kMaxQueuedLogLines;
  for (size_t i = 0; i < kLines; ++i) {
    LogLine(LogLevel::kInfo, "flood").Str("filler", filler);
  }
  EXPECT_GT(DroppedLogLines(), dropped_before);
  // Nobody reads: what is queued is given up at the deadline.
  StopLogging(1);
  pipe.writer.Reset();
  EXPECT_LT(Lines(pipe.ReadAll()).size(), kLines);
}

TEST_F(LogTest, ReportsDroppedLinesOnceThereIsRoom) {
  Pipe pipe;
  const int64_t dropped_before = DroppedLogLines();
  StartLogging(pipe.writer.get());
  const std::string filler(200, 'x');
  size_t num_logged = 0;
  while (DroppedLogLines() == dropped_before) {
    LogLine(LogLevel::kInfo, "flood").Str("filler", filler);
    ++num_logged;
  }
  std::string text;
  std::thread reader([&] { text = pipe.ReadAll(); });
  StopLogging(60'000);
  pipe.writer.Reset();
  reader.join();
  const int64_t dropped = DroppedLogLines() - dropped_before;
  EXPECT_THAT(text, HasSubstr("\"event\":\"log_lines_dropped\",\"lines\":" +
                              std::to_string(dropped) + "}\n"));
  EXPECT_EQ(Lines(text).size(), num_logged - static_cast<size_t>(dropped) + 1);
}

TEST_F(LogTest, WritesSynchronouslyWithoutTheThread) {
  // The descriptor of the last StartLogging is still the one in use.
  Pipe pipe;
  StartLogging(pipe.writer.get());
  StopLogging(10'000);
  LogLine(LogLevel::kInfo, "late");
  pipe.writer.Reset();
  EXPECT_THAT(pipe.ReadAll(), HasSubstr("\"late\""));
}

TEST_F(LogTest, AClosedReaderEndsNothing) {
  Pipe pipe;
  pipe.reader.Reset();
  StartLogging(pipe.writer.get());
  LogLine(LogLevel::kInfo, "unheard");
  StopLogging(10'000);
}

}  // namespace
}  // namespace spicegate
