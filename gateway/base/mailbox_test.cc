// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/mailbox.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace spicegate {
namespace {

TEST(MailboxTest, KeepsOrderAndAsksForOneWakeUp) {
  Mailbox<int> mailbox;
  EXPECT_TRUE(mailbox.TakeAll().empty());
  EXPECT_TRUE(mailbox.Push(1));
  EXPECT_FALSE(mailbox.Push(2));
  EXPECT_FALSE(mailbox.Push(3));
  EXPECT_EQ(mailbox.TakeAll(), (std::vector<int>{1, 2, 3}));
  EXPECT_TRUE(mailbox.TakeAll().empty());
  EXPECT_TRUE(mailbox.Push(4));
  EXPECT_EQ(mailbox.TakeAll(), std::vector<int>{4});
}

TEST(MailboxTest, CarriesWhatCanOnlyBeMoved) {
  Mailbox<std::unique_ptr<int>> mailbox;
  EXPECT_TRUE(mailbox.Push(std::make_unique<int>(7)));
  EXPECT_EQ(*mailbox.TakeAll().at(0), 7);
}

TEST(MailboxTest, ManyThreadsLoseNothingAndEachKeepsItsOrder) {
  constexpr int kNumThreads = 4;
  constexpr int kPerThread = 20'000;
  Mailbox<std::pair<int, int>> mailbox;
  // Stands for the owner's driver: one more for each wake-up asked for.
  std::atomic<int> wake_ups{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kNumThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPerThread; ++i) {
        if (mailbox.Push({t, i})) {
          wake_ups.fetch_add(1);
          wake_ups.notify_one();
        }
      }
    });
  }
  std::vector<int> next(kNumThreads, 0);
  int received = 0;
  int woken = 0;
  while (received < kNumThreads * kPerThread) {
    // Sleeps when no wake-up is due: one that was never asked for would hang
    // the test here.
    wake_ups.wait(woken);
    woken = wake_ups.load();
    for (const auto& [thread, value] : mailbox.TakeAll()) {
      EXPECT_EQ(value, next[thread]++);
      ++received;
    }
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(next, std::vector<int>(kNumThreads, kPerThread));
}

}  // namespace
}  // namespace spicegate
