// SPDX-License-Identifier: Apache-2.0
#include "proto/caps.h"

#include <gtest/gtest.h>

#include <vector>

#include "proto/test_bytes.h"

namespace spicegate::proto {
namespace {

uint32_t OnlyWord(std::span<const uint32_t> words) {
  EXPECT_EQ(words.size(), 1u);
  return words.empty() ? 0 : words[0];
}

TEST(CapsViewTest, ReadsBitsAcrossWords) {
  const auto in = FromHex("0d000000 00000080");
  const CapsView caps{Bytes(in)};
  EXPECT_EQ(caps.num_words(), 2u);
  EXPECT_TRUE(caps.Has(kCommonCapAuthSelection));
  EXPECT_FALSE(caps.Has(kCommonCapAuthSpice));
  EXPECT_TRUE(caps.Has(kCommonCapAuthSasl));
  EXPECT_TRUE(caps.Has(63));
  EXPECT_FALSE(caps.Has(64));
  EXPECT_FALSE(caps.Has(0xffffffffu));
  EXPECT_EQ(caps.Word(2), 0u);
}

TEST(CapsViewTest, DropsABrokenLastWord) {
  const auto in = FromHex("0d000000 ffffff");
  EXPECT_EQ(CapsView{Bytes(in)}.num_words(), 1u);
  EXPECT_EQ(CapsView().num_words(), 0u);
}

TEST(CapsWordsTest, KeepsWordsAndMasksABit) {
  const auto in = FromHex("0d000000 01000000");
  CapsWords words{CapsView(in)};
  words.Clear(kCommonCapAuthSasl);
  ASSERT_EQ(words.num_words(), 2u);
  EXPECT_EQ(words.words()[0], 0x9u);
  EXPECT_EQ(words.words()[1], 0x1u);
  EXPECT_TRUE(words.Has(32));
  EXPECT_FALSE(words.Has(kCommonCapAuthSasl));
}

TEST(CapsWordsTest, ClearNeverGrowsAndSetDoes) {
  CapsWords words;
  words.Clear(5);
  EXPECT_EQ(words.num_words(), 0u);
  words.Set(40);
  EXPECT_EQ(words.num_words(), 2u);
  EXPECT_TRUE(words.Has(40));
  words.Set(32 * CapsWords::kMaxWords);
  words.Clear(0xffffffffu);
  EXPECT_EQ(words.num_words(), 2u);
  EXPECT_FALSE(words.Has(32 * CapsWords::kMaxWords));
}

TEST(CapsWordsTest, CutsALongList) {
  const std::vector<uint8_t> wire(4 * 1024, 0xff);
  EXPECT_EQ(CapsWords{CapsView(wire)}.num_words(), CapsWords::kMaxWords);
  const std::vector<uint32_t> host(100, 7);
  EXPECT_EQ(CapsWords(host).num_words(), CapsWords::kMaxWords);
  EXPECT_EQ(CapsWords(host).words().back(), 7u);
}

TEST(ReplyCapsTest, SaysWhatSpiceServerSays) {
  EXPECT_EQ(OnlyWord(ReplyCapsFor(ChannelType::kMain).common), 0x0Bu);
  EXPECT_EQ(OnlyWord(ReplyCapsFor(ChannelType::kMain).channel), 0x0Fu);
  EXPECT_EQ(OnlyWord(ReplyCapsFor(ChannelType::kDisplay).channel), 0x1052u);
  EXPECT_EQ(OnlyWord(ReplyCapsFor(ChannelType::kInputs).channel), 0x1u);
  EXPECT_EQ(OnlyWord(ReplyCapsFor(ChannelType::kPlayback).channel), 0x0Au);
  EXPECT_EQ(OnlyWord(ReplyCapsFor(ChannelType::kRecord).channel), 0x06u);
  EXPECT_EQ(OnlyWord(ReplyCapsFor(ChannelType::kUsbredir).channel), 0x1u);
  EXPECT_EQ(OnlyWord(ReplyCapsFor(ChannelType::kPort).channel), 0x1u);
  EXPECT_EQ(OnlyWord(ReplyCapsFor(ChannelType::kWebdav).channel), 0x1u);
}

// The one word that the gateway says in another way than spice-server.
TEST(OfferedCapsTest, DevicesDataIsNotCompressed) {
  for (const ChannelType type :
       {ChannelType::kUsbredir, ChannelType::kPort, ChannelType::kWebdav}) {
    const ReplyCaps caps = OfferedCapsFor(type);
    EXPECT_EQ(OnlyWord(caps.common), 0x0Bu);
    EXPECT_EQ(OnlyWord(caps.channel), 0u);
  }
}

TEST(OfferedCapsTest, OthersAreSpiceServers) {
  for (int type = 0; type < 9; ++type) {
    const ReplyCaps ours = OfferedCapsFor(static_cast<ChannelType>(type));
    const ReplyCaps theirs = ReplyCapsFor(static_cast<ChannelType>(type));
    EXPECT_EQ(ours.common.data(), theirs.common.data()) << type;
    EXPECT_EQ(ours.channel.data(), theirs.channel.data()) << type;
    EXPECT_EQ(ours.channel.size(), theirs.channel.size()) << type;
  }
}

TEST(ReplyCapsTest, SomeTypesHaveNoWords) {
  for (const int type : {0, 4, 7, 8, 12, 255}) {
    const ReplyCaps caps = ReplyCapsFor(static_cast<ChannelType>(type));
    EXPECT_EQ(OnlyWord(caps.common), 0x0Bu) << type;
    EXPECT_TRUE(caps.channel.empty()) << type;
  }
}

}  // namespace
}  // namespace spicegate::proto
