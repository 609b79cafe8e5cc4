// SPDX-License-Identifier: Apache-2.0
//
// The data of the tests: byte streams that both ends can compute, cut into
// SPICE messages that are legal on their channel. A lost, doubled, changed or
// misdirected byte is found at its place.
#ifndef SPICEGATE_TESTS_PEER_TRAFFIC_H_
#define SPICEGATE_TESTS_PEER_TRAFFIC_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "proto/channel.h"
#include "proto/data_header.h"

namespace spicegate {

// Byte `offset` of a pattern is a pure function of seed and offset.
void FillPattern(uint64_t seed, uint64_t offset, std::span<uint8_t> out);
// The number of leading bytes of `in` that are the pattern's.
size_t MatchPattern(uint64_t seed, uint64_t offset,
                    std::span<const uint8_t> in);

// The seed of one direction of one channel of one console.
uint64_t TrafficSeed(uint64_t console_seed, proto::ChannelKey channel,
                     proto::Direction direction);

// How one direction of a channel type carries pattern bytes.
struct TrafficShape {
  uint16_t type = 0;      // Message type.
  uint32_t body_len = 0;  // Of every message; a stream is whole messages.
};

TrafficShape ShapeOf(proto::ChannelType type, proto::Direction direction);

// How much pattern a channel carries. Rounded up to whole messages.
struct TrafficPlan {
  uint64_t to_client_bytes = 0;
  uint64_t to_server_bytes = 0;
};

// Makes the messages of one direction.
class TrafficWriter {
 public:
  TrafficWriter(uint64_t seed, TrafficShape shape, uint64_t total_bytes);

  // Whole messages, about `target_len` bytes of them; empty at the end. Valid
  // until the next call.
  std::span<const uint8_t> Next(size_t target_len);
  bool done() const { return sent_ == total_; }
  uint64_t body_bytes() const { return sent_; }

 private:
  void AppendMessage();

  uint64_t seed_;
  TrafficShape shape_;
  uint64_t total_;
  uint64_t sent_ = 0;
  std::vector<uint8_t> buffer_;
};

// Checks the messages of one direction, whatever pieces they come in. Messages
// of other types than the shape's go to the handler instead.
class TrafficReader {
 public:
  using Handler =
      std::function<void(uint16_t type, std::span<const uint8_t> body)>;

  TrafficReader(uint64_t seed, TrafficShape shape, uint64_t total_bytes,
                Handler other);

  // False once something is wrong; error() tells.
  bool Feed(std::span<const uint8_t> in);
  // The whole pattern has come.
  bool done() const { return error_.empty() && received_ == total_; }
  uint64_t body_bytes() const { return received_; }
  const std::string& error() const { return error_; }
  bool at_boundary() const { return framer_.at_boundary(); }

 private:
  void Header();
  void Body(std::span<const uint8_t> piece);
  void End();

  uint64_t seed_;
  TrafficShape shape_;
  uint64_t total_;
  uint64_t received_ = 0;
  proto::MessageFramer framer_{proto::HeaderKind::kMini};
  bool is_pattern_ = false;
  std::vector<uint8_t> other_body_;
  Handler other_;
  std::string error_;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_TRAFFIC_H_
