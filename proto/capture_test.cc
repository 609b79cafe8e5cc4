// SPDX-License-Identifier: Apache-2.0
// Parses everything that a real QEMU and real viewers said to each other
// (testdata/README.md) and encodes it again, byte for byte.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "proto/common_channel.h"
#include "proto/data_header.h"
#include "proto/link.h"
#include "proto/messages.h"
#include "proto/test_bytes.h"
#include "proto/test_capture.h"

namespace spicegate::proto {
namespace {

std::vector<uint32_t> Words(CapsView caps) {
  std::vector<uint32_t> words;
  for (size_t i = 0; i < caps.num_words(); ++i) {
    words.push_back(caps.Word(i));
  }
  return words;
}

std::string Whole(const Stream& stream) {
  return ToHex(Join({stream.link_header, stream.link_body}));
}

struct Connection {
  std::string capture;
  std::string channel;
  ChannelType type;
};

std::vector<Connection> Connections() {
  const std::map<std::string, ChannelType> small = {
      {"main_0", ChannelType::kMain},
      {"display_0", ChannelType::kDisplay},
      {"inputs_0", ChannelType::kInputs},
      {"cursor_0", ChannelType::kCursor}};
  std::vector<Connection> all = {{"all", "playback_0", ChannelType::kPlayback},
                                 {"all", "record_0", ChannelType::kRecord},
                                 {"all", "usbredir_0", ChannelType::kUsbredir},
                                 {"all", "usbredir_1", ChannelType::kUsbredir},
                                 {"all", "port_0", ChannelType::kPort},
                                 {"all", "webdav_0", ChannelType::kWebdav}};
  for (const std::string capture :
       {"all", "full_headers", "agent", "keys_and_mouse", "seamless/source",
        "seamless/target", "semi_seamless/source", "semi_seamless/target",
        "switch_host/source"}) {
    for (const auto& [channel, type] : small) {
      all.push_back({capture, channel, type});
    }
  }
  return all;
}

class CaptureTest : public testing::TestWithParam<Connection> {
 protected:
  Stream OpenParam(Direction direction) const {
    return Open(GetParam().capture, GetParam().channel, direction);
  }
};

TEST_P(CaptureTest, LinkMessage) {
  const Stream stream = OpenParam(Direction::kClientToServer);
  ASSERT_EQ(stream.link_header.size(), kLinkHeaderLen);
  EXPECT_EQ(JudgeLinkHeader(ParseLinkHeader(AsHeader(stream.link_header))),
            HeaderVerdict::kAccept);
  const auto mess = ParseLinkMess(stream.link_body);
  ASSERT_TRUE(mess.has_value());
  EXPECT_EQ(mess->key().type, GetParam().type);
  const auto common = Words(mess->common_caps);
  const auto channel = Words(mess->channel_caps);
  std::array<uint8_t, 256> out{};
  const size_t len = EncodeLinkMess({.connection_id = mess->connection_id,
                                     .channel = mess->key(),
                                     .common_caps = common,
                                     .channel_caps = channel},
                                    out);
  EXPECT_EQ(ToHex(Bytes(out).first(len)), Whole(stream));
  EXPECT_EQ(AuthPrefixLen(mess->common_caps), kAuthMechanismLen);
  EXPECT_EQ(ToHex(Prefix(stream.auth, 4)),
            ToHex(EncodeAuthMechanism(kAuthMechanismSpice)));
}

TEST_P(CaptureTest, LinkReply) {
  const Stream stream = OpenParam(Direction::kServerToClient);
  ASSERT_EQ(stream.link_header.size(), kLinkHeaderLen);
  EXPECT_TRUE(IsReplyHeaderOk(ParseLinkHeader(AsHeader(stream.link_header))));
  const ParsedLinkReply parsed = ParseLinkReply(stream.link_body);
  ASSERT_EQ(parsed.verdict, LinkReplyVerdict::kOk);
  // The proxy took MINI_HEADER away on its way to make full headers happen; the
  // file has what the server said.
  const ReplyCaps caps = ReplyCapsFor(GetParam().type);
  std::array<uint8_t, 512> out{};
  const size_t len =
      EncodeLinkReply(std::span<const uint8_t, kPubKeyLen>(
                          parsed.reply.pub_key.data(), kPubKeyLen),
                      caps, out);
  std::string expected = Whole(stream);
  if (stream.kind == HeaderKind::kFull) {
    const size_t word = 2 * (kLinkHeaderLen + kLinkReplyFixedLen);
    EXPECT_EQ(expected.substr(word, 2), "03");
    expected.replace(word, 2, "0b");
  }
  EXPECT_EQ(ToHex(Bytes(out).first(len)), expected);
  EXPECT_EQ(ToHex(stream.auth), ToHex(EncodeLinkResult(LinkError::kOk)));
}

TEST_P(CaptureTest, EveryMessageIsKnownAndEncodesAgain) {
  for (const Direction direction :
       {Direction::kClientToServer, Direction::kServerToClient}) {
    const Stream stream = OpenParam(direction);
    EXPECT_FALSE(stream.messages.empty());
    Buffer again;
    uint64_t serial = 0;
    for (const Message& message : stream.messages) {
      EXPECT_TRUE(
          IsKnownMessage(GetParam().type, direction, message.header.type))
          << message.header.type;
      EXPECT_EQ(message.header.serial, ++serial);
      EXPECT_EQ(message.header.sub_list, 0u);
      std::array<uint8_t, kMaxDataHeaderLen> header{};
      const size_t len = EncodeDataHeader(stream.kind, message.header, header);
      again = Join({again, Bytes(header).first(len), message.body});
    }
    EXPECT_EQ(ToHex(again), ToHex(stream.data));
  }
}

TEST_P(CaptureTest, CutsDoNotMatter) {
  for (const Direction direction :
       {Direction::kClientToServer, Direction::kServerToClient}) {
    const Stream stream = OpenParam(direction);
    for (const size_t piece : {1, 7, 1460}) {
      const auto messages = Cut(stream.kind, stream.data, piece);
      ASSERT_EQ(messages.size(), stream.messages.size());
      for (size_t i = 0; i < messages.size(); ++i) {
        EXPECT_EQ(messages[i].header, stream.messages[i].header);
        EXPECT_TRUE(messages[i].body == stream.messages[i].body);
      }
    }
  }
}

// Checks what a message's body must be when it is one we know how to write.
void CheckCommonBody(Direction direction, const Message& message) {
  const bool to_client = direction == Direction::kServerToClient;
  const uint16_t type = message.header.type;
  if (type == (to_client ? uint16_t{kMsgPing} : uint16_t{kMsgcPong})) {
    const auto ping = ParsePing(message.body);
    ASSERT_TRUE(ping.has_value());
    EXPECT_EQ(ToHex(EncodePing(*ping)), ToHex(Prefix(message.body, kPingLen)));
  } else if (to_client && type == kMsgSetAck) {
    const auto set_ack = ParseSetAck(message.body);
    ASSERT_TRUE(set_ack.has_value());
    EXPECT_EQ(set_ack->window, 20u);
    EXPECT_EQ(ToHex(EncodeSetAck(*set_ack)), ToHex(message.body));
  } else if (to_client && type == kMsgNotify) {
    const auto notify = ParseNotify(message.body);
    ASSERT_TRUE(notify.has_value());
    EXPECT_EQ(notify->message, "keyboard channel is insecure");
    Buffer out(message.body.size());
    EXPECT_EQ(EncodeNotify(*notify, out), out.size());
    EXPECT_EQ(ToHex(out), ToHex(message.body));
  }
}

TEST_P(CaptureTest, CommonBodies) {
  for (const Direction direction :
       {Direction::kClientToServer, Direction::kServerToClient}) {
    for (const Message& message : OpenParam(direction).messages) {
      CheckCommonBody(direction, message);
    }
  }
}

std::string TestName(const testing::TestParamInfo<Connection>& info) {
  std::string name = info.param.capture + "_" + info.param.channel;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, CaptureTest, testing::ValuesIn(Connections()),
                         TestName);

}  // namespace
}  // namespace spicegate::proto
