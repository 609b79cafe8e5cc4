// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/bypass_audit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace spicegate {
namespace {

constexpr int64_t kStartMs = 1'000;
constexpr int64_t kEveryMs = BypassAudit::kLookEveryMs;
constexpr int64_t kWatchMs = BypassAudit::kWatchMs;

bool NotOurs(const std::string& /*host*/, uint16_t /*port*/) { return false; }

QmpSpice WithChannels(int num, int first_port = 1) {
  QmpSpice spice;
  for (int i = 0; i < num; ++i) {
    QmpChannel channel;
    channel.peer = {QmpAddress::Family::kIpv4, "192.0.2.1",
                    std::to_string(first_port + i)};
    channel.channel_type = 1;
    spice.channels.push_back(channel);
  }
  return spice;
}

class BypassAuditTest : public ::testing::Test {
 protected:
  // A look that sees this.
  void Look(const QmpSpice& spice, int64_t now_ms) {
    audit_.Listed(spice, now_ms);
    audit_.Looked(true, true, now_ms);
  }

  BypassAudit audit_{"vm1", kStartMs};
};

TEST_F(BypassAuditTest, LooksUntilItHasSucceededOnce) {
  EXPECT_EQ(audit_.next_look_ms(), kStartMs);
  audit_.Looked(false, true, kStartMs);
  EXPECT_EQ(audit_.next_look_ms(), kStartMs + kEveryMs);
  Look({}, kStartMs + kEveryMs);
  EXPECT_EQ(audit_.next_look_ms(), INT64_MAX);
}

TEST_F(BypassAuditTest, GivesUpLookingForWhoIsNeverThere) {
  audit_.Looked(false, false, kStartMs + kWatchMs);
  EXPECT_EQ(audit_.next_look_ms(), INT64_MAX);
}

TEST_F(BypassAuditTest, LooksForAWhileAfterEachCall) {
  Look({}, kStartMs);
  audit_.Asked(50'000);
  EXPECT_EQ(audit_.next_look_ms(), 50'000 + kEveryMs);
  Look({}, 50'000 + kWatchMs - 1);
  EXPECT_EQ(audit_.next_look_ms(), 50'000 + kWatchMs - 1 + kEveryMs);
  Look({}, 50'000 + kWatchMs);
  EXPECT_EQ(audit_.next_look_ms(), INT64_MAX);
}

TEST_F(BypassAuditTest, ACallDoesNotPutTheNextLookOff) {
  audit_.Asked(500);
  EXPECT_EQ(audit_.next_look_ms(), kStartMs);
}

TEST_F(BypassAuditTest, LooksWhileThereAreChannelsEvenIfItFails) {
  Look(WithChannels(1), kStartMs);
  int64_t now_ms = kStartMs + 10 * kWatchMs;
  audit_.Looked(false, true, now_ms);  // somebody else is served
  EXPECT_EQ(audit_.next_look_ms(), now_ms + kEveryMs);
  audit_.Looked(false, false, now_ms);  // QEMU has gone, and they with it
  EXPECT_EQ(audit_.next_look_ms(), INT64_MAX);
}

TEST_F(BypassAuditTest, TheLogIsNotFilled) {
  constexpr int kMany = 3 * BypassAudit::kMaxLinesPerPeriod;
  testing::internal::CaptureStderr();
  Look(WithChannels(kMany), 0);
  EXPECT_EQ(audit_.Judge(audit_.judge_ms(), NotOurs), kMany);
  std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'),
            BypassAudit::kMaxLinesPerPeriod);

  testing::internal::CaptureStderr();
  Look(WithChannels(1, 50'000), BypassAudit::kLogPeriodMs);
  EXPECT_EQ(audit_.Judge(audit_.judge_ms(), NotOurs), 1u);
  log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("\"peer\":\"192.0.2.1:50000\",\"channel\":\"main\""),
            std::string::npos);
}

TEST_F(BypassAuditTest, AChannelOfNoTypeIsLoggedAsUnknown) {
  QmpSpice spice = WithChannels(2);
  spice.channels[0].channel_type = -1;
  spice.channels[1].channel_type = 257;
  testing::internal::CaptureStderr();
  Look(spice, 0);
  audit_.Judge(audit_.judge_ms(), NotOurs);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(log.find("main"), std::string::npos);
  EXPECT_NE(log.find("\"channel\":\"unknown\""), std::string::npos);
}

}  // namespace
}  // namespace spicegate
