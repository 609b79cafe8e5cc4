// SPDX-License-Identifier: Apache-2.0
//
// A pump with a filter: what the filter decides is what happens, however the
// network cuts it.
#include "gateway/relay/pump_filter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include "gateway/relay/pump_fixture.h"

namespace spicegate {
namespace {

using Then = PumpFilter::Then;

struct PlannedStep {
  size_t pass = 0;
  std::string insert = {};
  size_t skip = 0;
  Then then = Then::kGoOn;
};

// Does what is planned, then passes everything. A planned kHold holds until
// Release. Says what must come out of that.
class PlannedFilter final : public PumpFilter {
 public:
  explicit PlannedFilter(std::deque<PlannedStep> plan = {})
      : plan_(std::move(plan)) {}

  Step Next(std::span<const uint8_t> bytes) override {
    ++num_asked_;
    const std::string shown(bytes.begin(), bytes.end());
    EXPECT_TRUE(!shown.empty() || HasInsert());
    EXPECT_TRUE(std::string_view(shown).starts_with(expect_again_));
    if (holding_) {
      expect_again_ = shown;
      return {.then = Then::kHold};
    }
    PlannedStep planned = {.pass = bytes.size()};
    if (!insert_now_.empty()) {
      planned = {.insert = std::exchange(insert_now_, {})};
    } else if (!plan_.empty()) {
      planned = plan_.front();
      plan_.pop_front();
    }
    return Take(planned, shown);
  }

  bool HasInsert() const override { return !insert_now_.empty(); }

  void InsertNow(const std::string& text) { insert_now_ = text; }
  void Release() { holding_ = false; }
  bool holding() const { return holding_; }

  const std::string& expected() const { return expected_; }
  const std::string& used() const { return used_; }
  int num_asked() const { return num_asked_; }

 private:
  Step Take(const PlannedStep& planned, const std::string& shown) {
    Step step;
    step.pass = std::min(planned.pass, shown.size());
    step.skip = std::min(planned.skip, shown.size() - step.pass);
    inserted_ = planned.insert;
    step.insert = {reinterpret_cast<const uint8_t*>(inserted_.data()),
                   inserted_.size()};
    step.then = planned.then;
    holding_ = planned.then == Then::kHold;
    used_ += shown.substr(0, step.pass + step.skip);
    if (step.then != Then::kRefuse) {
      expected_ += shown.substr(0, step.pass) + inserted_;
    }
    expect_again_ = shown.substr(step.pass + step.skip);
    return step;
  }

  std::deque<PlannedStep> plan_;
  std::string insert_now_;
  std::string inserted_;
  std::string expect_again_;
  std::string used_;
  std::string expected_;
  bool holding_ = false;
  int num_asked_ = 0;
};

class PumpFilterTest : public PumpTest {
 protected:
  explicit PumpFilterTest(const SimOptions& options = {}) : PumpTest(options) {}

  void Send(const std::string& text) {
    ASSERT_EQ(source_.WriteString(text), text.size());
    sent_ += text;
  }

  // Turns in which the sink reads; what is held is let go when it may be.
  void Settle(PlannedFilter* filter = nullptr, int turns = 60) {
    for (int i = 0; i < turns; ++i) {
      Turn(1);
      received_ += sink_.ReadAll(&sink_ended_);
      if (filter != nullptr && filter->holding() && pump_->held()) {
        filter->Release();
        RunUnheld();
      }
    }
  }

  void RunUnheld() {
    pump_->Unhold();
    pump_->Run(kPumpQuantumBytes);
  }

  // Runs the pump as a channel does that has something to say.
  void Insert(PlannedFilter* filter, const std::string& text) {
    filter->InsertNow(text);
    pump_->Run(kPumpQuantumBytes);
  }

  // Nothing of what was sent is lost, seen twice or in another order.
  void ExpectDone(const PlannedFilter& filter) {
    EXPECT_EQ(filter.used(), sent_);
    EXPECT_EQ(received_, filter.expected());
    EXPECT_EQ(pump_->bytes_moved(), static_cast<int64_t>(received_.size()));
    EXPECT_EQ(moved_.value(), static_cast<int64_t>(received_.size()));
    EXPECT_EQ(counters_.relay_buffer_bytes.value(), 0);
  }

  bool sink_ended_ = false;
};

// Every kind of step, alone and before each other kind; over links that take
// everything at once, and over some that take it in crumbs.
class StepTest : public PumpFilterTest,
                 public testing::WithParamInterface<size_t> {
 protected:
  StepTest() : PumpFilterTest(Options()) {}

  static SimOptions Options() {
    SimOptions options;
    options.link_capacity_bytes = GetParam();
    if (GetParam() < 100) {
      options.faults.partial_write = 0.8;
      options.faults.partial_read = 0.5;
      options.faults.spurious_eagain = 0.3;
    }
    return options;
  }

  static std::deque<PlannedStep> AllSteps() {
    std::deque<PlannedStep> steps;
    for (const size_t pass : {0, 3}) {
      for (const char* insert : {"", "[inserted]"}) {
        for (const size_t skip : {0, 2}) {
          for (const Then then : {Then::kGoOn, Then::kHold}) {
            const bool nothing = pass + skip == 0 && *insert == '\0';
            if (!nothing || then == Then::kHold) {
              steps.push_back({pass, insert, skip, then});
            }
          }
        }
      }
    }
    return steps;
  }

  void FlowThrough(PlannedFilter* filter) {
    Open(nullptr);
    pump_->set_filter(filter);
    const std::string text = "abcdefghijklmnopqrstuvwxyz";
    for (int i = 0; i < 4 || filter->num_asked() < 8; ++i) {
      for (size_t at = 0; at < text.size();) {
        const size_t n = source_.WriteString(text.substr(at));
        sent_ += text.substr(at, n);
        at += n;
        Settle(filter, 10);
      }
    }
    Settle(filter, 400);
    source_.ShutdownWrite();
    Settle(filter, 40);
    ExpectDone(*filter);
    EXPECT_TRUE(sink_ended_);
    EXPECT_TRUE(finished_);
  }
};

TEST_P(StepTest, AllInARow) {
  PlannedFilter filter(AllSteps());
  FlowThrough(&filter);
}

TEST_P(StepTest, AllBeforeAll) {
  for (const PlannedStep& first : AllSteps()) {
    std::deque<PlannedStep> plan;
    for (const PlannedStep& second : AllSteps()) {
      plan.push_back(first);
      plan.push_back(second);
    }
    PlannedFilter filter(plan);
    FlowThrough(&filter);
    pump_.reset();
    for (Leg& leg : pair_.legs) {
      leg.Release(Socket::End::kFin);
    }
    Turn(20);
    pair_.num_finished = 0;
    moved_.Add(-moved_.value());
    sent_.clear();
    received_.clear();
    finished_ = false;
    sink_ended_ = false;
  }
  Open(nullptr);
}

INSTANTIATE_TEST_SUITE_P(Links, StepTest, testing::Values(64 * 1024, 16, 5, 1));

TEST_F(PumpFilterTest, HoldsUntilItIsUnheld) {
  Open(nullptr);
  PlannedFilter filter({{.pass = 5, .then = Then::kHold}});
  pump_->set_filter(&filter);
  Send("passeheld");
  Settle();
  EXPECT_EQ(received_, "passe");
  EXPECT_TRUE(pump_->held());
  const int num_asked = filter.num_asked();
  Send(", and more");
  source_.ShutdownWrite();
  Settle();
  EXPECT_EQ(received_, "passe");
  EXPECT_EQ(filter.num_asked(), num_asked) << "asked while held";
  EXPECT_TRUE(source_ended_) << "the end is noticed meanwhile";
  EXPECT_FALSE(sink_ended_);
  // Unheld too early: it says so again.
  RunUnheld();
  Settle();
  EXPECT_TRUE(pump_->held());
  EXPECT_EQ(received_, "passe");
  filter.Release();
  RunUnheld();
  Settle();
  EXPECT_TRUE(sink_ended_);
  ExpectDone(filter);
}

TEST_F(PumpFilterTest, WhatIsHeldIsNoMoreThanABuffer) {
  Open(nullptr);
  PlannedFilter filter({{.then = Then::kHold}});
  pump_->set_filter(&filter);
  size_t offered = 0;
  for (int i = 0; i < 50; ++i) {
    const size_t n = source_.WriteString(std::string(16 * 1024, 'x'));
    sent_ += std::string(n, 'x');
    offered += n;
    Settle(nullptr, 2);
  }
  EXPECT_EQ(counters_.relay_buffer_bytes.value(),
            static_cast<int64_t>(sizeof(RelayBuffer)));
  EXPECT_LE(offered, 64 * 1024 + kPumpBufferBytes);
  Settle(&filter);
  ExpectDone(filter);
}

TEST_F(PumpFilterTest, RefusesOnceAndStops) {
  Open(nullptr);
  PlannedFilter filter({{.pass = 4}, {.then = Then::kRefuse}});
  pump_->set_filter(&filter);
  Send("good");
  Settle();
  Send("bad, and what is behind it");
  Settle();
  Send("more");
  pump_->Run(kPumpQuantumBytes);
  Settle();
  EXPECT_EQ(num_refused_, 1);
  EXPECT_EQ(received_, "good");
  EXPECT_EQ(filter.num_asked(), 2);
  EXPECT_FALSE(finished_);
  EXPECT_EQ(error_, 0);
  EXPECT_EQ(counters_.relay_buffer_bytes.value(), 0);
}

TEST_F(PumpFilterTest, InsertsThoughNothingCame) {
  Open(nullptr);
  PlannedFilter filter;
  pump_->set_filter(&filter);
  Settle();
  EXPECT_EQ(filter.num_asked(), 0);
  Insert(&filter, "out of nothing");
  Settle();
  EXPECT_EQ(received_, "out of nothing");
  ExpectDone(filter);
  // And bytes go on behind it.
  Send("something");
  Settle();
  EXPECT_EQ(received_, "out of nothingsomething");
  ExpectDone(filter);
}

TEST_F(PumpFilterTest, AnInsertWaitsForASinkThatDoesNotRead) {
  Open(nullptr);
  PlannedFilter filter;
  pump_->set_filter(&filter);
  for (int i = 0; i < 20; ++i) {
    sent_ += std::string(source_.WriteString(std::string(16 * 1024, 'x')), 'x');
    Turn(2);
  }
  filter.InsertNow("[late]");
  pump_->Run(kPumpQuantumBytes);
  EXPECT_TRUE(filter.HasInsert()) << "asked for more than the sink can take";
  Settle();
  EXPECT_EQ(received_.size(), sent_.size() + 6);
  ExpectDone(filter);
}

TEST_F(PumpFilterTest, WhatIsToBeInsertedComesBeforeTheEnd) {
  Open(nullptr);
  PlannedFilter filter;
  pump_->set_filter(&filter);
  filter.InsertNow("[last]");
  source_.ShutdownWrite();
  Settle();
  EXPECT_EQ(received_, "[last]");
  EXPECT_TRUE(sink_ended_);
  EXPECT_TRUE(finished_);
  // Behind the end it is too late.
  Insert(&filter, "[too late]");
  Settle();
  EXPECT_EQ(received_, "[last]");
  EXPECT_EQ(counters_.relay_buffer_bytes.value(), 0);
}

TEST_F(PumpFilterTest, AnInsertIsHeldLikeEverythingElse) {
  Open(nullptr);
  PlannedFilter filter;
  pump_->set_filter(&filter);
  pump_->Hold();
  Insert(&filter, "[held]");
  Settle();
  EXPECT_EQ(received_, "");
  RunUnheld();
  Settle();
  EXPECT_EQ(received_, "[held]");
}

TEST_F(PumpFilterTest, SeesNothingOfWhatWasReadBeforeIt) {
  Open(nullptr);
  // The link is full and so is the buffer.
  for (int i = 0; i < 20; ++i) {
    sent_ += std::string(source_.WriteString(std::string(16 * 1024, 'a')), 'a');
    Turn(2);
  }
  ASSERT_GT(counters_.relay_buffer_bytes.value(), 0);
  const size_t num_read = static_cast<size_t>(source_.num_delivered());
  PlannedFilter filter(std::deque<PlannedStep>{{.skip = 3}});
  pump_->set_filter(&filter);
  Settle();
  // Three bytes of what came later are gone, and only those.
  EXPECT_EQ(received_.size(), sent_.size() - 3);
  EXPECT_EQ(filter.used().size(), sent_.size() - num_read);
  Send("more");
  Settle();
  EXPECT_TRUE(received_.ends_with("more"));
}

TEST_F(PumpFilterTest, SeesNothingOfWhatIsInThePipe) {
  Open(&pipes_);
  Flow(5, kSpliceFromBytes);
  ASSERT_TRUE(pump_->splicing());
  for (int i = 0; i < 40; ++i) {
    sent_ += std::string(source_.WriteString(std::string(16 * 1024, 'a')), 'a');
    Turn(1);
  }
  ASSERT_EQ(counters_.pipes_in_use.value(), 1);
  const size_t num_read = static_cast<size_t>(source_.num_delivered());
  PlannedFilter filter(std::deque<PlannedStep>{{.skip = 3}});
  pump_->set_filter(&filter);
  Settle();
  EXPECT_EQ(received_.size(), sent_.size() - 3);
  EXPECT_EQ(filter.used().size(), sent_.size() - num_read);
}

TEST_F(PumpFilterTest, OneThatGoesTakesNothingAlong) {
  Open(nullptr);
  PlannedFilter filter;
  pump_->set_filter(&filter);
  for (int i = 0; i < 20; ++i) {
    sent_ += std::string(source_.WriteString(std::string(16 * 1024, 'a')), 'a');
    Turn(2);
  }
  ASSERT_GT(counters_.relay_buffer_bytes.value(), 0);
  pump_->set_filter(nullptr);
  const int num_asked = filter.num_asked();
  Settle();
  EXPECT_EQ(received_, sent_);
  EXPECT_EQ(filter.num_asked(), num_asked);
}

TEST_F(PumpFilterTest, NothingIsSplicedWithAFilterAndAgainWithout) {
  Open(&pipes_);
  Flow(10, kSpliceFromBytes);
  ASSERT_GT(spliced(), 0);
  PlannedFilter filter;
  pump_->set_filter(&filter);
  const int64_t spliced_before = spliced();
  const size_t sent_before = sent_.size();
  Flow(10, kSpliceFromBytes);
  EXPECT_EQ(spliced(), spliced_before);
  EXPECT_EQ(filter.used(), sent_.substr(sent_before));
  EXPECT_EQ(counters_.pipes_in_use.value(), 0);
  pump_->set_filter(nullptr);
  Flow(10, kSpliceFromBytes);
  EXPECT_GT(spliced(), spliced_before);
  EXPECT_EQ(received_, sent_);
}

// A filter whose owner ends the channel on what it is told.
class EndingFilter final : public PumpFilter {
 public:
  explicit EndingFilter(Pump* pump) : pump_(pump) {}

  Step Next(std::span<const uint8_t> bytes) override {
    pump_->Stop();
    return {.pass = bytes.size()};
  }
  bool HasInsert() const override { return false; }

 private:
  Pump* const pump_;
};

TEST_F(PumpFilterTest, MayEndTheChannelWhileItIsAsked) {
  Open(nullptr);
  EndingFilter filter(pump_.get());
  pump_->set_filter(&filter);
  Send("the last thing heard");
  Settle();
  EXPECT_EQ(received_, "");
  EXPECT_FALSE(finished_);
  EXPECT_EQ(num_refused_, 0);
}

// Random decisions over a random network, from one seed.
class ChanceFilterTest : public PumpFilterTest,
                         public testing::WithParamInterface<uint64_t> {
 protected:
  ChanceFilterTest() : PumpFilterTest(Options()) {}

  static SimOptions Options() {
    SimRandom random(GetParam());
    SimOptions options;
    options.seed = GetParam();
    options.link_capacity_bytes = size_t{1} << (4 + random.Below(12));
    SimFaults& faults = options.faults;
    faults.partial_read = 0.5;
    faults.partial_write = 0.7;
    faults.spurious_ready = 0.2;
    faults.spurious_eagain = 0.4;
    faults.no_memory = 0.1;
    faults.max_delay_turns = 3;
    return options;
  }

  PlannedStep AnyStep() {
    SimRandom* random = network_.random();
    PlannedStep step;
    step.pass = random->Chance(0.6) ? random->Below(2'000) : 0;
    if (random->Chance(0.3)) {
      step.insert = std::string(1 + random->Below(300), 'I');
    }
    step.skip = random->Chance(0.3) ? random->Below(500) : 0;
    const bool nothing = step.pass + step.skip == 0 && step.insert.empty();
    step.then = nothing || random->Chance(0.1) ? Then::kHold : Then::kGoOn;
    return step;
  }
};

TEST_P(ChanceFilterTest, LosesNothing) {
  std::deque<PlannedStep> plan;
  for (int i = 0; i < 60; ++i) {
    plan.push_back(AnyStep());
  }
  PlannedFilter filter(plan);
  Open(&pipes_);
  pump_->set_filter(&filter);
  SimRandom* random = network_.random();
  for (int i = 0; i < 4'000 && sent_.size() < 60'000; ++i) {
    const std::string piece(1 + random->Below(4'000),
                            static_cast<char>('a' + i % 26));
    sent_ += piece.substr(0, source_.WriteString(piece));
    Settle(&filter, 1);
    if (random->Chance(0.05) && !filter.HasInsert()) {
      Insert(&filter, "[own]");
    }
  }
  source_.ShutdownWrite();
  for (int i = 0; i < 200'000 && !sink_ended_; ++i) {
    Settle(&filter, 1);
  }
  EXPECT_TRUE(sink_ended_);
  ExpectDone(filter);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ChanceFilterTest,
                         testing::Range(uint64_t{1}, uint64_t{101}));

}  // namespace
}  // namespace spicegate
