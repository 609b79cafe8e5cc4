// SPDX-License-Identifier: Apache-2.0
// The framer must find the same messages however a stream is cut. Byte 0: kind
// of header (bit 0) and spliced bodies (bit 1); byte 1: length of the pieces.

#include <algorithm>
#include <cstdlib>

#include "proto/data_header.h"

namespace spicegate::proto {
namespace {

using Event = MessageFramer::Event;

void Require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

// What a run saw, order included.
struct Digest {
  uint64_t headers = 0;
  uint64_t body_bytes = 0;
  uint64_t num_headers = 0;
  uint64_t num_messages = 0;
  bool at_boundary = false;

  bool operator==(const Digest&) const = default;
};

void FeedAll(MessageFramer& framer, Bytes in, bool splice, Digest& digest) {
  for (;;) {
    const MessageFramer::Step step = framer.Feed(in);
    Require(step.consumed <= in.size());
    in = in.subspan(step.consumed);
    switch (step.event) {
      case Event::kNeedMore:
        Require(in.empty());
        return;
      case Event::kHeader:
        digest.headers = digest.headers * 31 + framer.header().type;
        digest.headers = digest.headers * 31 + framer.header().size;
        Require(framer.header_bytes().size() == DataHeaderLen(framer.kind()));
        Require(framer.body_remaining() == framer.header().size);
        break;
      case Event::kBody:
        Require(step.body.size() == step.consumed && step.consumed != 0);
        digest.body_bytes += step.consumed;
        break;
      case Event::kEnd:
        Require(framer.at_boundary() && step.consumed == 0);
        break;
    }
    if (splice && framer.in_message()) {
      const size_t skipped = framer.SkipBody(in.size());
      digest.body_bytes += skipped;
      in = in.subspan(skipped);
    }
  }
}

Digest Run(HeaderKind kind, Bytes in, size_t piece, bool splice) {
  MessageFramer framer(kind);
  Digest digest;
  while (!in.empty()) {
    const size_t len = std::min(piece, in.size());
    FeedAll(framer, in.first(len), splice, digest);
    in = in.subspan(len);
  }
  Require(framer.num_headers() - framer.num_messages() ==
          (framer.in_message() ? 1u : 0u));
  digest.num_headers = framer.num_headers();
  digest.num_messages = framer.num_messages();
  digest.at_boundary = framer.at_boundary();
  return digest;
}

}  // namespace
}  // namespace spicegate::proto

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  namespace proto = spicegate::proto;
  if (len < 2) {
    return 0;
  }
  const proto::HeaderKind kind =
      (data[0] & 1) != 0 ? proto::HeaderKind::kFull : proto::HeaderKind::kMini;
  const proto::Bytes in(data + 2, len - 2);
  const proto::Digest whole = proto::Run(kind, in, in.size() + 1, false);
  const bool splice = (data[0] & 2) != 0;
  proto::Require(whole == proto::Run(kind, in, data[1] + 1u, splice));
  return 0;
}
