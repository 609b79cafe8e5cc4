// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/main_inspector.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gateway/base/limits.h"
#include "gateway/relay/inspector_fixture.h"
#include "proto/messages.h"
#include "proto/test_bytes.h"

namespace spicegate {
namespace {

using proto::FromHex;
using proto::HeaderKind;
using proto::Join;
using proto::ToHex;
using Bench = InspectorBench;
using Buffer = std::vector<uint8_t>;
using Result = InspectorResult;
using Setting = InspectorSetting;
using Side = MigrationSide;

void ExpectRefused(uint16_t type, const Buffer& body) {
  for (const HeaderKind kind : {HeaderKind::kMini, HeaderKind::kFull}) {
    const Buffer before =
        MainMessage(kind, proto::kMsgMainMouseMode, Buffer(4));
    const InspectorResult result =
        Inspect({.kind = kind},
                Join({before, MainMessage(kind, type, body, 2), before}));
    EXPECT_EQ(result.out, ToHex(before)) << "type " << type;
    EXPECT_EQ(result.log, "refuse:" + std::to_string(type) + " ");
    EXPECT_TRUE(result.refused);
  }
}

// ---- Sizes ----

TEST(MainInspectorTest, FixedSizes) {
  const struct {
    uint16_t type;
    size_t len;
  } kFixed[] = {{1, 4},   {3, 8},    {6, 12},  {102, 0}, {103, 32},
                {105, 4}, {106, 4},  {107, 0}, {108, 4}, {110, 4},
                {112, 0}, {114, 16}, {115, 4}, {117, 0}, {118, 0}};
  for (const auto& [type, len] : kFixed) {
    for (const size_t more : {0, 8, 64}) {
      const Result result = Inspect({}, MainMessage(type, Buffer(len + more)));
      EXPECT_FALSE(result.refused) << type;
      EXPECT_EQ(result.out, ToHex(MainMessage(type, Buffer(len + more))));
    }
    ExpectRefused(type, Buffer(len + 65));
    if (len != 0) {
      ExpectRefused(type, Buffer(len - 1));
      ExpectRefused(type, {});
    }
  }
}

TEST(MainInspectorTest, LargestSizes) {
  const struct {
    uint16_t type;
    size_t len;
  } kLargest[] = {{2, kMaxMigrationDataBytes},
                  {4, 1024 * 1024},
                  {7, 65536},
                  {99, 65536},
                  {104, 4 + 2 * kMaxListedChannels},
                  {109, proto::kMaxAgentPieceLen},
                  {113, 65536},
                  {119, 65536},
                  {65535, 65536}};
  for (const auto& [type, len] : kLargest) {
    for (const size_t more : {0, 1}) {
      Bench bench({});
      bench.pump().Feed(MainMessage(type, Buffer(len + more)));
      EXPECT_EQ(bench.refused(), more != 0) << type;
    }
  }
}

// A claim is enough: the body need not be here.
TEST(MainInspectorTest, ClaimsAreRefusedByTheHeader) {
  for (uint16_t type = 0; type < 130; ++type) {
    Bench bench({});
    const Buffer whole = MainMessage(type, {});
    Buffer header(whole);
    proto::StoreU32(header.data() + 2, 0xfffffff0);
    bench.pump().Feed(header);
    EXPECT_TRUE(bench.refused()) << type;
    EXPECT_TRUE(bench.pump().out().empty());
  }
}

TEST(MainInspectorTest, ListsOfMessagesAreRefused) {
  ExpectRefused(proto::kMsgList, FromHex("0000"));
  Buffer message = MainMessage(HeaderKind::kFull, 105, Buffer(4));
  message[14] = 1;  // sub_list
  EXPECT_EQ(Inspect({.kind = HeaderKind::kFull}, message).log, "refuse:105 ");
}

// ---- Lies inside bodies ----

TEST(MainInspectorTest, ChannelsListThatLies) {
  ExpectRefused(104, {});
  ExpectRefused(104, FromHex("010000"));
  ExpectRefused(104, FromHex("01000000"));
  ExpectRefused(104, FromHex("02000000 0200 03"));
  ExpectRefused(104, FromHex("02000080 0200 0300"));
  ExpectRefused(104, FromHex("ffffffff 0200 0300"));
  ExpectPasses({}, MainMessage(104, FromHex("02000000 0200 0300")));
  ExpectPasses({}, MainMessage(104, FromHex("00000000")));
  ExpectPasses({}, MainMessage(104, FromHex("01000000 0200 0300")));
}

Buffer Notify(uint32_t claimed, size_t text_len) {
  return Join({Buffer(20), U32(claimed), Buffer(text_len, 'x')});
}

TEST(MainInspectorTest, NotifyThatLies) {
  ExpectRefused(7, Buffer(23));
  ExpectRefused(7, Notify(1, 0));
  ExpectRefused(7, Notify(11, 10));
  ExpectRefused(7, Notify(0xffffffec, 10));
  ExpectRefused(7, Notify(0xffffffff, 10));
  ExpectPasses({}, MainMessage(7, Notify(0, 0)));
  ExpectPasses({}, MainMessage(7, Notify(28, 29)));
}

TEST(MainInspectorTest, NameThatLies) {
  ExpectRefused(113, Buffer(3));
  ExpectRefused(113, Join({U32(5), Buffer(4)}));
  ExpectRefused(113, Join({U32(0xfffffffc), Buffer(4)}));
  ExpectPasses({}, MainMessage(113, Join({U32(4), Buffer(4)})));
}

TEST(MainInspectorTest, WaitListThatLies) {
  ExpectRefused(5, {});
  ExpectRefused(5, Buffer(10, 1));
  ExpectPasses({}, MainMessage(5, Buffer(11, 1)));
  ExpectPasses({}, MainMessage(5, Buffer(1)));
}

TEST(MainInspectorTest, MigrateToThatLies) {
  for (const uint16_t type : {101, 111, 116}) {
    ExpectRefused(type, {});
    ExpectRefused(type, Buffer(24));
    // The host begins behind the end, or ends there, or has no NUL.
    ExpectRefused(type, FromHex("3517 3617 02000000 1a000000 00000000 00000000"
                                "01000000 6100"));
    ExpectRefused(type, FromHex("3517 3617 03000000 18000000 00000000 00000000"
                                "01000000 6100"));
    ExpectRefused(type, FromHex("3517 3617 02000000 18000000 00000000 00000000"
                                "01000000 6161"));
    ExpectRefused(type, FromHex("3517 3617 f0ffffff 18000000 00000000 00000000"
                                "01000000 6100"));
    ExpectRefused(type, Buffer(proto::kMaxDstInfoLen + 1));
  }
}

// ---- What the channel is told ----

TEST(MainInspectorTest, Init) {
  Buffer body(32);
  proto::StoreU32(body.data(), 0x01020304);
  ExpectPasses({}, MainMessage(103, body), "init:16909060 ");
}

TEST(MainInspectorTest, MigrateCancelOfASourceOnly) {
  ExpectPasses({}, MainMessage(102, {}), "cancel ");
  ExpectPasses({.side = Side::kSource}, MainMessage(102, {}), "cancel ");
  ExpectPasses({.side = Side::kDestination}, MainMessage(102, {}));
}

TEST(MainInspectorTest, MigrateToIsRewritten) {
  const Setting setting = {.place = proto::DstInfo{.port = 0,
                                                   .sport = 5931,
                                                   .host = "gate.example",
                                                   .cert_subject = "CN=g"}};
  const std::string tail = ToHex(FromHex("676174652e6578616d706c6500")) +
                           ToHex(FromHex("434e3d6700"));
  const auto plain = FromHex(
      "3517 3617 0d000000 14000000 00000000 00000000"
      "6876322e696e7465726e616c00");
  const std::string rewritten = "00002b17 0d000000 14000000 05000000 21000000";
  const auto seamless = FromHex(
      "3517 ffff 0d000000 18000000 03000000 25000000 07000000"
      "6876322e696e7465726e616c00 433d00");
  for (const uint16_t type : {101, 111}) {
    const Result result = Inspect(setting, MainMessage(type, plain));
    EXPECT_EQ(result.log, type == 101 ? "migrate1:hv2.internal:5941:5942: "
                                      : "migrate2:hv2.internal:5941:5942: ");
    EXPECT_EQ(result.out, ToHex(MainMessage(type, FromHex(rewritten + tail))));
  }
  const Result result = Inspect(setting, MainMessage(116, seamless));
  EXPECT_EQ(result.log, "migrate0:hv2.internal:5941:0:C= ");
  EXPECT_EQ(
      result.out,
      ToHex(MainMessage(
          116, FromHex("00002b17 0d000000 18000000 05000000 25000000 07000000" +
                       tail))));
}

TEST(MainInspectorTest, RewrittenMessageKeepsItsSerial) {
  const Setting setting = {.kind = HeaderKind::kFull,
                           .place = proto::DstInfo{.host = "b"}};
  const auto dst_info = [](const std::string& fixed) {
    return FromHex(fixed + "02000000 14000000 00000000 00000000");
  };
  const Buffer in = Join({dst_info("3517 3617"), FromHex("6100")});
  const Buffer out = Join({dst_info("0000 0000"), FromHex("6200")});
  EXPECT_EQ(Inspect(setting, MainMessage(HeaderKind::kFull, 101, in, 77)).out,
            ToHex(MainMessage(HeaderKind::kFull, 101, out, 77)));
}

TEST(MainInspectorTest, PlaceThatCannotBeToldDropsTheMessage) {
  const Setting setting = {.place = proto::DstInfo{.host = ""}};
  const auto body =
      FromHex("3517 3617 02000000 14000000 00000000 00000000 6100");
  const Buffer after = MainMessage(105, Buffer(4));
  const Result result = Inspect(setting, Join({MainMessage(101, body), after}));
  EXPECT_EQ(result.out, ToHex(after));
  EXPECT_FALSE(result.refused);
}

TEST(MainInspectorTest, ChannelsThatAPolicyRefusesAreTakenOut) {
  const Policy policy = {.refused_channels = 1u << 9 | 1u << 6};
  const Buffer in = FromHex("05000000 0200 0900 0300 0901 0600");
  const Result result = Inspect({.policy = policy}, MainMessage(104, in));
  EXPECT_EQ(result.out, ToHex(MainMessage(104, FromHex("02000000 0200 0300"))));
  EXPECT_EQ(result.log, "drop3 drop3 drop3 ");
  EXPECT_EQ(
      Inspect({.policy = policy}, MainMessage(104, FromHex("01000000 0905")))
          .out,
      ToHex(MainMessage(104, FromHex("00000000"))));
  ExpectPasses({.policy = policy},
               MainMessage(104, FromHex("02000000 0200 ff00")));
}

}  // namespace
}  // namespace spicegate
