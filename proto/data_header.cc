// SPDX-License-Identifier: Apache-2.0
#include "proto/data_header.h"

#include <algorithm>
#include <cstring>

namespace spicegate::proto {

std::optional<DataHeader> ParseDataHeader(HeaderKind kind, Bytes in) {
  if (in.size() < DataHeaderLen(kind)) {
    return std::nullopt;
  }
  const uint8_t* p = in.data();
  if (kind == HeaderKind::kMini) {
    return DataHeader{.type = LoadU16(p), .size = LoadU32(p + 2)};
  }
  return DataHeader{.type = LoadU16(p + 8),
                    .size = LoadU32(p + 10),
                    .serial = LoadU64(p),
                    .sub_list = LoadU32(p + 14)};
}

size_t EncodeDataHeader(HeaderKind kind, const DataHeader& header,
                        MutableBytes out) {
  if (out.size() < DataHeaderLen(kind)) {
    return 0;
  }
  uint8_t* p = out.data();
  if (kind == HeaderKind::kFull) {
    StoreU64(p, header.serial);
    StoreU32(p + 14, header.sub_list);
    p += 8;
  }
  StoreU16(p, header.type);
  StoreU32(p + 2, header.size);
  return DataHeaderLen(kind);
}

MessageFramer::Step MessageFramer::Feed(Bytes in) {
  return state_ == State::kHeader ? FeedHeader(in) : FeedBody(in);
}

MessageFramer::Step MessageFramer::FeedHeader(Bytes in) {
  const size_t len = std::min(in.size(), header_remaining());
  if (len > 0) {
    std::memcpy(buffer_.data() + have_, in.data(), len);
    have_ += len;
  }
  if (header_remaining() > 0) {
    return {Event::kNeedMore, len, {}};
  }
  StartBody();
  return {Event::kHeader, len, {}};
}

void MessageFramer::StartBody() {
  header_ = *ParseDataHeader(kind_, header_bytes());
  ++num_headers_;
  if (kind_ == HeaderKind::kMini) {
    header_.serial = num_headers_;
  }
  body_remaining_ = header_.size;
  state_ = State::kBody;
}

MessageFramer::Step MessageFramer::FeedBody(Bytes in) {
  if (body_remaining_ == 0) {
    ++num_messages_;
    have_ = 0;
    state_ = State::kHeader;
    return {Event::kEnd, 0, {}};
  }
  const size_t len = SkipBody(in.size());
  if (len == 0) {
    return {};
  }
  return {Event::kBody, len, in.first(len)};
}

size_t MessageFramer::SkipBody(size_t len) {
  len = std::min<size_t>(len, body_remaining_);
  body_remaining_ -= static_cast<uint32_t>(len);
  return len;
}

}  // namespace spicegate::proto
