// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/run_queue.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "gateway/base/limits.h"

namespace spicegate {
namespace {

RunQueue::Entry Display(uint32_t slot) {
  return {Handle{slot, 1}, Urgency::kDisplay};
}

TEST(RunQueueTest, UrgentChannelsComeFirst) {
  RunQueue queue;
  queue.Add({Handle{1, 1}, Urgency::kBulk});
  queue.Add({Handle{2, 1}, Urgency::kDisplay});
  queue.Add({Handle{3, 1}, Urgency::kInteractive});
  queue.Add({Handle{4, 1}, Urgency::kDisplay});
  for (const uint32_t slot : {3, 2, 4, 1}) {
    const auto entry = queue.Next();
    ASSERT_TRUE(entry.has_value());
    EXPECT_EQ(entry->channel.slot, slot);
  }
  EXPECT_FALSE(queue.Next().has_value());
  EXPECT_TRUE(queue.empty());
}

TEST(RunQueueTest, WhatIsAddedAgainWaitsForTheNextRound) {
  RunQueue queue;
  queue.Add(Display(1));
  queue.Add(Display(2));
  queue.AddAgain(*queue.Next());
  EXPECT_EQ(queue.Next()->channel.slot, 2u);
  EXPECT_FALSE(queue.Next().has_value());
  EXPECT_FALSE(queue.empty());
  queue.BeginRound();
  EXPECT_EQ(queue.Next()->channel.slot, 1u);
  EXPECT_TRUE(queue.empty());
}

TEST(RunQueueTest, ASessionThatHadItsShareIsDeferred) {
  RunQueue queue;
  RoundShare share;
  EXPECT_FALSE(queue.Defer(Display(1), share));
  queue.Charge(&share, kSessionRoundBytes - 1);
  EXPECT_FALSE(queue.Defer(Display(1), share));
  queue.Charge(&share, 1);
  EXPECT_TRUE(queue.Defer(Display(1), share));
  EXPECT_FALSE(queue.Next().has_value());
  queue.BeginRound();
  EXPECT_EQ(queue.Next()->channel.slot, 1u);
  EXPECT_FALSE(queue.Defer(Display(1), share));  // a new round, a new share
}

TEST(RunQueueTest, WhatWasDeferredComesBeforeWhatRan) {
  RunQueue queue;
  RoundShare share;
  queue.Add(Display(1));
  queue.Add(Display(2));
  queue.AddAgain(*queue.Next());
  queue.Charge(&share, kSessionRoundBytes);
  EXPECT_TRUE(queue.Defer(*queue.Next(), share));
  queue.BeginRound();
  EXPECT_EQ(queue.Next()->channel.slot, 2u);
  EXPECT_EQ(queue.Next()->channel.slot, 1u);
}

TEST(RunQueueTest, ADisplayWithoutEndAlternatesWithItsSessionsUsb) {
  RunQueue queue;
  RoundShare share;
  const RunQueue::Entry usb{Handle{9, 1}, Urgency::kBulk};
  std::map<uint32_t, int> runs;
  queue.Add(usb);
  queue.Add(Display(1));
  for (int round = 0; round < 100; ++round) {
    while (const auto entry = queue.Next()) {
      if (!queue.Defer(*entry, share)) {
        ++runs[entry->channel.slot];
        queue.Charge(&share, kSessionRoundBytes);
        queue.AddAgain(*entry);
      }
    }
    queue.BeginRound();
  }
  EXPECT_EQ(runs[1], 50);
  EXPECT_EQ(runs[9], 50);
}

TEST(RunQueueTest, WhatWasOverdrawnIsPaidBack) {
  RunQueue queue;
  RoundShare share;
  queue.Charge(&share, 3 * kSessionRoundBytes + kSessionRoundBytes / 2);
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(queue.IsSpent(share)) << round;
    queue.BeginRound();
  }
  EXPECT_FALSE(queue.IsSpent(share));
  queue.Charge(&share, kSessionRoundBytes / 2);
  EXPECT_TRUE(queue.IsSpent(share));
  for (int round = 0; round < 1000; ++round) {
    queue.BeginRound();
  }
  EXPECT_FALSE(queue.IsSpent(share));  // nothing is saved up either
  queue.Charge(&share, kSessionRoundBytes);
  EXPECT_TRUE(queue.IsSpent(share));
}

TEST(RunQueueTest, AShareDoesNotOverflow) {
  RunQueue queue;
  RoundShare share;
  queue.Charge(&share, SIZE_MAX);
  queue.Charge(&share, SIZE_MAX);
  EXPECT_TRUE(queue.Defer(Display(1), share));
}

// Channels that always have more, as RunTurn treats them.
TEST(RunQueueTest, SessionsGetTheSameWhateverTheirChannels) {
  constexpr size_t kStep = 64 * 1024;
  const std::vector<uint32_t> num_channels = {1, 2, 7};
  RunQueue queue;
  std::vector<RoundShare> shares(num_channels.size());
  std::map<uint32_t, size_t> moved;          // by session
  std::map<uint32_t, size_t> moved_channel;  // by slot
  for (uint32_t session = 0; session < num_channels.size(); ++session) {
    for (uint32_t i = 0; i < num_channels[session]; ++i) {
      queue.Add(Display(session * 100 + i));
    }
  }
  for (int round = 0; round < 700; ++round) {
    while (const auto entry = queue.Next()) {
      const uint32_t session = entry->channel.slot / 100;
      if (queue.Defer(*entry, shares[session])) {
        continue;
      }
      moved[session] += kStep;
      moved_channel[entry->channel.slot] += kStep;
      queue.Charge(&shares[session], kStep);
      queue.AddAgain(*entry);
    }
    queue.BeginRound();
  }
  // One channel moves one step a round here; several fill the session's part.
  EXPECT_EQ(moved[0], 700 * kStep);
  EXPECT_EQ(moved[1], 2 * 700 * kStep);
  EXPECT_EQ(moved[2], 700 * kSessionRoundBytes);
  for (uint32_t i = 0; i < num_channels[2]; ++i) {
    EXPECT_EQ(moved_channel[200 + i], 400 * kStep) << i;
  }
}

}  // namespace
}  // namespace spicegate
