// SPDX-License-Identifier: Apache-2.0
#include "proto/caps.h"

#include <algorithm>

namespace spicegate::proto {
namespace {

constexpr uint32_t Bit(uint32_t bit) { return 1u << bit; }

constexpr uint32_t kCommonWord[] = {Bit(kCommonCapAuthSelection) |
                                    Bit(kCommonCapAuthSpice) |
                                    Bit(kCommonCapMiniHeader)};
constexpr uint32_t kMainWord[] = {
    Bit(kMainCapSemiSeamlessMigrate) | Bit(kMainCapNameAndUuid) |
    Bit(kMainCapAgentConnectedTokens) | Bit(kMainCapSeamlessMigrate)};
constexpr uint32_t kDisplayWord[] = {
    Bit(kDisplayCapMonitorsConfig) | Bit(kDisplayCapStreamReport) |
    Bit(kDisplayCapPrefCompression) | Bit(kDisplayCapPrefVideoCodecType)};
constexpr uint32_t kInputsWord[] = {Bit(kInputsCapKeyScancode)};
constexpr uint32_t kPlaybackWord[] = {Bit(kPlaybackCapVolume) |
                                      Bit(kPlaybackCapOpus)};
constexpr uint32_t kRecordWord[] = {Bit(kRecordCapVolume) |
                                    Bit(kRecordCapOpus)};
constexpr uint32_t kSpicevmcWord[] = {Bit(kSpicevmcCapDataCompressLz4)};

std::span<const uint32_t> ChannelWords(ChannelType type) {
  switch (type) {
    case ChannelType::kMain:
      return kMainWord;
    case ChannelType::kDisplay:
      return kDisplayWord;
    case ChannelType::kInputs:
      return kInputsWord;
    case ChannelType::kPlayback:
      return kPlaybackWord;
    case ChannelType::kRecord:
      return kRecordWord;
    case ChannelType::kUsbredir:
    case ChannelType::kPort:
    case ChannelType::kWebdav:
      return kSpicevmcWord;
    case ChannelType::kCursor:
    case ChannelType::kTunnel:
    case ChannelType::kSmartcard:
      return {};
  }
  return {};
}

}  // namespace

uint32_t CapsView::Word(size_t index) const {
  return index < num_words() ? LoadU32(words_.data() + 4 * index) : 0;
}

bool CapsView::Has(uint32_t bit) const {
  return (Word(bit / 32) >> (bit % 32) & 1) != 0;
}

CapsWords::CapsWords(CapsView view)
    : num_words_(std::min(view.num_words(), kMaxWords)) {
  for (size_t i = 0; i < num_words_; ++i) {
    words_[i] = view.Word(i);
  }
}

CapsWords::CapsWords(std::span<const uint32_t> words)
    : num_words_(std::min(words.size(), kMaxWords)) {
  std::copy_n(words.begin(), num_words_, words_.begin());
}

bool CapsWords::Has(uint32_t bit) const {
  return bit / 32 < num_words_ && (words_[bit / 32] >> (bit % 32) & 1) != 0;
}

void CapsWords::Clear(uint32_t bit) {
  if (bit / 32 < num_words_) {
    words_[bit / 32] &= ~Bit(bit % 32);
  }
}

void CapsWords::Set(uint32_t bit) {
  if (bit / 32 >= kMaxWords) {
    return;
  }
  words_[bit / 32] |= Bit(bit % 32);
  num_words_ = std::max<size_t>(num_words_, bit / 32 + 1);
}

ReplyCaps ReplyCapsFor(ChannelType type) {
  return {kCommonWord, ChannelWords(type)};
}

ReplyCaps OfferedCapsFor(ChannelType type) {
  static constexpr uint32_t kNone[] = {0};
  const ReplyCaps caps = ReplyCapsFor(type);
  const bool compresses = caps.channel.data() == kSpicevmcWord;
  return {caps.common, compresses ? std::span(kNone) : caps.channel};
}

}  // namespace spicegate::proto
