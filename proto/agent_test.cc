// SPDX-License-Identifier: Apache-2.0
#include "proto/agent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "proto/test_bytes.h"

namespace spicegate::proto {
namespace {

using Event = AgentParser::Event;
using Rules = AgentParser::Rules;

std::vector<uint8_t> Message(uint32_t type, size_t size) {
  const auto header =
      EncodeAgentHeader({.type = type, .size = static_cast<uint32_t>(size)});
  return Join({header, std::vector<uint8_t>(size, 0xdd)});
}

// Runs `in` through the parser: "type/size" per header, body length, "E".
std::string Trace(AgentParser& parser, Bytes in) {
  std::string trace;
  for (;;) {
    const AgentParser::Step step = parser.Feed(in);
    in = in.subspan(step.consumed);
    switch (step.event) {
      case Event::kNeedMore:
        EXPECT_TRUE(in.empty());
        return trace;
      case Event::kHeader:
        trace += std::to_string(parser.header().type) + "/" +
                 std::to_string(parser.header().size) + " ";
        break;
      case Event::kBody:
        trace += std::string(step.body.size(), 'd');
        break;
      case Event::kEnd:
        trace += "E ";
        break;
      case Event::kViolation:
        return trace + "violation";
    }
  }
}

std::string Piece(AgentParser& parser, Bytes piece) {
  return parser.StartPiece(static_cast<uint32_t>(piece.size()))
             ? Trace(parser, piece)
             : "refused";
}

TEST(AgentHeaderTest, Layout) {
  const auto in = FromHex("01000000 06000000 0200000000000000 08000000");
  const auto header = ParseAgentHeader(in);
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(*header,
            (AgentHeader{
                .type = kAgentAnnounceCapabilities, .opaque = 2, .size = 8}));
  EXPECT_EQ(ToHex(EncodeAgentHeader(*header)), ToHex(in));
  EXPECT_FALSE(ParseAgentHeader(Prefix(in, 19)).has_value());
}

TEST(AgentTypeTest, Names) {
  std::set<std::string> names;
  for (uint32_t type = 1; type <= 16; ++type) {
    names.emplace(AgentTypeName(type));
  }
  EXPECT_EQ(names.size(), 16u);
  EXPECT_EQ(AgentTypeName(kAgentClipboardGrab), "clipboard_grab");
  EXPECT_EQ(AgentTypeName(kAgentGraphicsDeviceInfo), "graphics_device_info");
  EXPECT_EQ(AgentTypeName(0), "unknown");
  EXPECT_EQ(AgentTypeName(17), "unknown");
  EXPECT_EQ(AgentTypeName(0xffffffff), "unknown");
}

TEST(AgentCapabilitiesTest, Parses) {
  const auto data = FromHex("01000000 77500300");
  const auto caps = ParseAgentCapabilities(data);
  ASSERT_TRUE(caps.has_value());
  EXPECT_TRUE(caps->request);
  EXPECT_EQ(caps->caps.num_words(), 1u);
  EXPECT_TRUE(caps->caps.Has(kAgentCapClipboardByDemand));
  EXPECT_FALSE(caps->caps.Has(kAgentCapClipboard));
  EXPECT_FALSE(ParseAgentCapabilities(Prefix(data, 3)).has_value());
  EXPECT_EQ(ParseAgentCapabilities(Prefix(data, 7))->caps.num_words(), 0u);
}

TEST(AgentParserTest, OneMessageInOnePiece) {
  AgentParser parser(Rules::kFromClient);
  EXPECT_EQ(Piece(parser, Message(6, 8)), "6/8 ddddddddE ");
  EXPECT_EQ(Piece(parser, Message(9, 0)), "9/0 E ");
  EXPECT_FALSE(parser.in_message());
}

TEST(AgentParserTest, PiecesComeInFragments) {
  AgentParser parser(Rules::kFromClient);
  const auto message = Message(5, 3);
  ASSERT_TRUE(parser.StartPiece(static_cast<uint32_t>(message.size())));
  std::string trace;
  for (const uint8_t byte : message) {
    trace += Trace(parser, Bytes(&byte, 1));
  }
  EXPECT_EQ(trace, "5/3 dddE ");
  EXPECT_EQ(parser.piece_remaining(), 0u);
}

TEST(AgentParserTest, OneMessageInManyPieces) {
  AgentParser parser(Rules::kFromClient);
  const auto message = Message(4, 5000);
  std::string trace;
  for (size_t at = 0; at < message.size(); at += kMaxAgentPieceLen) {
    const size_t len = std::min(kMaxAgentPieceLen, message.size() - at);
    trace += Piece(parser, Bytes(message).subspan(at, len));
  }
  EXPECT_EQ(trace, "4/5000 " + std::string(5000, 'd') + "E ");
}

TEST(AgentParserTest, ClientPieceIsBounded) {
  AgentParser longest(Rules::kFromClient);
  EXPECT_TRUE(longest.StartPiece(kMaxAgentPieceLen));
  AgentParser longer(Rules::kFromClient);
  EXPECT_FALSE(longer.StartPiece(kMaxAgentPieceLen + 1));
  EXPECT_TRUE(longer.violated());
  EXPECT_EQ(longer.Feed({}).event, Event::kViolation);
}

TEST(AgentParserTest, ClientHeaderIsWholeInItsPiece) {
  AgentParser parser(Rules::kFromClient);
  EXPECT_FALSE(parser.StartPiece(19));
  AgentParser empty(Rules::kFromClient);
  EXPECT_FALSE(empty.StartPiece(0));
}

TEST(AgentParserTest, ClientPieceEndsWithItsMessage) {
  AgentParser first(Rules::kFromClient);
  EXPECT_EQ(Piece(first, Join({Message(6, 1), FromHex("00")})), "violation");
  EXPECT_TRUE(first.violated());

  AgentParser second(Rules::kFromClient);
  const auto message = Message(6, 30);
  EXPECT_EQ(Piece(second, Prefix(message, 40)), "6/30 " + std::string(20, 'd'));
  EXPECT_FALSE(second.StartPiece(11));
}

TEST(AgentParserTest, ClientMayInsertAnEmptyPieceInAMessage) {
  AgentParser parser(Rules::kFromClient);
  const auto message = Message(6, 2);
  EXPECT_EQ(Piece(parser, Prefix(message, 21)), "6/2 d");
  EXPECT_EQ(Piece(parser, {}), "");
  EXPECT_EQ(Piece(parser, Bytes(message).last(1)), "dE ");
}

TEST(AgentParserTest, ProtocolIsOne) {
  for (const Rules rules : {Rules::kFromClient, Rules::kFromServer}) {
    AgentParser parser(rules);
    auto message = Message(6, 8);
    message[0] = 2;
    EXPECT_EQ(Piece(parser, message), "violation");
    EXPECT_EQ(parser.Feed({}).event, Event::kViolation);
    EXPECT_FALSE(parser.StartPiece(28));
    parser.Reset();
    EXPECT_EQ(Piece(parser, Message(6, 1)), "6/1 dE ");
  }
}

TEST(AgentParserTest, ServerPiecesAreCutAnywhere) {
  const auto stream = Join({Message(6, 3), Message(9, 0), Message(8, 2)});
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    AgentParser parser(Rules::kFromServer);
    std::string trace;
    for (size_t at = 0; at < stream.size(); at += piece) {
      const size_t len = std::min(piece, stream.size() - at);
      trace += Piece(parser, Bytes(stream).subspan(at, len));
    }
    EXPECT_EQ(trace, "6/3 dddE 9/0 E 8/2 ddE ") << piece;
  }
}

TEST(AgentParserTest, APieceIsFedWholeAndNotMore) {
  AgentParser early(Rules::kFromServer);
  EXPECT_TRUE(early.StartPiece(28));
  EXPECT_FALSE(early.StartPiece(28));

  AgentParser over(Rules::kFromServer);
  EXPECT_TRUE(over.StartPiece(20));
  EXPECT_EQ(over.Feed(Message(6, 8)).event, Event::kViolation);
}

TEST(AgentParserTest, ResetForgetsAHalfMessage) {
  AgentParser parser(Rules::kFromClient);
  Piece(parser, Prefix(Message(6, 100), 40));
  EXPECT_TRUE(parser.in_message());
  EXPECT_EQ(parser.body_remaining(), 80u);
  parser.Reset();
  EXPECT_FALSE(parser.in_message());
  EXPECT_EQ(Piece(parser, Message(5, 1)), "5/1 dE ");
}

}  // namespace
}  // namespace spicegate::proto
