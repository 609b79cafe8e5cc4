// SPDX-License-Identifier: Apache-2.0
#include "proto/common_channel.h"

#include <gtest/gtest.h>

#include "proto/test_bytes.h"

namespace spicegate::proto {
namespace {

// NOTIFY as QEMU sends it when inputs runs in plain.
constexpr char kNotify[] =
    "b975196504010000 01000000 02000000 00000000 1c000000"
    "6b6579626f617264206368616e6e656c20697320696e7365637572 65 00";

TEST(CommonChannelTest, Migrate) {
  EXPECT_EQ(ParseMigrate(FromHex("03000000")),
            kMigrateNeedFlush | kMigrateNeedDataTransfer);
  EXPECT_FALSE(ParseMigrate(FromHex("030000")).has_value());
}

TEST(CommonChannelTest, SetAck) {
  const auto body = FromHex("01000000 14000000");
  EXPECT_EQ(ParseSetAck(body), (SetAck{.generation = 1, .window = 20}));
  EXPECT_EQ(ToHex(EncodeSetAck({1, 20})), ToHex(body));
  EXPECT_FALSE(ParseSetAck(Prefix(body, 7)).has_value());
}

TEST(CommonChannelTest, PingIgnoresItsPadding) {
  const auto body = FromHex("c6237b32 9afd086b04010000");
  const Ping ping = {.id = 0x327b23c6, .timestamp = 0x1046b08fd9a};
  EXPECT_EQ(ParsePing(body), ping);
  EXPECT_EQ(ParsePing(Join({body, FromHex("0000")})), ping);
  EXPECT_EQ(ToHex(EncodePing(ping)), ToHex(body));
  EXPECT_FALSE(ParsePing(Prefix(body, 11)).has_value());
}

TEST(CommonChannelTest, Disconnecting) {
  const auto body = FromHex("0100000000000000 07000000");
  EXPECT_EQ(ParseDisconnecting(body), (Disconnecting{.time = 1, .reason = 7}));
  EXPECT_EQ(ToHex(EncodeDisconnecting({1, 7})), ToHex(body));
  EXPECT_FALSE(ParseDisconnecting(Prefix(body, 11)).has_value());
}

TEST(CommonChannelTest, NotifyRoundTrip) {
  const auto body = FromHex(kNotify);
  ASSERT_EQ(body.size(), 53u);
  const auto notify = ParseNotify(body);
  ASSERT_TRUE(notify.has_value());
  EXPECT_EQ(notify->severity, 1u);
  EXPECT_EQ(notify->visibility, 2u);
  EXPECT_EQ(notify->message, "keyboard channel is insecure");
  std::array<uint8_t, 53> out{};
  EXPECT_EQ(EncodeNotify(*notify, out), 53u);
  EXPECT_EQ(ToHex(out), ToHex(body));
  EXPECT_EQ(EncodeNotify(*notify, MutableBytes(out).first(52)), 0u);
}

TEST(CommonChannelTest, NotifyWithALyingLength) {
  auto body = FromHex(kNotify);
  // The NUL may be missing; a character may not.
  EXPECT_TRUE(ParseNotify(Prefix(body, 52)).has_value());
  for (size_t len = 0; len < 52; ++len) {
    EXPECT_FALSE(ParseNotify(Prefix(body, len)).has_value()) << len;
  }
  for (const uint32_t len : {30u, 0x7fffffffu, 0xffffffecu, 0xffffffffu}) {
    StoreU32(body.data() + 20, len);
    EXPECT_FALSE(ParseNotify(body).has_value()) << len;
  }
}

}  // namespace
}  // namespace spicegate::proto
