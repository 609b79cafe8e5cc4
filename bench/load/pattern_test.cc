// SPDX-License-Identifier: Apache-2.0
#include "bench/load/pattern.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "bench/load/message_reader.h"

namespace spicegate {
namespace {

constexpr size_t kBufferLen = 70'000;

FloodPlan Fixed(uint32_t len, uint16_t seed = 7) {
  return {.type = 304, .seed = seed, .min_len = len, .max_len = len};
}

// The first `num` messages of a flood.
std::vector<uint8_t> MakeFlood(const FloodPlan& plan, int num) {
  PatternBuffer pattern(kBufferLen);
  FloodSource source(&pattern, plan);
  std::vector<uint8_t> bytes;
  for (int i = 0; i < num; ++i) {
    const proto::Bytes next = source.Next();
    bytes.insert(bytes.end(), next.begin(), next.end());
    source.Advance(next.size());
  }
  return bytes;
}

// Checks a flood that comes in pieces; the number of bad messages, or -1 when
// the stream makes no sense any more.
class Receiver : private MessageHandler {
 public:
  Receiver(const FloodPlan& plan, Verify verify)
      : sink_(&pattern_, plan, verify) {}

  bool Feed(proto::Bytes bytes) { return reader_.Feed(bytes); }
  const FloodSink& sink() const { return sink_; }

 private:
  bool IsFlood(uint16_t type) const override {
    return type == sink_.plan().type;
  }
  bool OnWholeMessage(uint16_t, proto::Bytes) override { return false; }
  bool OnFloodBegin(uint32_t body_len) override {
    return sink_.Begin(body_len);
  }
  void OnFloodPiece(proto::Bytes piece) override { sink_.Feed(piece); }
  void OnFloodEnd() override { sink_.End(); }

  PatternBuffer pattern_{kBufferLen};
  FloodSink sink_;
  MessageReader reader_{this};
};

// Whether a stream is taken for what `plan` sends.
bool Accepts(const FloodPlan& plan, const std::vector<uint8_t>& bytes,
             Verify verify) {
  Receiver receiver(plan, verify);
  return receiver.Feed(bytes) && receiver.sink().num_errors() == 0;
}

TEST(Pattern, IsAcceptedInPiecesOfEveryLength) {
  for (const uint32_t len : {16u, 17u, 4096u, 4110u, 65'536u}) {
    const std::vector<uint8_t> bytes = MakeFlood(Fixed(len), 5);
    ASSERT_EQ(bytes.size(), 5 * len);
    for (const size_t piece : {1u, 3u, 7u, 4095u, 4096u, 100'000u}) {
      Receiver receiver(Fixed(len), Verify::kFull);
      for (size_t at = 0; at < bytes.size(); at += piece) {
        const size_t n = std::min(piece, bytes.size() - at);
        ASSERT_TRUE(receiver.Feed(proto::Bytes(bytes).subspan(at, n)));
      }
      EXPECT_EQ(receiver.sink().num_messages(), 5u);
      EXPECT_EQ(receiver.sink().num_errors(), 0u);
    }
  }
}

// Sending in bits, with another stream using the buffer between them, gives the
// same bytes as sending whole.
TEST(Pattern, SharedBufferKeepsStreamsApart) {
  const std::vector<uint8_t> whole = MakeFlood(Fixed(20'000), 3);
  PatternBuffer pattern(kBufferLen);
  FloodSource source(&pattern, Fixed(20'000));
  FloodSource other(&pattern, Fixed(30'000, 8));
  std::vector<uint8_t> bytes;
  while (bytes.size() < whole.size()) {
    const proto::Bytes next = source.Next();
    const size_t n = std::min<size_t>(next.size(), 777);
    bytes.insert(bytes.end(), next.begin(), next.begin() + n);
    source.Advance(n);
    other.Advance(other.Next().size());
  }
  EXPECT_EQ(bytes, whole);
  EXPECT_TRUE(source.at_boundary());
}

TEST(Pattern, LengthsBetweenTheBoundsComeFromTheSeed) {
  const FloodPlan plan = {
      .type = 304, .seed = 3, .min_len = 100, .max_len = 200};
  uint32_t shortest = UINT32_MAX;
  uint32_t longest = 0;
  for (uint64_t i = 0; i < 5'000; ++i) {
    shortest = std::min(shortest, plan.LenOf(i));
    longest = std::max(longest, plan.LenOf(i));
  }
  EXPECT_EQ(shortest, 100u);
  EXPECT_EQ(longest, 200u);
  EXPECT_TRUE(Accepts(plan, MakeFlood(plan, 50), Verify::kFull));
}

TEST(Pattern, AnotherStreamIsRefused) {
  const std::vector<uint8_t> bytes = MakeFlood(Fixed(5'000, 1), 3);
  EXPECT_FALSE(Accepts(Fixed(5'000, 2), bytes, Verify::kStamps));
  EXPECT_TRUE(Accepts(Fixed(5'000, 2), bytes, Verify::kNone));
}

// A byte lost or doubled anywhere moves the next stamp or header.
TEST(Pattern, LossAndDuplicationAreSeenByStamps) {
  const std::vector<uint8_t> bytes = MakeFlood(Fixed(20'000), 5);
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    const size_t at = random() % (bytes.size() - 20'000);
    std::vector<uint8_t> lost = bytes;
    lost.erase(lost.begin() + static_cast<ptrdiff_t>(at));
    EXPECT_FALSE(Accepts(Fixed(20'000), lost, Verify::kStamps)) << at;
    std::vector<uint8_t> doubled = bytes;
    doubled.insert(doubled.begin() + static_cast<ptrdiff_t>(at), bytes[at]);
    EXPECT_FALSE(Accepts(Fixed(20'000), doubled, Verify::kStamps)) << at;
  }
}

TEST(Pattern, SwappedMessagesAreSeenByStamps) {
  std::vector<uint8_t> bytes = MakeFlood(Fixed(5'000), 4);
  std::swap_ranges(bytes.begin() + 5'000, bytes.begin() + 10'000,
                   bytes.begin() + 10'000);
  EXPECT_FALSE(Accepts(Fixed(5'000), bytes, Verify::kStamps));
}

TEST(Pattern, EveryChangedByteIsSeenWhenAllAreCompared) {
  const std::vector<uint8_t> bytes = MakeFlood(Fixed(5'000), 2);
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::vector<uint8_t> changed = bytes;
    changed[at] ^= 0x20;
    EXPECT_FALSE(Accepts(Fixed(5'000), changed, Verify::kFull)) << at;
  }
}

// Of 64 messages the first is compared whole even then.
TEST(Pattern, StampsCompareSomeMessagesWhole) {
  std::vector<uint8_t> bytes = MakeFlood(Fixed(5'000), 3);
  bytes[3'000] ^= 1;
  EXPECT_FALSE(Accepts(Fixed(5'000), bytes, Verify::kStamps));
  bytes[3'000] ^= 1;
  bytes[8'000] ^= 1;
  EXPECT_TRUE(Accepts(Fixed(5'000), bytes, Verify::kStamps));
  EXPECT_FALSE(Accepts(Fixed(5'000), bytes, Verify::kFull));
}

TEST(Pattern, TooLongAMessageIsRefusedNotRead) {
  PatternBuffer pattern(1'000);
  const std::vector<uint8_t> bytes(5'000);
  EXPECT_FALSE(pattern.Matches(Fixed(5'000), 0, 0, bytes, false));
}

}  // namespace
}  // namespace spicegate
