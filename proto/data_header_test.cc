// SPDX-License-Identifier: Apache-2.0
#include "proto/data_header.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proto/test_bytes.h"

namespace spicegate::proto {
namespace {

using Event = MessageFramer::Event;

constexpr char kMini[] = "6700 20000000";
constexpr char kFull[] = "0700000000000000 6700 20000000 05000000";

// Feeds `in` and writes the events down: H type/size, B hex, E; "." for need
// more. Body pieces are joined, so the text does not depend on the cuts.
std::string Trace(MessageFramer& framer, Bytes in) {
  std::string trace;
  for (;;) {
    const MessageFramer::Step step = framer.Feed(in);
    in = in.subspan(step.consumed);
    switch (step.event) {
      case Event::kNeedMore:
        EXPECT_TRUE(in.empty());
        return trace;
      case Event::kHeader:
        trace += "H" + std::to_string(framer.header().type) + "/" +
                 std::to_string(framer.header().size) + " ";
        break;
      case Event::kBody:
        EXPECT_FALSE(step.body.empty());
        trace += ToHex(step.body);
        break;
      case Event::kEnd:
        trace += "E ";
        break;
    }
  }
}

TEST(DataHeaderTest, MiniLayout) {
  const auto in = FromHex(kMini);
  const auto header = ParseDataHeader(HeaderKind::kMini, in);
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(*header, (DataHeader{.type = 103, .size = 32}));
  std::array<uint8_t, kMiniHeaderLen> out{};
  EXPECT_EQ(EncodeDataHeader(HeaderKind::kMini, *header, out), 6u);
  EXPECT_EQ(ToHex(out), ToHex(in));
}

TEST(DataHeaderTest, FullLayout) {
  const auto in = FromHex(kFull);
  const auto header = ParseDataHeader(HeaderKind::kFull, in);
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(*header,
            (DataHeader{.type = 103, .size = 32, .serial = 7, .sub_list = 5}));
  std::array<uint8_t, kFullHeaderLen> out{};
  EXPECT_EQ(EncodeDataHeader(HeaderKind::kFull, *header, out), 18u);
  EXPECT_EQ(ToHex(out), ToHex(in));
}

TEST(DataHeaderTest, ShortInputAndOutput) {
  const auto in = FromHex(kFull);
  std::array<uint8_t, kFullHeaderLen> out{};
  for (size_t len = 0; len < kFullHeaderLen; ++len) {
    EXPECT_FALSE(ParseDataHeader(HeaderKind::kFull, Prefix(in, len)));
    EXPECT_EQ(
        EncodeDataHeader(HeaderKind::kFull, {}, MutableBytes(out).first(len)),
        0u);
  }
  EXPECT_FALSE(ParseDataHeader(HeaderKind::kMini, Prefix(in, 5)));
  EXPECT_EQ(EncodeDataHeader(HeaderKind::kMini, {}, MutableBytes(out).first(5)),
            0u);
}

TEST(MessageFramerTest, CutsAStreamAnyhow) {
  const auto stream =
      FromHex("0400 03000000 aabbcc  0200 00000000  6b00 01000000 dd");
  const std::string expected = "H4/3 aabbccE H2/0 E H107/1 ddE ";
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    MessageFramer framer(HeaderKind::kMini);
    std::string trace;
    for (size_t at = 0; at < stream.size(); at += piece) {
      const size_t len = std::min(piece, stream.size() - at);
      trace += Trace(framer, Bytes(stream).subspan(at, len));
    }
    EXPECT_EQ(trace, expected) << piece;
    EXPECT_EQ(framer.num_messages(), 3u);
    EXPECT_TRUE(framer.at_boundary());
  }
}

TEST(MessageFramerTest, MiniSerialsCount) {
  MessageFramer framer(HeaderKind::kMini);
  Trace(framer, FromHex("0200 00000000 0200 00000000"));
  EXPECT_EQ(framer.header().serial, 2u);
}

TEST(MessageFramerTest, FullHeadersKeepTheirOwnSerial) {
  MessageFramer framer(HeaderKind::kFull);
  EXPECT_EQ(Trace(framer, FromHex("0900000000000000 0200 00000000 00000000")),
            "H2/0 E ");
  EXPECT_EQ(framer.header().serial, 9u);
  EXPECT_EQ(framer.num_messages(), 1u);
}

TEST(MessageFramerTest, TellsWhereItIs) {
  MessageFramer framer(HeaderKind::kMini);
  EXPECT_TRUE(framer.at_boundary());
  EXPECT_EQ(framer.header_remaining(), 6u);

  Trace(framer, FromHex("0400 03"));
  EXPECT_FALSE(framer.at_boundary());
  EXPECT_FALSE(framer.in_message());
  EXPECT_EQ(framer.header_remaining(), 3u);
  EXPECT_EQ(ToHex(framer.header_bytes()), "040003");

  Trace(framer, FromHex("000000 aa"));
  EXPECT_TRUE(framer.in_message());
  EXPECT_EQ(framer.body_remaining(), 2u);
  EXPECT_EQ(framer.header_remaining(), 0u);
  EXPECT_EQ(framer.num_headers(), 1u);
  EXPECT_EQ(framer.num_messages(), 0u);
  EXPECT_EQ(ToHex(framer.header_bytes()), "040003000000");

  Trace(framer, FromHex("bbcc"));
  EXPECT_TRUE(framer.at_boundary());
  EXPECT_EQ(framer.num_messages(), 1u);
  EXPECT_TRUE(framer.header_bytes().empty());
  EXPECT_EQ(framer.header().type, 4);
}

TEST(MessageFramerTest, HeaderComesBeforeTheBodyHasArrived) {
  MessageFramer framer(HeaderKind::kMini);
  EXPECT_EQ(Trace(framer, FromHex("6500 ffffffff")), "H101/4294967295 ");
  EXPECT_EQ(framer.body_remaining(), 0xffffffffu);
}

TEST(MessageFramerTest, EndOfAnEmptyMessageIsDueAtOnce) {
  MessageFramer framer(HeaderKind::kMini);
  const auto in = FromHex("0200 00000000");
  EXPECT_EQ(framer.Feed(in).event, Event::kHeader);
  EXPECT_FALSE(framer.at_boundary());
  const MessageFramer::Step step = framer.Feed({});
  EXPECT_EQ(step.event, Event::kEnd);
  EXPECT_EQ(step.consumed, 0u);
  EXPECT_TRUE(framer.at_boundary());
  EXPECT_EQ(framer.Feed({}).event, Event::kNeedMore);
}

TEST(MessageFramerTest, SplicedBodiesAreCounted) {
  MessageFramer framer(HeaderKind::kMini);
  EXPECT_EQ(framer.SkipBody(10), 0u);
  Trace(framer, FromHex("3001 64000000"));
  EXPECT_EQ(framer.SkipBody(60), 60u);
  EXPECT_EQ(framer.body_remaining(), 40u);
  EXPECT_EQ(framer.SkipBody(1000), 40u);
  EXPECT_FALSE(framer.at_boundary());
  EXPECT_EQ(Trace(framer, FromHex("0200 00000000")), "E H2/0 E ");
}

}  // namespace
}  // namespace spicegate::proto
