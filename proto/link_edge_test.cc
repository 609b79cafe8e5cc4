// SPDX-License-Identifier: Apache-2.0
// Links at the edge of what spice-server takes, with the answers it gave
// (testdata/README.md): ours are the same bytes.

#include <gtest/gtest.h>

#include <string>

#include "proto/link.h"
#include "proto/test_bytes.h"
#include "proto/test_capture.h"

namespace spicegate::proto {
namespace {

constexpr const char* kLinks[] = {"magic_after_4_bytes",
                                  "magic_http",
                                  "major_0",
                                  "major_1",
                                  "major_3_before_size",
                                  "minor_0",
                                  "minor_99",
                                  "size_0",
                                  "size_17",
                                  "size_18",
                                  "size_4096",
                                  "size_4097",
                                  "size_2g",
                                  "size_4g",
                                  "no_caps_offset_free",
                                  "caps_offset_odd",
                                  "caps_offset_17",
                                  "caps_offset_end",
                                  "caps_offset_past",
                                  "caps_fill_4096",
                                  "caps_1020_words",
                                  "caps_1025_words",
                                  "caps_counts_wrap",
                                  "caps_len_wraps",
                                  "type_0",
                                  "type_255"};

std::string ErrorReply(LinkError error) {
  return ToHex(EncodeLinkErrorReply(error));
}

// A successful reply with the key the server happened to make.
std::string SuccessReply(ChannelType type, Bytes answer) {
  if (answer.size() < kErrorReplyLen) {
    return "a reply with a key";
  }
  const Bytes key = answer.subspan(kLinkHeaderLen + 4, kPubKeyLen);
  std::array<uint8_t, 512> out{};
  const size_t len =
      EncodeLinkReply(key.first<kPubKeyLen>(), ReplyCapsFor(type), out);
  return ToHex(Bytes(out).first(len));
}

// What the functions of link.h make of `link`.
std::string OurAnswer(Bytes link, Bytes answer) {
  if (MagicPrefixWrong(link)) {
    return ErrorReply(LinkError::kInvalidMagic);
  }
  const LinkHeader header = ParseLinkHeader(link.first<kLinkHeaderLen>());
  const HeaderVerdict verdict = JudgeLinkHeader(header);
  if (verdict == HeaderVerdict::kCloseSilently) {
    return "";
  }
  if (verdict != HeaderVerdict::kAccept) {
    return ErrorReply(ErrorOf(verdict));
  }
  const auto mess = ParseLinkMess(link.subspan(kLinkHeaderLen, header.size));
  if (!mess) {
    return ErrorReply(LinkError::kInvalidData);
  }
  return IsKnownChannelType(mess->channel_type)
             ? SuccessReply(mess->key().type, answer)
             : "";
}

class LinkEdgeTest : public testing::TestWithParam<const char*> {};

TEST_P(LinkEdgeTest, AnswerIsSpiceServers) {
  const std::string stem = std::string("edge/") + GetParam();
  const Buffer link = ReadFile(stem + ".client_to_server.bin");
  const Buffer answer = ReadFile(stem + ".server_to_client.bin");
  ASSERT_FALSE(link.empty());
  EXPECT_EQ(OurAnswer(link, answer), ToHex(answer));
}

INSTANTIATE_TEST_SUITE_P(All, LinkEdgeTest, testing::ValuesIn(kLinks),
                         [](const auto& info) {
                           return std::string(info.param);
                         });

}  // namespace
}  // namespace spicegate::proto
