// SPDX-License-Identifier: Apache-2.0
//
// The client's half of the SPICE link stage, honest or with one named bug.
#ifndef SPICEGATE_TESTS_PEER_LINK_CLIENT_H_
#define SPICEGATE_TESTS_PEER_LINK_CLIENT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "proto/channel.h"
#include "proto/link.h"
#include "tests/peer/peer_stream.h"
#include "tests/peer/peer_task.h"

namespace spicegate {

// What a client does wrong. The defaults are an honest client; a test sets the
// one thing it is about.
struct LinkBugs {
  // Fields of the link header and message, instead of the right ones.
  std::optional<std::array<uint8_t, 4>> magic;
  std::optional<uint32_t> major;
  std::optional<uint32_t> minor;
  std::optional<uint32_t> size;
  std::optional<uint8_t> channel_type;
  std::optional<uint32_t> num_common_caps;
  std::optional<uint32_t> num_channel_caps;
  std::optional<uint32_t> caps_offset;
  // Zero bytes between the fixed part and the capabilities. The offset stays
  // what it is unless caps_offset says otherwise.
  size_t gap_before_caps_len = 0;
  // Zero bytes behind the capabilities, part of the message.
  size_t padding_len = 0;
  // Sent instead of header and message.
  std::optional<std::vector<uint8_t>> raw_link;
  // Only this many bytes of header and message are sent.
  size_t link_cut_len = SIZE_MAX;

  // Instead of 1, the ticket's number.
  std::optional<uint32_t> mechanism;
  // Nothing follows the mechanism.
  bool no_ticket = false;
  // Encrypted instead of password and NUL; at most 86 bytes.
  std::optional<std::vector<uint8_t>> plaintext;
  // Sent instead of a ciphertext, of any length.
  std::optional<std::vector<uint8_t>> ticket;
  // Sent in one piece with the ticket.
  std::vector<uint8_t> behind_ticket;

  // Each byte is a segment of its own.
  bool byte_at_a_time = false;

  // What follows the message or the ticket.
  enum class Then : uint8_t { kWait, kHalfClose, kReset };
  Then after_link = Then::kWait;
  Then after_ticket = Then::kWait;
};

// A link to make.
struct LinkRequest {
  proto::ChannelKey channel = {};
  uint32_t connection_id = 0;
  std::string password = {};
  // spice-gtk's of Debian: AUTH_SELECTION, AUTH_SASL, MINI_HEADER. Without
  // AUTH_SELECTION the ticket goes out without a mechanism.
  std::vector<uint32_t> common_caps = {0x0D};
  // Nothing: the words that spice-gtk sends on this channel.
  std::optional<std::vector<uint32_t>> channel_caps = {};
  LinkBugs bugs = {};
};

// What came of it.
struct LinkOutcome {
  // All bytes that came before the ticket was sent. When the server refused,
  // all it sent until it closed.
  std::vector<uint8_t> reply;
  // All bytes that came behind the ticket: the result alone when `open`, else
  // everything until the server closed.
  std::vector<uint8_t> auth_answer;
  // The result was 0; the stream carries data from here on.
  bool open = false;
  // How the connection stands.
  PeerEnd end = PeerEnd::kOpen;

  // The error code in a complete reply.
  std::optional<proto::LinkError> reply_error() const;
  // The result, when at least its four bytes came.
  std::optional<proto::LinkError> result() const;
};

// The header and message of `request`, bugs included. Written out here instead
// of with proto's encoder, which refuses to write most of the bugs.
std::vector<uint8_t> BuildLink(const LinkRequest& request);

// Runs the link stage over a connected stream. `request` outlives the task.
PeerTask<LinkOutcome> LinkAsClient(PeerStream* stream,
                                   const LinkRequest& request);

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_LINK_CLIENT_H_
