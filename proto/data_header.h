// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_PROTO_DATA_HEADER_H_
#define SPICEGATE_PROTO_DATA_HEADER_H_

// Data messages: a header, then a body. Behind the link result a channel is
// nothing but these, in both directions. README.md, "Data messages".

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "proto/wire.h"

namespace spicegate::proto {

// Mini when both sides announced MINI_HEADER (the server looks at the client's
// bit, spice-gtk at the server's), full otherwise.
enum class HeaderKind : uint8_t { kMini, kFull };

inline constexpr size_t kMiniHeaderLen = 6;
inline constexpr size_t kFullHeaderLen = 18;
inline constexpr size_t kMaxDataHeaderLen = kFullHeaderLen;

constexpr size_t DataHeaderLen(HeaderKind kind) {
  return kind == HeaderKind::kMini ? kMiniHeaderLen : kFullHeaderLen;
}

struct DataHeader {
  uint16_t type = 0;
  uint32_t size = 0;      // Bytes of body.
  uint64_t serial = 0;    // Full header only; 0 when parsed from a mini one.
  uint32_t sub_list = 0;  // Full header only; offset in the body, 0 for none.

  bool operator==(const DataHeader&) const = default;
};

// Parses the header at the front of `in`; no value when `in` is shorter.
std::optional<DataHeader> ParseDataHeader(HeaderKind kind, Bytes in);

// Writes a header and returns its length; 0 when `out` is too small. A mini
// header drops serial and sub_list.
size_t EncodeDataHeader(HeaderKind kind, const DataHeader& header,
                        MutableBytes out);

// Cuts one direction of a channel into messages as the bytes come, whatever the
// pieces. Holds a header at most, never a body, and judges nothing: allowed
// types and sizes are the guard's.
//
//   for (Bytes in = received;;) {
//     const MessageFramer::Step step = framer.Feed(in);
//     in = in.subspan(step.consumed);
//     switch (step.event) {
//       case kHeader:   framer.header(), framer.header_bytes(); break;
//       case kBody:     step.body; break;
//       case kEnd:      framer.num_messages() has grown by one; break;
//       case kNeedMore: return;
//     }
//   }
//
// Per message: one kHeader, a kBody for each piece of a body that is not empty,
// one kEnd. kNeedMore means that `in` is used up and nothing is due.
class MessageFramer {
 public:
  enum class Event : uint8_t { kNeedMore, kHeader, kBody, kEnd };

  struct Step {
    Event event = Event::kNeedMore;
    // Bytes of `in` this step has used. With kNeedMore: all of `in`, kept as
    // the start of a header. With kEnd: none.
    size_t consumed = 0;
    Bytes body;  // With kBody: the piece, a view into `in`.
  };

  explicit MessageFramer(HeaderKind kind) : kind_(kind) {}

  // Takes one step. Call it again with the rest of `in` until kNeedMore.
  Step Feed(Bytes in);

  // Counts `len` bytes of body that went by without being looked at (spliced).
  // Returns how many of them belonged to the current body; kEnd comes from the
  // next Feed(), which may be Feed({}).
  size_t SkipBody(size_t len);

  // Nothing of a message is pending: neither bytes of a header nor a body nor
  // an unreported kEnd. Here, and only here, another message may be injected
  // or the stream be cut.
  bool at_boundary() const { return state_ == State::kHeader && have_ == 0; }
  // A header has been reported and its kEnd not yet.
  bool in_message() const { return state_ == State::kBody; }
  // Body bytes still to come; 0 outside a message. With the header bytes below
  // it tells how far a splice may go without cutting a message.
  uint32_t body_remaining() const { return body_remaining_; }
  // Header bytes still to come before the next kHeader; 0 inside a message.
  size_t header_remaining() const {
    return in_message() ? 0 : DataHeaderLen(kind_) - have_;
  }

  // The current message, or the last one between messages. With mini headers
  // `serial` is the implicit one: the message's number in this direction, from
  // 1. Zero before the first kHeader.
  const DataHeader& header() const { return header_; }
  // The current message's header as it came. Between messages the part of the
  // next one that has been kept so far: what is lost if the stream ends here.
  Bytes header_bytes() const { return {buffer_.data(), have_}; }

  uint64_t num_headers() const { return num_headers_; }    // kHeader reported.
  uint64_t num_messages() const { return num_messages_; }  // kEnd reported.
  HeaderKind kind() const { return kind_; }

 private:
  enum class State : uint8_t { kHeader, kBody };

  Step FeedHeader(Bytes in);
  Step FeedBody(Bytes in);
  void StartBody();

  std::array<uint8_t, kMaxDataHeaderLen> buffer_{};
  DataHeader header_;
  uint64_t num_headers_ = 0;
  uint64_t num_messages_ = 0;
  size_t have_ = 0;  // Bytes of buffer_ that are valid.
  uint32_t body_remaining_ = 0;
  HeaderKind kind_;
  State state_ = State::kHeader;
};

}  // namespace spicegate::proto

#endif  // SPICEGATE_PROTO_DATA_HEADER_H_
