// SPDX-License-Identifier: Apache-2.0
//
// A client's link in two halves, so that a test can look at the server's side
// before the ticket goes out.
#ifndef SPICEGATE_TESTS_DOOR_HALF_LINK_H_
#define SPICEGATE_TESTS_DOOR_HALF_LINK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "proto/channel.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/peer_stream.h"

namespace spicegate {

inline constexpr uint32_t kOwnAddress = 0x7F000001;      // 127.0.0.1
inline constexpr uint32_t kForeignAddress = 0x7F000002;  // 127.0.0.2

class HalfLink {
 public:
  struct Options {
    uint16_t port = 0;  // on 127.0.0.1
    uint32_t source = kOwnAddress;
    proto::ChannelKey channel = {proto::ChannelType::kInputs, 0};
    uint32_t connection_id = 0;
  };

  // Connects, sends the link message and reads the reply. Fails the test when
  // there is none.
  HalfLink(PeerLoop* loop, const Options& options);

  // Sends the ticket. All that comes behind it; of an open channel the result.
  std::vector<uint8_t> Authenticate(const std::string& ticket);

  PeerStream* stream() { return stream_.get(); }

 private:
  PeerLoop* const loop_;
  std::unique_ptr<PeerStream> stream_;
  std::vector<uint8_t> reply_;
};

// The answer that opens a channel.
std::vector<uint8_t> LinkIsOpen();

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_DOOR_HALF_LINK_H_
