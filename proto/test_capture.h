// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_PROTO_TEST_CAPTURE_H_
#define SPICEGATE_PROTO_TEST_CAPTURE_H_

// Reads the captures of testdata/ for tests.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "proto/channel.h"
#include "proto/common_channel.h"
#include "proto/data_header.h"
#include "proto/link.h"
#include "proto/test_bytes.h"

namespace spicegate::proto {

using Buffer = std::vector<uint8_t>;

struct Message {
  DataHeader header;
  Buffer body;
};

// One direction of one connection, cut into its parts.
struct Stream {
  ChannelType channel = ChannelType::kMain;
  Direction direction = Direction::kClientToServer;
  HeaderKind kind = HeaderKind::kMini;
  Buffer link_header;
  Buffer link_body;
  Buffer auth;  // Mechanism and ticket, or the link result.
  Buffer data;  // Everything behind.
  std::vector<Message> messages;
};

// A file of testdata/; empty when there is none.
inline Buffer ReadFile(const std::string& name) {
  std::ifstream in("proto/testdata/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The zeros of the net test are not in the files; a second file, if there is
// one, holds what came behind them.
inline Buffer Load(const std::string& stem) {
  const Buffer tail = ReadFile(stem + ".tail.bin");
  const Buffer zeros(tail.empty() ? 0 : kNetTestPaddingLen);
  return Join({ReadFile(stem + ".bin"), zeros, tail});
}

inline Buffer TakeFront(Buffer& from, size_t len) {
  EXPECT_LE(len, from.size());
  len = std::min(len, from.size());
  const Buffer front = Prefix(from, len);
  from.erase(from.begin(), from.begin() + static_cast<ptrdiff_t>(len));
  return front;
}

inline std::span<const uint8_t, kLinkHeaderLen> AsHeader(const Buffer& in) {
  return std::span<const uint8_t, kLinkHeaderLen>(in.data(), kLinkHeaderLen);
}

// Cuts `data` into messages, feeding `piece` bytes at a time.
inline std::vector<Message> Cut(HeaderKind kind, const Buffer& data,
                                size_t piece) {
  std::vector<Message> messages;
  MessageFramer framer(kind);
  for (size_t at = 0; at < data.size(); at += piece) {
    Bytes in = Bytes(data).subspan(at, std::min(piece, data.size() - at));
    for (bool more = true; more;) {
      const MessageFramer::Step step = framer.Feed(in);
      in = in.subspan(step.consumed);
      if (step.event == MessageFramer::Event::kHeader) {
        messages.push_back({framer.header(), {}});
      } else if (step.event == MessageFramer::Event::kBody) {
        Buffer& body = messages.back().body;
        body.insert(body.end(), step.body.begin(), step.body.end());
      }
      more = step.event != MessageFramer::Event::kNeedMore;
    }
  }
  EXPECT_TRUE(framer.at_boundary());
  EXPECT_EQ(framer.num_messages(), messages.size());
  return messages;
}

// Reads and cuts testdata/CAPTURE/CHANNEL in one direction.
inline Stream Open(const std::string& capture, const std::string& channel,
                   Direction direction) {
  const bool from_client = direction == Direction::kClientToServer;
  Stream stream;
  stream.direction = direction;
  stream.kind =
      capture == "full_headers" ? HeaderKind::kFull : HeaderKind::kMini;
  stream.data = Load(capture + "/" + channel +
                     (from_client ? ".client_to_server" : ".server_to_client"));
  stream.link_header = TakeFront(stream.data, kLinkHeaderLen);
  if (stream.link_header.size() < kLinkHeaderLen) {
    return stream;
  }
  const LinkHeader header = ParseLinkHeader(AsHeader(stream.link_header));
  stream.link_body = TakeFront(stream.data, header.size);
  stream.auth =
      TakeFront(stream.data,
                from_client ? kAuthMechanismLen + kTicketLen : kLinkResultLen);
  stream.messages = Cut(stream.kind, stream.data, 4096);
  return stream;
}

inline std::vector<uint16_t> Types(const Stream& stream) {
  std::vector<uint16_t> types;
  for (const Message& message : stream.messages) {
    types.push_back(message.header.type);
  }
  return types;
}

// The first message of a type, or null.
inline const Message* Find(const Stream& stream, uint16_t type) {
  const auto it =
      std::find_if(stream.messages.begin(), stream.messages.end(),
                   [type](const Message& m) { return m.header.type == type; });
  return it == stream.messages.end() ? nullptr : &*it;
}

}  // namespace spicegate::proto

#endif  // SPICEGATE_PROTO_TEST_CAPTURE_H_
