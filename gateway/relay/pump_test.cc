// SPDX-License-Identifier: Apache-2.0
//
// One direction in the simulator: which way bytes go, and that the change of
// ways loses none. tests/sim does the same with faults, tests/relay with real
// sockets.
#include "gateway/relay/pump.h"

#include <gtest/gtest.h>

#include <string>

#include "gateway/relay/pump_fixture.h"

namespace spicegate {
namespace {

TEST_F(PumpTest, SmallMessagesAreCopied) {
  Open(&pipes_);
  Flow(100, 64);
  EXPECT_EQ(received_, sent_);
  EXPECT_EQ(copied(), 6400);
  EXPECT_EQ(spliced(), 0);
  EXPECT_EQ(network_.OpenPipes(), 0u);
}

TEST_F(PumpTest, BulkIsSplicedAfterAFewReads) {
  Open(&pipes_);
  Flow(20, kSpliceFromBytes);
  EXPECT_EQ(received_, sent_);
  EXPECT_EQ(copied(), int64_t{kLargeReadsToSplice * kSpliceFromBytes});
  EXPECT_EQ(copied() + spliced(), static_cast<int64_t>(sent_.size()));
  EXPECT_EQ(moved_.value(), static_cast<int64_t>(sent_.size()));
  EXPECT_EQ(pump_->bytes_moved(), static_cast<int64_t>(sent_.size()));
}

TEST_F(PumpTest, AnIdleDirectionHoldsNothing) {
  Open(&pipes_);
  Flow(10, kSpliceFromBytes);
  EXPECT_TRUE(pump_->splicing());
  EXPECT_EQ(counters_.pipes_in_use.value(), 0);
  EXPECT_EQ(counters_.relay_buffer_bytes.value(), 0);
}

TEST_F(PumpTest, ATrickleIsCopiedAgain) {
  Open(&pipes_);
  Flow(10, kSpliceFromBytes);
  const int64_t copied_before = copied();
  Flow(kSmallReadsToCopy, 64);
  EXPECT_FALSE(pump_->splicing());
  EXPECT_EQ(copied(), copied_before);
  Flow(10, 64);
  EXPECT_EQ(copied(), copied_before + 640);
  EXPECT_EQ(received_, sent_);
}

TEST_F(PumpTest, ALoneSmallMessageDoesNotChangeTheWay) {
  Open(&pipes_);
  Flow(5, kSpliceFromBytes);
  const int64_t copied_before = copied();
  for (int i = 0; i < 20; ++i) {
    Flow(1, 100);
    Flow(1, kSpliceFromBytes);
  }
  EXPECT_EQ(copied(), copied_before);
  EXPECT_EQ(received_, sent_);
}

TEST_F(PumpTest, MiddlingReadsKeepTheWay) {
  Open(&pipes_);
  Flow(20, kSpliceFromBytes - 1);
  EXPECT_EQ(spliced(), 0);
  Flow(kLargeReadsToSplice, kSpliceFromBytes);
  EXPECT_TRUE(pump_->splicing());
  Flow(20, kCopyBelowBytes);
  EXPECT_TRUE(pump_->splicing());
  EXPECT_EQ(received_, sent_);
}

TEST_F(PumpTest, TheRestOfALotDoesNotSpeakAgainstBulk) {
  Open(&pipes_);
  for (int i = 0; i < kLargeReadsToSplice; ++i) {
    Flow(1, kSpliceFromBytes);
    Flow(1, kCopyBelowBytes);
  }
  EXPECT_TRUE(pump_->splicing());
  EXPECT_EQ(received_, sent_);
}

TEST_F(PumpTest, WithoutPipesEverythingIsCopied) {
  Open(nullptr);
  Flow(20, kSpliceFromBytes);
  EXPECT_EQ(received_, sent_);
  EXPECT_EQ(copied(), static_cast<int64_t>(sent_.size()));
}

TEST_F(PumpTest, WhileNoPipeIsToBeHadItCopies) {
  PipePool none(&driver_, &counters_, {.max_pipes = 0});
  Open(&none);
  Flow(20, kSpliceFromBytes);
  EXPECT_EQ(received_, sent_);
  EXPECT_EQ(spliced(), 0);
  EXPECT_GT(counters_.pipe_shortages.value(), 0);
}

TEST_F(PumpTest, WhatIsLookedAtIsNeverSpliced) {
  Open(&pipes_);
  pump_->set_inspecting(true);
  Flow(10, kSpliceFromBytes);
  EXPECT_EQ(num_inspected_, sent_.size());
  EXPECT_EQ(spliced(), 0);
  pump_->set_inspecting(false);
  Flow(10, kSpliceFromBytes);
  EXPECT_GT(spliced(), 0);
  EXPECT_EQ(received_, sent_);
}

TEST_F(PumpTest, AStalledReaderCostsOnePipe) {
  Open(&pipes_);
  Flow(5, kSpliceFromBytes);
  const std::string flood(16 * 1024, 'x');
  size_t offered = 0;
  for (int i = 0; i < 1000; ++i) {
    offered += source_.WriteString(flood);
    Turn(1);
  }
  EXPECT_EQ(counters_.pipes_in_use.value(), 1);
  EXPECT_EQ(counters_.relay_buffer_bytes.value(), 0);
  // Two links' worth and the pipe; its last segment may stand out.
  EXPECT_LE(offered, 2 * 64 * 1024 + kPipeBytes + SimPipes::kMaxSegmentBytes +
                         flood.size());
  size_t received = 0;
  for (int i = 0; i < 1000; ++i) {
    received += sink_.ReadAll().size();
    Turn(1);
  }
  EXPECT_EQ(received, offered);
}

TEST_F(PumpTest, TheEndFollowsTheLastSplicedByte) {
  Open(&pipes_);
  Flow(5, kSpliceFromBytes);
  source_.WriteString(std::string(60'000, 'z'));
  source_.ShutdownWrite();
  bool ended = false;
  std::string rest;
  for (int i = 0; i < 50 && !ended; ++i) {
    Turn(1);
    rest += sink_.ReadAll(&ended);
  }
  EXPECT_TRUE(ended);
  EXPECT_TRUE(finished_);
  EXPECT_EQ(rest, std::string(60'000, 'z'));
}

TEST_F(PumpTest, AFailureWithAFullPipeIsTheSinks) {
  Open(&pipes_);
  Flow(5, kSpliceFromBytes);
  for (int i = 0; i < 100; ++i) {
    source_.WriteString(std::string(16 * 1024, 'x'));
    Turn(1);
  }
  EXPECT_EQ(counters_.pipes_in_use.value(), 1);
  sink_.Reset();
  Turn(10);
  EXPECT_TRUE(error_ == -ECONNRESET || error_ == -EPIPE) << error_;
  EXPECT_EQ(counters_.pipes_in_use.value(), 0);
}

}  // namespace
}  // namespace spicegate
