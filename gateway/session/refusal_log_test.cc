// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/refusal_log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "gateway/base/log.h"

namespace spicegate {
namespace {

class RefusalLogTest : public testing::Test {
 protected:
  RefusalLogTest() {
    EXPECT_EQ(pipe(pipe_), 0);
    StartLogging(pipe_[1]);
  }

  std::string Logged() {
    StopLogging(/*deadline_ms=*/10'000);
    close(pipe_[1]);
    std::string text;
    char chunk[4096];
    for (ssize_t n = 0; (n = read(pipe_[0], chunk, sizeof(chunk))) > 0;) {
      text.append(chunk, static_cast<size_t>(n));
    }
    close(pipe_[0]);
    return text;
  }

  int pipe_[2] = {-1, -1};
};

TEST_F(RefusalLogTest, AStormLeavesAFewLinesAndANumber) {
  RefusalLog log;
  for (int i = 0; i < 1000; ++i) {
    log.Refused(CloseReason::kBadMagic, /*now_ms=*/5'000, "1.2.3.4:5", "", "");
  }
  // Another reason has a budget of its own; the next second has a new one.
  log.Refused(CloseReason::kBadTicket, 5'000, "1.2.3.4:6", "main", "vm1");
  log.Refused(CloseReason::kBadMagic, 6'000, "1.2.3.4:7", "", "");
  const std::string text = Logged();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'),
            RefusalLog::kLinesPerSecond + 2);
  EXPECT_NE(text.find("\"left_out\":990"), std::string::npos) << text;
  EXPECT_NE(text.find("\"console\":\"vm1\""), std::string::npos) << text;
}

}  // namespace
}  // namespace spicegate
