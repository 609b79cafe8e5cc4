// SPDX-License-Identifier: Apache-2.0
#include "bench/load/message_reader.h"

#include <algorithm>

namespace spicegate {
namespace {

// Of a message that is not part of a flood. The largest is the padding of
// main's net test.
constexpr uint32_t kMaxWholeLen = 512 * 1024;

}  // namespace

bool MessageReader::OnHeader() {
  const proto::DataHeader& header = framer_.header();
  flood_ = handler_->IsFlood(header.type);
  whole_ = {};
  body_.clear();
  return flood_ ? handler_->OnFloodBegin(header.size)
                : header.size <= kMaxWholeLen;
}

void MessageReader::OnBody(proto::Bytes piece) {
  if (flood_) {
    handler_->OnFloodPiece(piece);
  } else if (piece.size() == framer_.header().size) {
    whole_ = piece;
  } else {
    body_.insert(body_.end(), piece.begin(), piece.end());
  }
}

bool MessageReader::OnEnd() {
  if (flood_) {
    handler_->OnFloodEnd();
    return true;
  }
  return handler_->OnWholeMessage(framer_.header().type,
                                  body_.empty() ? whole_ : body_);
}

bool MessageReader::Feed(proto::Bytes in) {
  using Event = proto::MessageFramer::Event;
  for (;;) {
    const proto::MessageFramer::Step step = framer_.Feed(in);
    in = in.subspan(step.consumed);
    bool good = true;
    switch (step.event) {
      case Event::kNeedMore:
        return true;
      case Event::kHeader:
        good = OnHeader();
        break;
      case Event::kBody:
        OnBody(step.body);
        break;
      case Event::kEnd:
        good = OnEnd();
        break;
    }
    if (!good) {
      return false;
    }
  }
}

}  // namespace spicegate
