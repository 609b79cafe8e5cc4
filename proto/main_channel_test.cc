// SPDX-License-Identifier: Apache-2.0
#include "proto/main_channel.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proto/messages.h"
#include "proto/test_bytes.h"

namespace spicegate::proto {
namespace {

// "hv2.internal", ports 5941 and 5942.
constexpr char kSeamless[] =
    "3517 3617 0d000000 18000000 00000000 00000000 01000000"
    "6876322e696e7465726e616c00";
constexpr char kPlain[] =
    "3517 3617 0d000000 14000000 00000000 00000000"
    "6876322e696e7465726e616c00";

// A plain DstInfo body with the given extents; strings "h\0s\0" from 20 on.
std::vector<uint8_t> Dst(uint32_t host_len, uint32_t host_offset,
                         uint32_t subject_len, uint32_t subject_offset,
                         std::string_view strings = {"h\0s\0", 4}) {
  std::vector<uint8_t> body(20 + strings.size());
  Writer writer(body);
  writer.U16(5930);
  writer.U16(5931);
  writer.U32(host_len);
  writer.U32(host_offset);
  writer.U32(subject_len);
  writer.U32(subject_offset);
  writer.Put(AsBytes(strings));
  return body;
}

bool Accepts(const std::vector<uint8_t>& body) {
  return ParseDstInfo(DstInfoKind::kPlain, body).has_value();
}

std::string Encoded(DstInfoKind kind, const DstInfo& info) {
  std::array<uint8_t, kMaxDstInfoLen> out{};
  return ToHex(Bytes(out).first(EncodeDstInfo(kind, info, out)));
}

TEST(MainInitTest, ParsesAndEncodesACapturedOne) {
  const auto body = FromHex(
      "53c0cc2c 01000000 03000000 01000000 01000000 0a000000 f90e1100 "
      "00e0ff02");
  const auto init = ParseMainInit(body);
  ASSERT_TRUE(init.has_value());
  EXPECT_EQ(*init, (MainInit{.session_id = 0x2cccc053,
                             .display_channels_hint = 1,
                             .supported_mouse_modes = 3,
                             .current_mouse_mode = 1,
                             .agent_connected = 1,
                             .agent_tokens = 10,
                             .multi_media_time = 0x110ef9,
                             .ram_hint = 0x02ffe000}));
  EXPECT_EQ(ToHex(EncodeMainInit(*init)), ToHex(body));
  for (size_t len = 0; len < body.size(); ++len) {
    EXPECT_FALSE(ParseMainInit(Prefix(body, len)).has_value()) << len;
  }
}

TEST(ChannelsListTest, ParsesAndEncodes) {
  const auto body = FromHex("03000000 0200 0400 0b07");
  const auto list = ChannelsListView::Parse(body);
  ASSERT_TRUE(list.has_value());
  ASSERT_EQ(list->size(), 3u);
  EXPECT_EQ((*list)[2], (ChannelKey{ChannelType::kWebdav, 7}));
  EXPECT_TRUE(list->Contains({ChannelType::kCursor, 0}));
  EXPECT_FALSE(list->Contains({ChannelType::kCursor, 1}));
  const std::vector<ChannelKey> keys = {(*list)[0], (*list)[1], (*list)[2]};
  std::array<uint8_t, 10> out{};
  EXPECT_EQ(EncodeChannelsList(keys, out), 10u);
  EXPECT_EQ(ToHex(out), ToHex(body));
  EXPECT_EQ(EncodeChannelsList(keys, MutableBytes(out).first(9)), 0u);
}

TEST(ChannelsListTest, CountIsBoundedByTheBody) {
  auto body = FromHex("03000000 0200 0400 0b07");
  for (size_t len = 0; len < body.size(); ++len) {
    EXPECT_FALSE(ChannelsListView::Parse(Prefix(body, len)).has_value()) << len;
  }
  for (const uint32_t count : {4u, 0x7fffffffu, 0x80000002u, 0xffffffffu}) {
    StoreU32(body.data(), count);
    EXPECT_FALSE(ChannelsListView::Parse(body).has_value()) << count;
  }
  EXPECT_EQ(ChannelsListView::Parse(FromHex("00000000"))->size(), 0u);
}

TEST(DstInfoTest, KindFollowsTheMessage) {
  EXPECT_EQ(DstInfoKindOf(kMsgMainMigrateBegin), DstInfoKind::kPlain);
  EXPECT_EQ(DstInfoKindOf(kMsgMainMigrateSwitchHost), DstInfoKind::kPlain);
  EXPECT_EQ(DstInfoKindOf(kMsgMainMigrateBeginSeamless),
            DstInfoKind::kSeamless);
  EXPECT_FALSE(DstInfoKindOf(kMsgMainMigrateEnd).has_value());
  EXPECT_FALSE(DstInfoKindOf(kMsgMainInit).has_value());
}

TEST(DstInfoTest, ParsesTheSamples) {
  const auto seamless = FromHex(kSeamless);
  const auto info = ParseDstInfo(DstInfoKind::kSeamless, seamless);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(*info, (DstInfo{.port = 5941,
                            .sport = 5942,
                            .host = "hv2.internal",
                            .cert_subject = "",
                            .src_mig_version = 1}));
  const auto plain = FromHex(kPlain);
  const auto info2 = ParseDstInfo(DstInfoKind::kPlain, plain);
  ASSERT_TRUE(info2.has_value());
  EXPECT_EQ(info2->host, "hv2.internal");
  EXPECT_EQ(info2->src_mig_version, 0u);
}

TEST(DstInfoTest, EncodesTheSamples) {
  DstInfo info = {.port = 5941,
                  .sport = 5942,
                  .host = "hv2.internal",
                  .src_mig_version = 1};
  EXPECT_EQ(Encoded(DstInfoKind::kSeamless, info), ToHex(FromHex(kSeamless)));
  EXPECT_EQ(Encoded(DstInfoKind::kPlain, info), ToHex(FromHex(kPlain)));
}

TEST(DstInfoTest, APortNotGivenIsZero) {
  auto body = FromHex(kPlain);
  StoreU32(body.data(), 0xffffffff);
  const auto info = ParseDstInfo(DstInfoKind::kPlain, body);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->port, 0);
  EXPECT_EQ(info->sport, 0);
}

TEST(DstInfoTest, RefusesEveryShortBody) {
  for (const auto& [kind, hex] : {std::pair{DstInfoKind::kSeamless, kSeamless},
                                  std::pair{DstInfoKind::kPlain, kPlain}}) {
    const auto body = FromHex(hex);
    for (size_t len = 0; len < body.size(); ++len) {
      EXPECT_FALSE(ParseDstInfo(kind, Prefix(body, len)).has_value()) << len;
    }
  }
}

TEST(DstInfoTest, StringsLieBehindTheFixedPartAndInside) {
  EXPECT_TRUE(Accepts(Dst(2, 20, 2, 22)));
  EXPECT_TRUE(Accepts(Dst(2, 22, 2, 20)));
  EXPECT_TRUE(Accepts(Dst(2, 20, 0, 22)));
  EXPECT_TRUE(Accepts(Dst(2, 20, 2, 0)));
  EXPECT_FALSE(Accepts(Dst(2, 19, 2, 22)));
  EXPECT_FALSE(Accepts(Dst(2, 23, 0, 0)));
  EXPECT_FALSE(Accepts(Dst(2, 24, 0, 0)));
  EXPECT_FALSE(Accepts(Dst(2, 20, 3, 22)));
  EXPECT_FALSE(Accepts(Dst(2, 0xffffffff, 0, 0)));
  EXPECT_FALSE(Accepts(Dst(0xffffffff, 20, 0, 0)));
  EXPECT_FALSE(Accepts(Dst(0xfffffff0, 0x20, 0, 0)));
  EXPECT_FALSE(Accepts(Dst(2, 20, 0xffffffff, 22)));
}

TEST(DstInfoTest, TheSeamlessFixedPartIsLonger) {
  auto body = Dst(2, 20, 0, 0, {"h\0\0\0s\0", 6});
  EXPECT_FALSE(ParseDstInfo(DstInfoKind::kSeamless, body).has_value());
  StoreU32(body.data() + 8, 24);
  EXPECT_TRUE(ParseDstInfo(DstInfoKind::kSeamless, body).has_value());
}

TEST(DstInfoTest, StringsEndInTheirOnlyNul) {
  EXPECT_FALSE(Accepts(Dst(1, 20, 2, 22)));
  EXPECT_FALSE(Accepts(Dst(3, 20, 0, 0)));
  EXPECT_FALSE(Accepts(Dst(4, 20, 0, 0)));
  EXPECT_FALSE(Accepts(Dst(2, 20, 1, 22)));
}

TEST(DstInfoTest, StringsDoNotOverlap) {
  EXPECT_FALSE(Accepts(Dst(2, 20, 2, 20)));
  EXPECT_FALSE(Accepts(Dst(3, 20, 2, 21, {"ab\0", 3})));
  EXPECT_FALSE(Accepts(Dst(2, 21, 3, 20, {"ab\0", 3})));
}

TEST(DstInfoTest, TheHostIsNeverMissing) {
  EXPECT_FALSE(Accepts(Dst(0, 20, 2, 22)));
  EXPECT_FALSE(Accepts(Dst(2, 0, 2, 22)));
  EXPECT_FALSE(Accepts(Dst(1, 21, 2, 22)));
}

TEST(DstInfoTest, LongStrings) {
  const std::string host(kMaxDstHostLen, 'h');
  const std::string subject(kMaxDstSubjectLen, 's');
  const DstInfo most = {.host = host, .cert_subject = subject};
  std::array<uint8_t, kMaxDstInfoLen> out{};
  EXPECT_EQ(EncodeDstInfo(DstInfoKind::kSeamless, most, out), out.size());
  EXPECT_EQ(ParseDstInfo(DstInfoKind::kSeamless, out), most);
  EXPECT_EQ(EncodeDstInfo(DstInfoKind::kSeamless, most,
                          MutableBytes(out).first(out.size() - 1)),
            0u);
  const std::string longer(kMaxDstHostLen + 2, 'h');
  auto body = Dst(kMaxDstHostLen + 2, 20, 0, 0, longer);
  body.back() = 0;
  EXPECT_FALSE(Accepts(body));
}

TEST(DstInfoTest, EncoderRefusesWhatTheParserWould) {
  EXPECT_EQ(Encoded(DstInfoKind::kPlain, {.host = ""}), "");
  EXPECT_EQ(Encoded(DstInfoKind::kPlain, {.host = {"a\0b", 3}}), "");
  const std::string longer(kMaxDstHostLen + 1, 'h');
  EXPECT_EQ(Encoded(DstInfoKind::kPlain, {.host = longer}), "");
  EXPECT_EQ(
      Encoded(DstInfoKind::kPlain, {.host = "h", .cert_subject = {"\0", 1}}),
      "");
}

TEST(MainNameTest, ParsesAndEncodes) {
  const auto body = FromHex("08000000 6361707475726500");
  EXPECT_EQ(ParseMainName(body), "capture");
  std::array<uint8_t, 12> out{};
  EXPECT_EQ(EncodeMainName("capture", out), 12u);
  EXPECT_EQ(ToHex(out), ToHex(body));
  EXPECT_EQ(EncodeMainName("captures", out), 0u);
}

TEST(MainNameTest, HostileBodies) {
  const auto body = FromHex("08000000 6361707475726500");
  for (size_t len = 0; len < body.size(); ++len) {
    EXPECT_FALSE(ParseMainName(Prefix(body, len)).has_value()) << len;
  }
  EXPECT_EQ(ParseMainName(FromHex("03000000 610062")), "a");
  EXPECT_EQ(ParseMainName(FromHex("02000000 6162")), "ab");
  EXPECT_EQ(ParseMainName(FromHex("00000000")), "");
  EXPECT_FALSE(ParseMainName(FromHex("ffffffff 6162")).has_value());
}

TEST(MainUuidTest, SixteenBytes) {
  const auto body = FromHex("00112233445566778899aabbccddeeff");
  ASSERT_TRUE(ParseMainUuid(body).has_value());
  EXPECT_EQ(ToHex(*ParseMainUuid(body)), ToHex(body));
  EXPECT_FALSE(ParseMainUuid(Prefix(body, 15)).has_value());
}

}  // namespace
}  // namespace spicegate::proto
