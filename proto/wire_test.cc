// SPDX-License-Identifier: Apache-2.0
#include "proto/wire.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "proto/test_bytes.h"

namespace spicegate::proto {
namespace {

TEST(WireTest, LoadsLittleEndianAtAnyAlignment) {
  const auto in = FromHex("ff 0123456789abcdef");
  EXPECT_EQ(LoadU16(in.data() + 1), 0x2301);
  EXPECT_EQ(LoadU32(in.data() + 1), 0x67452301u);
  EXPECT_EQ(LoadU64(in.data() + 1), 0xefcdab8967452301u);
}

TEST(WireTest, StoresWhatItLoads) {
  std::array<uint8_t, 9> out{};
  StoreU64(out.data() + 1, 0xefcdab8967452301u);
  EXPECT_EQ(ToHex(out), "000123456789abcdef");
  StoreU16(out.data(), 0xfffe);
  EXPECT_EQ(ToHex(out), "feff23456789abcdef");
}

TEST(WireTest, RangeFitsDoesNotWrap) {
  EXPECT_TRUE(RangeFits(0, 0, 0));
  EXPECT_TRUE(RangeFits(4, 6, 10));
  EXPECT_FALSE(RangeFits(5, 6, 10));
  EXPECT_FALSE(RangeFits(11, 0, 10));
  EXPECT_FALSE(RangeFits(2, std::numeric_limits<uint64_t>::max(), 10));
  EXPECT_FALSE(RangeFits(0xffffffffu, 1, 10));
}

TEST(ReaderTest, ReadsInOrder) {
  const auto in = FromHex("01 0200 03000000 0400000000000000 aabb cc");
  Reader reader(in);
  EXPECT_EQ(reader.U8(), 1);
  EXPECT_EQ(reader.U16(), 2);
  EXPECT_EQ(reader.U32(), 3u);
  EXPECT_EQ(reader.U64(), 4u);
  EXPECT_EQ(ToHex(reader.Take(2)), "aabb");
  EXPECT_EQ(reader.offset(), 17u);
  EXPECT_EQ(reader.remaining(), 1u);
  EXPECT_TRUE(reader.ok());
}

TEST(ReaderTest, FailsForGood) {
  const auto in = FromHex("010203");
  Reader reader(in);
  EXPECT_EQ(reader.U32(), 0u);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.U8(), 0);
  EXPECT_TRUE(reader.Take(1).empty());
  EXPECT_TRUE(reader.Take(0).empty());
  EXPECT_EQ(reader.offset(), 0u);
}

TEST(ReaderTest, HugeTakeFails) {
  const auto in = FromHex("010203");
  Reader reader(in);
  EXPECT_EQ(reader.U8(), 1);
  EXPECT_TRUE(reader.Take(std::numeric_limits<size_t>::max()).empty());
  EXPECT_FALSE(reader.ok());
}

TEST(ReaderTest, EmptyInputIsFineUntilRead) {
  Reader reader{Bytes()};
  EXPECT_TRUE(reader.Take(0).empty());
  EXPECT_TRUE(reader.ok());
  reader.U8();
  EXPECT_FALSE(reader.ok());
}

TEST(WriterTest, WritesInOrder) {
  std::array<uint8_t, 17> out{};
  Writer writer(out);
  writer.U8(1);
  writer.U16(2);
  writer.U32(3);
  writer.U64(4);
  writer.Put(AsBytes("hi"));
  EXPECT_TRUE(writer.ok());
  EXPECT_EQ(writer.length(), 17u);
  EXPECT_EQ(ToHex(out),
            "01020003000000040000000000000068"
            "69");
}

TEST(WriterTest, RefusesWhatDoesNotFitAndStaysRefusing) {
  std::array<uint8_t, 3> out{};
  Writer writer(out);
  writer.U16(0x0102);
  writer.U16(0x0304);
  writer.U8(5);
  EXPECT_FALSE(writer.ok());
  EXPECT_EQ(writer.length(), 2u);
  EXPECT_EQ(ToHex(out), "020100");
}

}  // namespace
}  // namespace spicegate::proto
