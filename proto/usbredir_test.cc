// SPDX-License-Identifier: Apache-2.0
#include "proto/usbredir.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "proto/test_bytes.h"

namespace spicegate::proto {
namespace {

using Buffer = std::vector<uint8_t>;

constexpr uint32_t kAll = 0xFF;  // what QEMU and spice-gtk say
constexpr uint32_t kMaxLen = 1 << 16;
constexpr uint8_t kIn = 0x81;
constexpr uint8_t kOut = 0x01;

constexpr uint32_t Without(UsbredirCap cap) { return kAll & ~(1u << cap); }

Buffer U32(uint32_t value) {
  Buffer out(4);
  StoreU32(out.data(), value);
  return out;
}

// With a 32-bit id, or a 64-bit one.
Buffer Packet(uint32_t type, const Buffer& body, bool wide = true) {
  const auto len = static_cast<uint32_t>(body.size());
  return Join({U32(type), U32(len), Buffer(wide ? 8 : 4, 7), body});
}

Buffer HelloOf(size_t num_caps_bytes, uint32_t caps) {
  Buffer body(kUsbredirVersionLen, 'v');
  Buffer words = U32(caps);
  words.resize(num_caps_bytes);
  return Packet(kUsbredirHello, Join({body, words}), false);
}

Buffer Hello(uint32_t caps = kAll) { return HelloOf(4, caps); }

Buffer Bulk(uint8_t endpoint, uint32_t claimed_len, size_t data_len) {
  Buffer body(10 + data_len);
  body[0] = endpoint;
  StoreU16(&body[2], static_cast<uint16_t>(claimed_len));
  StoreU16(&body[8], static_cast<uint16_t>(claimed_len >> 16));
  return Packet(kUsbredirBulkPacket, body);
}

// A packet whose own header of `len` bytes has its endpoint and a u16 length at
// these places.
Buffer Transfer(UsbredirType type, size_t len, size_t endpoint_at,
                uint8_t endpoint, size_t len_at, uint16_t claimed_len,
                size_t data_len) {
  Buffer body(len + data_len);
  body[endpoint_at] = endpoint;
  StoreU16(&body[len_at], claimed_len);
  return Packet(type, body);
}

bool Takes(Bytes stream, uint32_t server_caps = kAll,
           size_t piece_len = SIZE_MAX) {
  UsbredirChecker checker(kMaxLen);
  checker.SetServerCaps(server_caps);
  while (!stream.empty()) {
    const size_t len = std::min(piece_len, stream.size());
    if (!checker.Feed(Prefix(stream, len))) {
      EXPECT_TRUE(checker.violated());
      EXPECT_FALSE(checker.Feed(Buffer{0}));
      return false;
    }
    stream = stream.subspan(len);
  }
  EXPECT_FALSE(checker.violated());
  return true;
}

bool TakesBehindHello(const Buffer& packet, uint32_t caps = kAll) {
  // Another packet behind it shows that its end was found.
  return Takes(
      Join({Hello(caps), packet,
            Packet(kUsbredirDeviceDisconnect, {}, (caps >> 5 & 1) != 0)}));
}

// Every packet that a device's end may say, as it is with all capabilities.
std::vector<Buffer> GoodPackets() {
  return {
      Packet(kUsbredirDeviceConnect, Buffer(10)),
      Packet(kUsbredirDeviceDisconnect, {}),
      Packet(kUsbredirInterfaceInfo, Buffer(132)),
      Packet(kUsbredirEpInfo, Buffer(288)),
      Packet(kUsbredirConfigurationStatus, Buffer(2)),
      Packet(kUsbredirAltSettingStatus, Buffer(3)),
      Packet(kUsbredirIsoStreamStatus, Buffer(2)),
      Packet(kUsbredirInterruptReceivingStatus, {0, kIn}),
      Packet(kUsbredirBulkStreamsStatus, Buffer(9)),
      Packet(kUsbredirBulkReceivingStatus, {0, 0, 0, 0, kIn, 0}),
      Transfer(kUsbredirControlPacket, 10, 0, 0x80, 8, 18, 18),
      Transfer(kUsbredirControlPacket, 10, 0, 0x00, 8, 18, 0),
      Bulk(kIn, 60'000, 60'000),
      Bulk(kOut, 512, 0),
      Transfer(kUsbredirIsoPacket, 4, 0, kIn, 2, 200, 200),
      Transfer(kUsbredirInterruptPacket, 4, 0, kIn, 2, 8, 8),
      Transfer(kUsbredirInterruptPacket, 4, 0, kOut, 2, 8, 0),
      Transfer(kUsbredirBufferedBulkPacket, 10, 8, kIn, 4, 64, 64),
  };
}

TEST(UsbredirCheckerTest, TakesWhatDevicesSay) {
  Buffer all = Hello();
  for (const Buffer& packet : GoodPackets()) {
    EXPECT_TRUE(TakesBehindHello(packet)) << ToHex(Prefix(packet, 4));
    all.insert(all.end(), packet.begin(), packet.end());
  }
  for (const size_t piece_len : {1, 2, 3, 7, 11, 100}) {
    EXPECT_TRUE(Takes(all, kAll, piece_len)) << piece_len;
  }
}

TEST(UsbredirCheckerTest, SplitAtEveryByteIsTheSame) {
  Buffer good = Hello();
  for (const Buffer& packet : GoodPackets()) {
    if (packet.size() < 1000) {
      good.insert(good.end(), packet.begin(), packet.end());
    }
  }
  const Buffer bad = Join({good, Packet(3, {})});
  for (size_t at = 1; at < good.size(); ++at) {
    UsbredirChecker checker(kMaxLen);
    checker.SetServerCaps(kAll);
    ASSERT_TRUE(checker.Feed(Prefix(bad, at)));
    // A copy is as good.
    UsbredirChecker copy = checker;
    EXPECT_FALSE(copy.Feed(Bytes(bad).subspan(at))) << at;
    EXPECT_TRUE(checker.Feed(Bytes(good).subspan(at))) << at;
    EXPECT_FALSE(checker.in_packet());
  }
}

TEST(UsbredirCheckerTest, EachLengthIsThatOfTheType) {
  for (const Buffer& packet : GoodPackets()) {
    const uint32_t len = LoadU32(&packet[4]);
    for (const uint32_t wrong : {len - 1, len + 1}) {
      Buffer bad = packet;
      StoreU32(&bad[4], wrong);
      bad.resize(kUsbredirLongHeaderLen + std::min(wrong, len + 1));
      EXPECT_FALSE(TakesBehindHello(bad)) << ToHex(Prefix(packet, 8));
    }
  }
}

TEST(UsbredirCheckerTest, NoOtherTypesThanADevices) {
  for (const uint32_t type :
       {3u,  6u,  7u,  9u,  10u, 12u, 13u, 15u,  16u,         18u,        19u,
        21u, 22u, 24u, 25u, 26u, 28u, 99u, 105u, 0x80000064u, 0xFFFFFFFFu}) {
    EXPECT_FALSE(TakesBehindHello(Packet(type, {}))) << type;
    EXPECT_FALSE(TakesBehindHello(Packet(type, Buffer(10)))) << type;
  }
}

// QEMU calls through a null pointer for it.
TEST(UsbredirCheckerTest, NoFilter) {
  EXPECT_FALSE(TakesBehindHello(
      Packet(kUsbredirFilterFilter, {'0', ',', '1', ',', '1', 0})));
}

TEST(UsbredirCheckerTest, HelloComesFirstAndOnce) {
  EXPECT_FALSE(Takes(Packet(kUsbredirDeviceDisconnect, {}, false)));
  EXPECT_FALSE(Takes(Join({Hello(0), Hello(0)})));
  EXPECT_FALSE(TakesBehindHello(
      Packet(kUsbredirHello, Buffer(kUsbredirVersionLen + 4))));
  EXPECT_FALSE(Takes(Buffer(100, 'x')));
}

TEST(UsbredirCheckerTest, LengthOfAHello) {
  const Buffer next = Packet(kUsbredirDeviceDisconnect, {}, false);
  // Without a whole word there are no capabilities.
  for (const size_t len : {0, 3}) {
    EXPECT_TRUE(Takes(Join({HelloOf(len, kAll), next}))) << len;
  }
  EXPECT_TRUE(Takes(HelloOf(64, kAll)));
  EXPECT_FALSE(Takes(HelloOf(65, kAll)));
  Buffer short_one = Hello();
  StoreU32(&short_one[4], kUsbredirVersionLen - 1);
  EXPECT_FALSE(Takes(short_one));
}

TEST(UsbredirCheckerTest, IdsAreLongWhenBothSaySo) {
  const uint32_t none = Without(kUsbredirCap64BitIds);
  const Buffer narrow = Packet(kUsbredirConfigurationStatus, {0, 1}, false);
  const Buffer wide = Packet(kUsbredirConfigurationStatus, {0, 1});
  // What follows tells whether the first was understood.
  EXPECT_TRUE(Takes(Join({Hello(), wide, wide}), kAll));
  EXPECT_TRUE(Takes(Join({Hello(), narrow, narrow}), none));
  EXPECT_TRUE(Takes(Join({Hello(none), narrow, narrow}), kAll));
  EXPECT_FALSE(Takes(Join({Hello(), narrow, narrow, narrow}), kAll));
  EXPECT_FALSE(Takes(Join({Hello(), wide, wide}), none));
  EXPECT_FALSE(Takes(Join({Hello(none), wide, wide}), kAll));
}

TEST(UsbredirCheckerTest, CapabilitiesOfBothDecideLengths) {
  struct Row {
    UsbredirType type;
    size_t len;
    uint32_t caps;
  };
  for (const auto& [type, len, caps] : std::vector<Row>{
           {kUsbredirDeviceConnect, 8,
            Without(kUsbredirCapConnectDeviceVersion)},
           {kUsbredirEpInfo, 160, Without(kUsbredirCapBulkStreams)},
           // Without packet sizes there are no streams either.
           {kUsbredirEpInfo, 96, Without(kUsbredirCapEpInfoMaxPacketSize)},
           {kUsbredirBulkPacket, 8, Without(kUsbredirCap32BitBulkLength)}}) {
    const Buffer packet = Packet(type, Buffer(len));
    EXPECT_TRUE(TakesBehindHello(packet, caps)) << type;
    EXPECT_FALSE(TakesBehindHello(packet)) << type;
    if (type != kUsbredirEpInfo || len != 96) {  // a server's never lacks it
      EXPECT_TRUE(Takes(Join({Hello(), packet}), caps)) << type;
    }
  }
}

TEST(UsbredirCheckerTest, NothingBehindHelloBeforeTheServers) {
  const Buffer hello = Hello();
  UsbredirChecker checker(kMaxLen);
  ASSERT_TRUE(checker.Feed(hello));
  EXPECT_TRUE(checker.hello_passed());
  UsbredirChecker hasty = checker;
  EXPECT_FALSE(hasty.Feed(Buffer{2}));
  checker.SetServerCaps(Without(kUsbredirCap64BitIds));
  checker.SetServerCaps(kAll);  // a second one is nobody's
  EXPECT_TRUE(checker.Feed(Packet(kUsbredirDeviceDisconnect, {}, false)));
}

TEST(UsbredirCheckerTest, DataComesFromInEndpointsAlone) {
  EXPECT_FALSE(TakesBehindHello(Bulk(kOut, 512, 512)));
  EXPECT_FALSE(TakesBehindHello(Bulk(kIn, 512, 0)));
  EXPECT_FALSE(TakesBehindHello(Bulk(kIn, 512, 511)));
  EXPECT_FALSE(TakesBehindHello(Bulk(kIn, 512 + (1 << 16), 512)));
  EXPECT_TRUE(TakesBehindHello(Bulk(kOut, kMaxUsbredirTransferLen, 0)));
  EXPECT_FALSE(TakesBehindHello(Bulk(kOut, kMaxUsbredirTransferLen + 1, 0)));
  EXPECT_FALSE(
      TakesBehindHello(Transfer(kUsbredirControlPacket, 10, 0, 0, 8, 18, 18)));
  EXPECT_FALSE(TakesBehindHello(
      Transfer(kUsbredirInterruptPacket, 4, 0, kOut, 2, 8, 8)));
  EXPECT_FALSE(
      TakesBehindHello(Transfer(kUsbredirIsoPacket, 4, 0, kOut, 2, 0, 0)));
  EXPECT_FALSE(TakesBehindHello(
      Transfer(kUsbredirBufferedBulkPacket, 10, 8, kOut, 4, 0, 0)));
}

TEST(UsbredirCheckerTest, StatusIsOfInEndpoints) {
  EXPECT_FALSE(
      TakesBehindHello(Packet(kUsbredirInterruptReceivingStatus, {0, kOut})));
  EXPECT_FALSE(TakesBehindHello(
      Packet(kUsbredirBulkReceivingStatus, {0, 0, 0, 0, kOut, 0})));
}

TEST(UsbredirCheckerTest, BufferedBulkNeedsTheServersCapability) {
  const uint32_t none = Without(kUsbredirCapBulkReceiving);
  const Buffer status =
      Packet(kUsbredirBulkReceivingStatus, {0, 0, 0, 0, kIn, 0});
  const Buffer packet =
      Transfer(kUsbredirBufferedBulkPacket, 10, 8, kIn, 4, 1, 1);
  for (const Buffer& bad : {status, packet}) {
    EXPECT_FALSE(Takes(Join({Hello(), bad}), none));
    EXPECT_TRUE(Takes(Join({Hello(none), bad})));
  }
}

TEST(UsbredirCheckerTest, InterfacesAreCounted) {
  Buffer body(132);
  body[0] = 32;
  EXPECT_TRUE(TakesBehindHello(Packet(kUsbredirInterfaceInfo, body)));
  body[0] = 33;
  EXPECT_FALSE(TakesBehindHello(Packet(kUsbredirInterfaceInfo, body)));
}

TEST(UsbredirCheckerTest, LongPacketsAreRefusedByTheirHeader) {
  const Buffer packet = Bulk(kIn, kMaxLen - 9, kMaxLen - 9);
  EXPECT_TRUE(TakesBehindHello(Bulk(kIn, kMaxLen - 10, kMaxLen - 10)));
  EXPECT_FALSE(Takes(Join({Hello(), Prefix(packet, kUsbredirLongHeaderLen)})));
}

TEST(UsbredirHelloReaderTest, ReadsCapabilitiesWhateverThePieces) {
  const Buffer hello = Hello(0x5A);
  for (size_t at = 0; at < hello.size(); ++at) {
    UsbredirHelloReader reader;
    EXPECT_FALSE(reader.Feed(Prefix(hello, at)));
    EXPECT_EQ(reader.caps(), std::nullopt);
    EXPECT_TRUE(reader.Feed(Bytes(hello).subspan(at)));
    EXPECT_EQ(reader.caps(), 0x5Au);
  }
}

TEST(UsbredirHelloReaderTest, SomethingElseHasNone) {
  UsbredirHelloReader reader;
  EXPECT_TRUE(reader.Feed(Buffer(200, 'x')));
  EXPECT_EQ(reader.caps(), std::nullopt);
  UsbredirHelloReader longer;
  EXPECT_TRUE(longer.Feed(HelloOf(8, kAll)));
  EXPECT_EQ(longer.caps(), std::nullopt);
}

}  // namespace
}  // namespace spicegate::proto
