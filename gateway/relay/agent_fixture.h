// SPDX-License-Identifier: Apache-2.0
//
// For tests: agent messages, and a model of what spice-server does with a
// client's pieces and of what the guest's agent then reads. Written from the
// rules, not from AgentFilter.
#ifndef SPICEGATE_GATEWAY_RELAY_AGENT_FIXTURE_H_
#define SPICEGATE_GATEWAY_RELAY_AGENT_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "proto/agent.h"

namespace spicegate {

// A message with `size` bytes of data and a header that claims `claimed`.
inline std::vector<uint8_t> AgentMessage(uint32_t type, size_t size,
                                         uint32_t claimed) {
  const auto header =
      proto::EncodeAgentHeader({.type = type, .opaque = 7, .size = claimed});
  std::vector<uint8_t> message(header.begin(), header.end());
  for (size_t i = 0; i < size; ++i) {
    message.push_back(static_cast<uint8_t>(type * 16 + i));
  }
  return message;
}

inline std::vector<uint8_t> AgentMessage(uint32_t type, size_t size) {
  return AgentMessage(type, size, static_cast<uint32_t>(size));
}

class AgentServerModel {
 public:
  // A piece as it reaches the server.
  void Data(std::span<const uint8_t> piece) {
    if (shut_down_) {
      return;
    }
    if (piece.size() > proto::kMaxAgentPieceLen) {
      shut_down_ = true;
      return;
    }
    size_t counted = piece.size();
    if (to_read_ == 0 && !Header(piece, &counted)) {
      return;
    }
    // Behind a message of size 0 the server does not count.
    if (to_read_ != 0) {
      if (counted > to_read_) {
        shut_down_ = true;
        return;
      }
      to_read_ -= static_cast<uint32_t>(counted);
    }
    if (!discarding_) {
      Guest(piece);
    }
  }

  // The agent has gone: what is under way and what follows is discarded, and
  // counted all the same. The next agent reads from the start.
  void AgentReset() {
    discard_all_ = true;
    discarding_ = true;
    guest_.clear();
    header_read_ = false;
  }
  void AgentStart() { discard_all_ = false; }

  bool shut_down() const { return shut_down_; }
  // Types of the messages whose headers the guest has read.
  const std::vector<uint32_t>& delivered() const { return delivered_; }
  bool guest_lost_sync() const { return guest_lost_sync_; }

 private:
  bool Header(std::span<const uint8_t> piece, size_t* counted) {
    const auto header = proto::ParseAgentHeader(piece);
    if (!header || header->protocol != proto::kAgentProtocol) {
      shut_down_ = true;
      return false;
    }
    discarding_ = discard_all_;
    to_read_ = header->size;
    *counted = piece.size() - proto::kAgentHeaderLen;
    return true;
  }

  void Guest(std::span<const uint8_t> piece) {
    guest_.insert(guest_.end(), piece.begin(), piece.end());
    while (const auto header = proto::ParseAgentHeader(guest_)) {
      const size_t len = proto::kAgentHeaderLen + size_t{header->size};
      guest_lost_sync_ |= header->protocol != proto::kAgentProtocol;
      if (!header_read_) {
        delivered_.push_back(header->type);
      }
      header_read_ = len > guest_.size();
      if (header_read_) {
        return;
      }
      guest_.erase(guest_.begin(),
                   guest_.begin() + static_cast<ptrdiff_t>(len));
    }
  }

  std::vector<uint32_t> delivered_;
  std::vector<uint8_t> guest_;  // not yet a whole message
  uint32_t to_read_ = 0;
  bool header_read_ = false;
  bool discarding_ = false;
  bool discard_all_ = true;
  bool shut_down_ = false;
  bool guest_lost_sync_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_AGENT_FIXTURE_H_
