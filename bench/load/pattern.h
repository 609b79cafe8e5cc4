// SPDX-License-Identifier: Apache-2.0
//
// The bytes of a flood: SPICE messages whose place in their stream is written
// into them, made and checked at a few cycles a kilobyte.
#ifndef SPICEGATE_BENCH_LOAD_PATTERN_H_
#define SPICEGATE_BENCH_LOAD_PATTERN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "proto/wire.h"

namespace spicegate {

// A word with message, place and stream in it stands at the start of each block
// of a body. A lost, doubled, reordered or misdirected byte moves or changes
// the next of them.
inline constexpr size_t kStampBlockLen = 4096;
inline constexpr size_t kStampLen = 8;

// The shortest and longest message of a stream, header included.
inline constexpr uint32_t kMinFloodMessageLen = 16;
inline constexpr uint32_t kMaxFloodMessageLen = 16'000'000;

// The messages of one direction of one channel; both ends know it.
struct FloodPlan {
  uint16_t type = 0;     // Message type.
  uint16_t seed = 0;     // Tells one stream from another.
  uint32_t min_len = 0;  // Of a message, header included. Lengths between
  uint32_t max_len = 0;  // the two follow from seed and message number.
  uint16_t rate_hz = 0;  // Messages per second; 0: as many as go through.

  // Length of message number `index`, header included.
  uint32_t LenOf(uint64_t index) const;
  bool operator==(const FloodPlan&) const = default;
};

// How much of what arrives is looked at, beside headers and byte counts.
enum class Verify : uint8_t {
  kNone,    // Nothing: what checking costs.
  kStamps,  // The stamps, and every 64th message whole.
  kFull,    // Every byte.
};

// One buffer with the filling between the stamps, which all streams of a
// process share: what is sent is hot. One thread.
class PatternBuffer {
 public:
  // Messages of up to `max_message_len` bytes.
  explicit PatternBuffer(size_t max_message_len);

  // Bytes [from, to) of message `index` of `plan`, valid until the next call.
  proto::Bytes Make(const FloodPlan& plan, uint64_t index, size_t from,
                    size_t to);
  // Whether `piece` is what lies at `from` in a body of the stream. With
  // `stamps_only` the filling is not compared.
  bool Matches(const FloodPlan& plan, uint64_t index, size_t from,
               proto::Bytes piece, bool stamps_only) const;

 private:
  std::vector<uint8_t> bytes_;  // Header, body.
};

// Sends a flood: hands out what comes next, is told what of it was taken.
class FloodSource {
 public:
  FloodSource(PatternBuffer* pattern, const FloodPlan& plan)
      : pattern_(pattern), plan_(plan), len_(plan.LenOf(0)) {}

  // The rest of the current message.
  proto::Bytes Next() { return pattern_->Make(plan_, index_, offset_, len_); }
  void Advance(size_t num_bytes);
  // Between two messages, where another may be sent and the stream may end.
  bool at_boundary() const { return offset_ == 0; }
  uint64_t num_messages() const { return index_; }
  const FloodPlan& plan() const { return plan_; }

 private:
  PatternBuffer* pattern_;
  FloodPlan plan_;
  uint64_t index_ = 0;
  size_t offset_ = 0;  // In the current message.
  size_t len_;         // Of the current message.
};

// Checks a flood. Every message: Begin, Feed for all pieces of its body, End.
// Behind a Begin that is false the stream makes no sense any more.
class FloodSink {
 public:
  FloodSink(const PatternBuffer* pattern, const FloodPlan& plan, Verify verify)
      : pattern_(pattern), plan_(plan), verify_(verify) {}

  bool Begin(uint32_t body_len);
  void Feed(proto::Bytes piece);
  void End();

  uint64_t num_messages() const { return index_; }
  // Messages that were not what was sent.
  uint64_t num_errors() const { return num_errors_; }
  const FloodPlan& plan() const { return plan_; }

 private:
  const PatternBuffer* pattern_;
  FloodPlan plan_;
  Verify verify_;
  uint64_t index_ = 0;
  size_t offset_ = 0;  // In the body.
  bool good_ = true;   // The current message, so far.
  uint64_t num_errors_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_PATTERN_H_
