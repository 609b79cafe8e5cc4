// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_PROTO_CAPS_H_
#define SPICEGATE_PROTO_CAPS_H_

// Capabilities: bit k of a list of 32-bit words is bit (k mod 32) of word
// (k div 32). A link message and a link reply carry two lists each, the common
// one and the channel's own. README.md, "Capabilities".

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "proto/channel.h"
#include "proto/wire.h"

namespace spicegate::proto {

// Bits. Unscoped enums on purpose: a bit is a number to the functions below.

enum CommonCap : uint32_t {
  kCommonCapAuthSelection = 0,
  kCommonCapAuthSpice = 1,
  kCommonCapAuthSasl = 2,
  kCommonCapMiniHeader = 3,
};

enum MainCap : uint32_t {
  kMainCapSemiSeamlessMigrate = 0,
  kMainCapNameAndUuid = 1,
  kMainCapAgentConnectedTokens = 2,
  kMainCapSeamlessMigrate = 3,
};

enum DisplayCap : uint32_t {
  kDisplayCapSizedStream = 0,
  kDisplayCapMonitorsConfig = 1,
  kDisplayCapComposite = 2,
  kDisplayCapA8Surface = 3,
  kDisplayCapStreamReport = 4,
  kDisplayCapLz4Compression = 5,
  kDisplayCapPrefCompression = 6,
  kDisplayCapGlScanout = 7,
  kDisplayCapMultiCodec = 8,
  kDisplayCapCodecMjpeg = 9,
  kDisplayCapCodecVp8 = 10,
  kDisplayCapCodecH264 = 11,
  kDisplayCapPrefVideoCodecType = 12,
  kDisplayCapCodecVp9 = 13,
  kDisplayCapCodecH265 = 14,
  kDisplayCapGlScanout2 = 15,
};

enum InputsCap : uint32_t {
  kInputsCapKeyScancode = 0,
};

enum PlaybackCap : uint32_t {
  kPlaybackCapCelt051 = 0,
  kPlaybackCapVolume = 1,
  kPlaybackCapLatency = 2,
  kPlaybackCapOpus = 3,
};

enum RecordCap : uint32_t {
  kRecordCapCelt051 = 0,
  kRecordCapVolume = 1,
  kRecordCapOpus = 2,
};

// usbredir, port and webdav, which share spice-server's "spicevmc".
enum SpicevmcCap : uint32_t {
  kSpicevmcCapDataCompressLz4 = 0,
};

// The u32 a client sends ahead of its ticket when it set AUTH_SELECTION. The
// numbers are those of the capability bits.
inline constexpr uint32_t kAuthMechanismSpice = kCommonCapAuthSpice;
inline constexpr uint32_t kAuthMechanismSasl = kCommonCapAuthSasl;

// A list of capability words as it lies on the wire, unaligned. A view: valid
// as long as the bytes it was parsed from.
class CapsView {
 public:
  CapsView() = default;
  // `words` is cut down to a multiple of four bytes.
  explicit CapsView(Bytes words) : words_(words.first(words.size() & ~3ull)) {}

  size_t num_words() const { return words_.size() / 4; }
  // Word `index` in host order; zero behind the end, as an absent word means.
  uint32_t Word(size_t index) const;
  bool Has(uint32_t bit) const;
  Bytes bytes() const { return words_; }

 private:
  Bytes words_;
};

// A list of capability words of our own, to keep or to edit before it is sent
// on. Holds the first kMaxWords words of what it is made from; the highest bit
// anyone defines today is in the first, so what is cut names nothing we know.
class CapsWords {
 public:
  static constexpr size_t kMaxWords = 16;

  CapsWords() = default;
  explicit CapsWords(CapsView view);
  explicit CapsWords(std::span<const uint32_t> words);

  bool Has(uint32_t bit) const;
  // Takes a bit away; the number of words stays.
  void Clear(uint32_t bit);
  // Adds a bit, and words as needed. Bits from 32 * kMaxWords up are ignored.
  void Set(uint32_t bit);

  size_t num_words() const { return num_words_; }
  std::span<const uint32_t> words() const {
    return {words_.data(), num_words_};
  }

 private:
  std::array<uint32_t, kMaxWords> words_{};
  size_t num_words_ = 0;
};

// What a server says in its link reply. Static storage.
struct ReplyCaps {
  std::span<const uint32_t> common;
  std::span<const uint32_t> channel;
};

// The words spice-server 0.15.1 answers for a channel of `type`: what a gateway
// says before it has asked the server behind. Common is 0x0B always: the ticket
// is offered, SASL is not. Unknown types get no channel words.
ReplyCaps ReplyCapsFor(ChannelType type);

// What the gateway says in its own link reply: the same, without
// kSpicevmcCapDataCompressLz4, so that clients send devices' data as it is. A
// server that unpacks it queues without bound what comes out, and a guard
// cannot look into it. What servers send is not affected: they go by the
// client's list.
ReplyCaps OfferedCapsFor(ChannelType type);

}  // namespace spicegate::proto

#endif  // SPICEGATE_PROTO_CAPS_H_
