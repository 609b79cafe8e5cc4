// SPDX-License-Identifier: Apache-2.0
// A client's usbredir stream. Byte 0: the server's capabilities; byte 1: bit 7
// leaves its hello out, the rest is the length of pieces. Then the stream. Cut
// or whole, it has to break at the same place or nowhere.

#include <algorithm>
#include <cstdlib>

#include "proto/usbredir.h"

namespace spicegate::proto {
namespace {

constexpr uint32_t kMaxLen = 4096;

void Require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

// How far the stream is good, fed in pieces of `piece_len`. The pieces before
// the bad one are good, and inside that one it is searched byte by byte.
size_t GoodLen(UsbredirChecker checker, Bytes stream, size_t piece_len) {
  size_t good = 0;
  while (good < stream.size()) {
    const Bytes piece =
        stream.subspan(good, std::min(piece_len, stream.size() - good));
    const UsbredirChecker before = checker;
    if (!checker.Feed(piece)) {
      Require(checker.violated() && !checker.Feed(piece));
      Require(piece.size() == 1 || GoodLen(before, piece, 1) < piece.size());
      return piece.size() == 1 ? good : good + GoodLen(before, piece, 1);
    }
    Require(!checker.violated());
    good += piece.size();
  }
  return good;
}

}  // namespace
}  // namespace spicegate::proto

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  namespace proto = spicegate::proto;
  if (len < 2) {
    return 0;
  }
  proto::UsbredirChecker checker(proto::kMaxLen);
  if ((data[1] & 0x80) == 0) {
    checker.SetServerCaps(data[0]);
  }
  const size_t piece_len = (data[1] & 0x7F) + 1u;
  const proto::Bytes stream(data + 2, len - 2);
  const size_t whole = proto::GoodLen(checker, stream, stream.size() + 1);
  proto::Require(whole == proto::GoodLen(checker, stream, piece_len));
  proto::Require(whole == proto::GoodLen(checker, stream, 1));
  // Nothing of a server's: its hello may be anything at all.
  proto::UsbredirHelloReader reader;
  const bool done = reader.Feed(stream);
  proto::Require(done == (stream.size() >= 80));
  return 0;
}
