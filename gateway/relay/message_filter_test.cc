// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/message_filter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "gateway/relay/filter_runner.h"

namespace spicegate {
namespace {

using Buffer = std::vector<uint8_t>;
using Then = PumpFilter::Then;
using proto::HeaderKind;

Buffer Message(HeaderKind kind, uint16_t type, const Buffer& body,
               uint32_t claimed_len, uint64_t serial = 7) {
  Buffer message(proto::DataHeaderLen(kind));
  proto::EncodeDataHeader(
      kind, {.type = type, .size = claimed_len, .serial = serial}, message);
  message.insert(message.end(), body.begin(), body.end());
  return message;
}

Buffer Message(HeaderKind kind, uint16_t type, const Buffer& body) {
  return Message(kind, type, body, static_cast<uint32_t>(body.size()));
}

Buffer Join(const std::vector<Buffer>& parts) {
  Buffer whole;
  for (const Buffer& part : parts) {
    whole.insert(whole.end(), part.begin(), part.end());
  }
  return whole;
}

Buffer Ramp(size_t len, uint8_t first = 1) {
  Buffer body(len);
  for (size_t i = 0; i < len; ++i) {
    body[i] = static_cast<uint8_t>(first + i);
  }
  return body;
}

// What the message filter does with a message is written in its type.
enum Type : uint16_t {
  kPlain = 1,
  kDropped,
  kDroppedByFront,   // judged with three bytes of its body
  kReplaced,         // by kReplacement with the body backwards
  kReplacedAndMore,  // likewise, and behind it comes kOwn
  kHeld,             // until release()
  kHeldByFront,      // likewise, after three bytes of its body
  kRefused,
  kRefusedByFront,  // after two bytes, then three
  kPassedByFront,   // likewise
  kWatched,         // until its body has a kBad
  kWatchedByFront,  // likewise, after three bytes of it
  kReplacement,
  kOwn,
};

constexpr uint8_t kBad = 0xEE;

class ScriptedFilter : public MessageFilter {
 public:
  using MessageFilter::MessageFilter;
  using MessageFilter::WaitingBody;

  void release() { released_ = true; }
  // Types judged for good, in order.
  const std::vector<uint16_t>& judged() const { return judged_; }
  const Buffer& watched() const { return watched_; }

 private:
  Judgement Judge(const proto::DataHeader& header,
                  std::span<const uint8_t> front) override {
    EXPECT_LE(front.size(), header.size);
    EXPECT_GE(front.size(), asked_);
    const Judgement judgement = Decide(header, front);
    asked_ = judgement.verdict == Verdict::kNeed ? judgement.need : 0;
    if (judgement.verdict != Verdict::kNeed &&
        judgement.verdict != Verdict::kHold) {
      judged_.push_back(header.type);
    }
    return judgement;
  }

  Judgement Decide(const proto::DataHeader& header,
                   std::span<const uint8_t> front) {
    if (front.size() < Needed(header, front.size())) {
      return {Verdict::kNeed, Needed(header, front.size())};
    }
    switch (header.type) {
      case kDropped:
      case kDroppedByFront:
        return {Verdict::kDrop};
      case kReplaced:
      case kReplacedAndMore:
        return ReplaceBackwards(header, front);
      case kHeld:
      case kHeldByFront:
        return {released_ ? Verdict::kPass : Verdict::kHold};
      case kRefused:
      case kRefusedByFront:
        return {Verdict::kRefuse};
    }
    return {.verdict = Verdict::kPass,
            .watch = header.type == kWatched || header.type == kWatchedByFront};
  }

  bool OnBody(std::span<const uint8_t> piece) override {
    watched_.insert(watched_.end(), piece.begin(), piece.end());
    return std::ranges::find(piece, kBad) == piece.end();
  }

  static size_t Needed(const proto::DataHeader& header, size_t shown) {
    switch (header.type) {
      case kDroppedByFront:
      case kHeldByFront:
      case kWatchedByFront:
        return 3;
      case kRefusedByFront:
      case kPassedByFront:
        return shown < 2 ? 2 : 3;
      case kReplaced:
      case kReplacedAndMore:
        return header.size;
    }
    return 0;
  }

  Judgement ReplaceBackwards(const proto::DataHeader& header,
                             std::span<const uint8_t> front) {
    const Buffer body(front.rbegin(), front.rend());
    Replace({kReplacement, header.size, header.serial}, body);
    if (header.type == kReplacedAndMore) {
      Insert(kOwn, Ramp(2, 50));
    }
    return {Verdict::kReplace};
  }

  std::vector<uint16_t> judged_;
  Buffer watched_;
  size_t asked_ = 0;
  bool released_ = false;
};

class MessageFilterTest : public testing::TestWithParam<HeaderKind> {
 protected:
  HeaderKind kind() const { return GetParam(); }
  size_t header_len() const { return proto::DataHeaderLen(kind()); }
  Buffer Of(uint16_t type, const Buffer& body) const {
    return Message(kind(), type, body);
  }

  ScriptedFilter filter_{GetParam()};
  FilterRunner runner_{&filter_};
};

TEST_P(MessageFilterTest, WholeMessagesAreOneStep) {
  const Buffer read =
      Join({Of(kPlain, Ramp(9)), Of(kPlain, {}), Of(kPassedByFront, Ramp(5))});
  const PumpFilter::Step step = filter_.Next(read);
  EXPECT_EQ(step.pass, read.size());
  EXPECT_EQ(step.skip, 0u);
  EXPECT_TRUE(step.insert.empty());
  EXPECT_EQ(step.then, Then::kGoOn);
}

TEST_P(MessageFilterTest, BodiesStreamThrough) {
  const Buffer message = Message(kind(), kPlain, Ramp(10), 0xFFFFFFFF);
  const PumpFilter::Step first = filter_.Next(message);
  EXPECT_EQ(first.pass, message.size());
  EXPECT_FALSE(filter_.at_boundary());
  const Buffer more = Ramp(5000);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(filter_.Next(more).pass, more.size());
  }
  EXPECT_FALSE(filter_.at_boundary());
  EXPECT_EQ(filter_.judged(), std::vector<uint16_t>{kPlain});
}

TEST_P(MessageFilterTest, FrontInPiecesGoesOnWhenItIsJudged) {
  const Buffer message = Of(kPassedByFront, Ramp(9));
  for (size_t i = 0; i < header_len() + 3; ++i) {
    EXPECT_TRUE(runner_.out().empty()) << i;
    EXPECT_TRUE(filter_.judged().empty()) << i;
    EXPECT_TRUE(filter_.at_boundary()) << i;
    runner_.Feed(std::span(message).subspan(i, 1));
  }
  EXPECT_EQ(filter_.judged().size(), 1u);
  EXPECT_EQ(runner_.out().size(), header_len() + 3);
  runner_.Feed(std::span(message).subspan(header_len() + 3));
  EXPECT_EQ(runner_.out(), message);
}

TEST_P(MessageFilterTest, DropsBodiesAsTheyCome) {
  const Buffer dropped = Of(kDropped, Ramp(6));
  const Buffer by_front = Of(kDroppedByFront, Ramp(7));
  const Buffer plain = Of(kPlain, Ramp(3));
  runner_.Feed(Join({plain, dropped, by_front, plain}));
  EXPECT_EQ(runner_.out(), Join({plain, plain}));
}

TEST_P(MessageFilterTest, ReplacesAWholeMessage) {
  const Buffer plain = Of(kPlain, Ramp(3));
  runner_.Feed(Join({plain, Of(kReplaced, {1, 2, 3}), plain}));
  EXPECT_EQ(runner_.out(), Join({plain, Of(kReplacement, {3, 2, 1}), plain}));
}

TEST_P(MessageFilterTest, RefusesBehindWhatIsGood) {
  const Buffer plain = Of(kPlain, Ramp(3));
  const Buffer read = Join({plain, Of(kRefused, Ramp(4)), plain});
  const PumpFilter::Step step = filter_.Next(read);
  EXPECT_EQ(step.pass, plain.size());
  EXPECT_EQ(step.skip, 0u);
  EXPECT_EQ(step.then, Then::kRefuse);
}

TEST_P(MessageFilterTest, HeldMessageStaysWithThePumpUntilReleased) {
  for (const uint16_t type : {kHeld, kHeldByFront}) {
    ScriptedFilter filter(kind());
    FilterRunner runner(&filter);
    const Buffer plain = Of(kPlain, Ramp(3));
    const Buffer held = Of(type, Ramp(5));
    runner.Feed(Join({plain, held, plain}));
    EXPECT_EQ(runner.then(), Then::kHold);
    EXPECT_EQ(runner.out(), plain);
    EXPECT_EQ(runner.num_waiting(), held.size() + plain.size());
    runner.Unhold();
    EXPECT_EQ(runner.then(), Then::kHold);  // nothing has changed
    filter.release();
    runner.Unhold();
    EXPECT_EQ(runner.out(), Join({plain, held, plain}));
    EXPECT_EQ(filter.judged().size(), 3u);
  }
}

TEST_P(MessageFilterTest, HeldMessageMayComeInPieces) {
  const Buffer held = Of(kHeldByFront, Ramp(5));
  const Buffer stream = Join({held, Of(kPlain, Ramp(4))});
  for (size_t cut = 1; cut < held.size(); ++cut) {
    ScriptedFilter filter(kind());
    FilterRunner runner(&filter);
    runner.Feed(std::span(stream).first(cut));
    runner.Feed(std::span(stream).subspan(cut));
    ASSERT_EQ(runner.then(), Then::kHold) << cut;
    EXPECT_TRUE(runner.out().empty());
    EXPECT_GE(runner.num_waiting(), 1u);
    filter.release();
    runner.Unhold();
    EXPECT_EQ(runner.out(), stream) << cut;
    EXPECT_EQ(filter.judged().size(), 2u);
  }
}

// Nothing of a body goes on unwatched, and what is bad does not.
TEST_P(MessageFilterTest, WatchesWholeBodies) {
  for (const uint16_t type : {kWatched, kWatchedByFront}) {
    const Buffer good = Join({Of(type, Ramp(9)), Of(kPlain, Ramp(4)),
                              Of(type, Ramp(6, 40)), Of(kDropped, Ramp(4))});
    Buffer bad_body = Ramp(8, 60);
    bad_body[5] = kBad;
    const Buffer stream = Join({good, Of(type, bad_body), Of(kPlain, Ramp(1))});
    const Buffer seen = Join({Ramp(9), Ramp(6, 40)});
    const size_t good_len = good.size() - header_len() - 4;
    for (size_t cut = 0; cut <= stream.size(); ++cut) {
      ScriptedFilter filter(kind());
      FilterRunner runner(&filter);
      runner.Feed(std::span(stream).first(cut));
      runner.Feed(std::span(stream).subspan(cut));
      ASSERT_EQ(runner.then(), Then::kRefuse) << cut;
      ASSERT_GE(filter.watched().size(), seen.size() + 6);
      EXPECT_TRUE(
          std::equal(seen.begin(), seen.end(), filter.watched().begin()))
          << cut;
      EXPECT_GE(runner.out().size(), good_len);
      EXPECT_LT(runner.out().size(), good_len + header_len() + 6);
      EXPECT_EQ(std::ranges::find(runner.out(), kBad), runner.out().end());
    }
  }
}

TEST_P(MessageFilterTest, InsertsWithoutBytes) {
  EXPECT_FALSE(filter_.HasInsert());
  filter_.Insert(kOwn, Ramp(4));
  filter_.Insert(kOwn, {});
  EXPECT_TRUE(filter_.HasInsert());
  runner_.Run();
  EXPECT_FALSE(filter_.HasInsert());
  EXPECT_EQ(runner_.out(), Join({Message(kind(), kOwn, Ramp(4), 4, 0),
                                 Message(kind(), kOwn, {}, 0, 0)}));
}

TEST_P(MessageFilterTest, InsertsBetweenMessagesOnly) {
  const Buffer message = Of(kPlain, Ramp(20));
  for (size_t cut = 0; cut <= message.size(); ++cut) {
    ScriptedFilter filter(kind());
    FilterRunner runner(&filter);
    runner.Feed(message);
    runner.Feed(std::span(message).first(cut));
    filter.Insert(kOwn, Ramp(4));
    const bool between = cut < header_len() || cut == message.size();
    EXPECT_EQ(filter.HasInsert(), between) << cut;
    runner.Run();
    runner.Feed(Join({{message.begin() + cut, message.end()}, message}));
    const Buffer own = Of(kOwn, Ramp(4));
    const bool before = cut < header_len();
    EXPECT_EQ(runner.out(), before ? Join({message, own, message, message})
                                   : Join({message, message, own, message}))
        << cut;
  }
}

TEST_P(MessageFilterTest, InsertsWhileAMessageIsDropped) {
  const Buffer dropped = Of(kDropped, Ramp(9));
  runner_.Feed(std::span(dropped).first(header_len() + 2));
  filter_.Insert(kOwn, Ramp(4));
  runner_.Run();
  EXPECT_EQ(runner_.out(), Of(kOwn, Ramp(4)));
  runner_.Feed(std::span(dropped).subspan(header_len() + 2));
  EXPECT_EQ(runner_.out(), Of(kOwn, Ramp(4)));
}

TEST_P(MessageFilterTest, InsertsBehindTheMessageThatAskedForIt) {
  const Buffer plain = Of(kPlain, Ramp(3));
  runner_.Feed(Join({Of(kReplacedAndMore, {1, 2}), plain}));
  EXPECT_EQ(runner_.out(),
            Join({Of(kReplacement, {2, 1}), Of(kOwn, Ramp(2, 50)), plain}));
}

TEST_P(MessageFilterTest, WhatWaitsLastCanBeChanged) {
  EXPECT_TRUE(filter_.WaitingBody(kOwn).empty());
  filter_.Insert(kOwn, Ramp(4));
  filter_.Insert(kPlain, Ramp(2));
  EXPECT_TRUE(filter_.WaitingBody(kOwn).empty());
  filter_.Insert(kOwn, Ramp(4));
  ASSERT_EQ(filter_.WaitingBody(kOwn).size(), 4u);
  filter_.WaitingBody(kOwn)[0] = 99;
  runner_.Run();
  EXPECT_TRUE(filter_.WaitingBody(kOwn).empty());
  Buffer changed = Ramp(4);
  changed[0] = 99;
  const Buffer own = Message(kind(), kOwn, Ramp(4), 4, 0);
  EXPECT_EQ(runner_.out(), Join({own, Message(kind(), kPlain, Ramp(2), 2, 0),
                                 Message(kind(), kOwn, changed, 4, 0)}));
}

TEST_P(MessageFilterTest, WhatWaitsIsBounded) {
  const Buffer unfinished = Message(kind(), kPlain, Ramp(1), 2);
  runner_.Feed(unfinished);
  for (int i = 0; i < 100'000; ++i) {
    filter_.Insert(kOwn, Ramp(10));
  }
  runner_.Feed(Ramp(1));
  EXPECT_GT(runner_.out().size(), MessageFilter::kMaxWaitingBytes);
  EXPECT_LT(runner_.out().size(), MessageFilter::kMaxWaitingBytes + 100);
}

// What came of a stream, however it was cut.
struct Outcome {
  Buffer out;
  std::vector<uint16_t> judged;
  Then then = Then::kGoOn;

  bool operator==(const Outcome&) const = default;
};

Outcome Play(HeaderKind kind, const Buffer& stream,
             const std::vector<size_t>& cuts) {
  ScriptedFilter filter(kind);
  filter.release();
  FilterRunner runner(&filter);
  size_t from = 0;
  for (const size_t cut : cuts) {
    runner.Feed(std::span(stream).subspan(from, cut - from));
    from = cut;
  }
  runner.Feed(std::span(stream).subspan(from));
  return {runner.out(), filter.judged(), runner.then()};
}

TEST_P(MessageFilterTest, CutsMakeNoDifference) {
  for (const uint16_t last : {kRefused, kRefusedByFront, kPlain}) {
    const Buffer stream =
        Join({Of(kPlain, Ramp(3)), Of(kDropped, Ramp(4)),
              Of(kPassedByFront, Ramp(6)), Of(kReplaced, Ramp(5)),
              Of(kHeldByFront, Ramp(3)), Of(kPlain, {}),
              Of(kDroppedByFront, Ramp(4)), Of(kReplacedAndMore, Ramp(3)),
              Of(kHeld, {}), Of(last, Ramp(4)), Of(kPlain, Ramp(2))});
    const Outcome whole = Play(kind(), stream, {});
    EXPECT_EQ(whole.then == Then::kGoOn, last == kPlain);
    for (size_t a = 0; a <= stream.size(); ++a) {
      ASSERT_EQ(Play(kind(), stream, {a}), whole) << a;
      for (size_t b = a; b <= stream.size(); b += 5) {
        ASSERT_EQ(Play(kind(), stream, {a, b}), whole) << a << ' ' << b;
      }
    }
    std::vector<size_t> everywhere(stream.size());
    std::generate(everywhere.begin(), everywhere.end(),
                  [i = size_t{0}]() mutable { return i++; });
    EXPECT_EQ(Play(kind(), stream, everywhere), whole);
  }
}

TEST(FullHeaderTest, OwnMessagesRepeatTheLastSerial) {
  ScriptedFilter filter(HeaderKind::kFull);
  FilterRunner runner(&filter);
  const Buffer message = Message(HeaderKind::kFull, kPlain, {}, 0, 41);
  runner.Feed(message);
  filter.Insert(kOwn, {});
  runner.Run();
  const Buffer own = Message(HeaderKind::kFull, kOwn, {}, 0, 41);
  EXPECT_EQ(runner.out(), Join({message, own}));
}

INSTANTIATE_TEST_SUITE_P(Headers, MessageFilterTest,
                         testing::Values(HeaderKind::kMini, HeaderKind::kFull),
                         [](const auto& info) {
                           return info.param == HeaderKind::kMini ? "Mini"
                                                                  : "Full";
                         });

}  // namespace
}  // namespace spicegate
