// SPDX-License-Identifier: Apache-2.0
// The agent parser under both sides' rules. Byte 0: the rules (bit 0) and the
// length of fragments; then pieces, each a u16 length and that many bytes.

#include <algorithm>
#include <cstdlib>

#include "proto/agent.h"

namespace spicegate::proto {
namespace {

using Event = AgentParser::Event;

void Require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

// Feeds one fragment of a piece. False after a violation.
bool FeedAll(AgentParser& parser, Bytes in) {
  for (;;) {
    const AgentParser::Step step = parser.Feed(in);
    Require(step.consumed <= in.size());
    in = in.subspan(step.consumed);
    switch (step.event) {
      case Event::kNeedMore:
        Require(in.empty());
        return true;
      case Event::kHeader:
        Require(parser.in_message());
        Require(parser.header().protocol == kAgentProtocol);
        break;
      case Event::kBody:
        Require(step.body.size() == step.consumed && step.consumed != 0);
        break;
      case Event::kEnd:
        Require(!parser.in_message());
        break;
      case Event::kViolation:
        Require(parser.violated() && !parser.StartPiece(20));
        return false;
    }
  }
}

bool FeedPiece(AgentParser& parser, Bytes piece, size_t fragment) {
  if (!parser.StartPiece(static_cast<uint32_t>(piece.size()))) {
    Require(parser.violated());
    return false;
  }
  while (!piece.empty()) {
    const size_t len = std::min(fragment, piece.size());
    if (!FeedAll(parser, piece.first(len))) {
      return false;
    }
    piece = piece.subspan(len);
  }
  Require(parser.piece_remaining() == 0);
  return true;
}

}  // namespace
}  // namespace spicegate::proto

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  namespace proto = spicegate::proto;
  if (len == 0) {
    return 0;
  }
  proto::AgentParser parser((data[0] & 1) != 0
                                ? proto::AgentParser::Rules::kFromServer
                                : proto::AgentParser::Rules::kFromClient);
  const size_t fragment = (data[0] >> 1) + 1u;
  proto::Reader reader({data + 1, len - 1});
  while (reader.remaining() > 2) {
    const size_t piece_len = std::min<size_t>(reader.U16(), reader.remaining());
    if (!proto::FeedPiece(parser, reader.Take(piece_len), fragment)) {
      parser.Reset();
    }
  }
  return 0;
}
