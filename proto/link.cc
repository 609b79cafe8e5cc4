// SPDX-License-Identifier: Apache-2.0
#include "proto/link.h"

#include <algorithm>

namespace spicegate::proto {
namespace {

constexpr std::string_view kErrorNames[] = {"ok",
                                            "error",
                                            "invalid_magic",
                                            "invalid_data",
                                            "version_mismatch",
                                            "need_secured",
                                            "need_unsecured",
                                            "permission_denied",
                                            "bad_connection_id",
                                            "channel_not_available"};

// SubjectPublicKeyInfo up to the modulus. The length bytes in it fix an RSA key
// of 1024 bits; the byte before the modulus keeps it positive.
constexpr std::array<uint8_t, 29> kKeyPrefix = {
    0x30, 0x81, 0x9f, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48,
    0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03, 0x81,
    0x8d, 0x00, 0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00};
constexpr std::array<uint8_t, 5> kKeySuffix = {0x02, 0x03, 0x01, 0x00, 0x01};

struct CapsPair {
  CapsView common;
  CapsView channel;
};

// The two word lists that lie at `offset` one behind the other. The rule is the
// same in message and reply: the offset matters only when there are words, and
// then they lie behind the fixed part and within the body.
std::optional<CapsPair> FindCaps(Bytes body, size_t fixed_len,
                                 uint32_t num_common, uint32_t num_channel,
                                 uint32_t offset) {
  if (num_common > kMaxCapsWords || num_channel > kMaxCapsWords) {
    return std::nullopt;
  }
  const size_t common_len = 4 * size_t{num_common};
  const size_t channel_len = 4 * size_t{num_channel};
  if (common_len + channel_len == 0) {
    return CapsPair{};
  }
  if (offset < fixed_len ||
      !RangeFits(offset, common_len + channel_len, body.size())) {
    return std::nullopt;
  }
  const Bytes words = body.subspan(offset);
  return CapsPair{CapsView(words.first(common_len)),
                  CapsView(words.subspan(common_len, channel_len))};
}

void PutHeader(Writer& writer, size_t size) {
  writer.Put(EncodeLinkHeader({.size = static_cast<uint32_t>(size)}));
}

void PutWords(Writer& writer, std::span<const uint32_t> words) {
  for (const uint32_t word : words) {
    writer.U32(word);
  }
}

size_t LengthOrZero(const Writer& writer) {
  return writer.ok() ? writer.length() : 0;
}

}  // namespace

std::string_view LinkErrorName(LinkError error) {
  const size_t index = static_cast<uint32_t>(error);
  return index < std::size(kErrorNames) ? kErrorNames[index] : "unknown";
}

LinkHeader ParseLinkHeader(std::span<const uint8_t, kLinkHeaderLen> in) {
  LinkHeader header;
  std::copy_n(in.begin(), header.magic.size(), header.magic.begin());
  header.major = LoadU32(in.data() + 4);
  header.minor = LoadU32(in.data() + 8);
  header.size = LoadU32(in.data() + 12);
  return header;
}

std::array<uint8_t, kLinkHeaderLen> EncodeLinkHeader(const LinkHeader& header) {
  std::array<uint8_t, kLinkHeaderLen> out;
  std::copy(header.magic.begin(), header.magic.end(), out.begin());
  StoreU32(out.data() + 4, header.major);
  StoreU32(out.data() + 8, header.minor);
  StoreU32(out.data() + 12, header.size);
  return out;
}

HeaderVerdict JudgeLinkHeader(const LinkHeader& header) {
  if (header.magic != kLinkMagic) {
    return HeaderVerdict::kInvalidMagic;
  }
  if (header.major != kLinkMajor) {
    return header.major == 0 ? HeaderVerdict::kCloseSilently
                             : HeaderVerdict::kVersionMismatch;
  }
  if (header.size < kLinkMessFixedLen || header.size > kMaxLinkMessLen) {
    return HeaderVerdict::kInvalidData;
  }
  return HeaderVerdict::kAccept;
}

LinkError ErrorOf(HeaderVerdict verdict) {
  switch (verdict) {
    case HeaderVerdict::kInvalidMagic:
      return LinkError::kInvalidMagic;
    case HeaderVerdict::kVersionMismatch:
      return LinkError::kVersionMismatch;
    case HeaderVerdict::kInvalidData:
      return LinkError::kInvalidData;
    case HeaderVerdict::kAccept:
    case HeaderVerdict::kCloseSilently:
      break;
  }
  return LinkError::kOk;
}

bool MagicPrefixWrong(Bytes in) {
  return in.size() >= kLinkMagic.size() &&
         !std::equal(kLinkMagic.begin(), kLinkMagic.end(), in.begin());
}

bool IsReplyHeaderOk(const LinkHeader& header) {
  return header.magic == kLinkMagic && header.major == kLinkMajor &&
         header.size >= kLinkReplyFixedLen && header.size <= kMaxLinkReplyLen;
}

std::optional<LinkMess> ParseLinkMess(Bytes body) {
  Reader reader(body);
  LinkMess mess;
  mess.connection_id = reader.U32();
  mess.channel_type = reader.U8();
  mess.channel_id = reader.U8();
  const uint32_t num_common = reader.U32();
  const uint32_t num_channel = reader.U32();
  const uint32_t offset = reader.U32();
  if (!reader.ok()) {
    return std::nullopt;
  }
  const std::optional<CapsPair> caps =
      FindCaps(body, kLinkMessFixedLen, num_common, num_channel, offset);
  if (!caps) {
    return std::nullopt;
  }
  mess.common_caps = caps->common;
  mess.channel_caps = caps->channel;
  return mess;
}

size_t EncodeLinkMess(const LinkMessFields& fields, MutableBytes out) {
  const size_t num_words =
      fields.common_caps.size() + fields.channel_caps.size();
  if (num_words > (kMaxLinkMessLen - kLinkMessFixedLen) / 4) {
    return 0;
  }
  Writer writer(out);
  PutHeader(writer, kLinkMessFixedLen + 4 * num_words);
  writer.U32(fields.connection_id);
  writer.U8(static_cast<uint8_t>(fields.channel.type));
  writer.U8(fields.channel.id);
  writer.U32(static_cast<uint32_t>(fields.common_caps.size()));
  writer.U32(static_cast<uint32_t>(fields.channel_caps.size()));
  writer.U32(kLinkMessFixedLen);
  PutWords(writer, fields.common_caps);
  PutWords(writer, fields.channel_caps);
  return LengthOrZero(writer);
}

ParsedLinkReply ParseLinkReply(Bytes body) {
  Reader reader(body);
  LinkReply reply;
  reply.error = static_cast<LinkError>(reader.U32());
  const Bytes key = reader.Take(kPubKeyLen);
  const uint32_t num_common = reader.U32();
  const uint32_t num_channel = reader.U32();
  const uint32_t offset = reader.U32();
  if (!reader.ok()) {
    return {};
  }
  if (reply.error != LinkError::kOk) {
    return {LinkReplyVerdict::kRefused, reply};
  }
  const std::optional<CapsPair> caps =
      FindCaps(body, kLinkReplyFixedLen, num_common, num_channel, offset);
  if (!caps) {
    return {};
  }
  if (!IsLinkKey(key)) {
    return {LinkReplyVerdict::kKeyUnusable, {}};
  }
  reply.pub_key = key;
  reply.common_caps = caps->common;
  reply.channel_caps = caps->channel;
  return {LinkReplyVerdict::kOk, reply};
}

size_t EncodeLinkReply(std::span<const uint8_t, kPubKeyLen> pub_key,
                       const ReplyCaps& caps, MutableBytes out) {
  if (caps.common.size() > kMaxCapsWords ||
      caps.channel.size() > kMaxCapsWords) {
    return 0;
  }
  const size_t num_words = caps.common.size() + caps.channel.size();
  Writer writer(out);
  PutHeader(writer, kLinkReplyFixedLen + 4 * num_words);
  writer.U32(static_cast<uint32_t>(LinkError::kOk));
  writer.Put(pub_key);
  writer.U32(static_cast<uint32_t>(caps.common.size()));
  writer.U32(static_cast<uint32_t>(caps.channel.size()));
  writer.U32(kLinkReplyFixedLen);
  PutWords(writer, caps.common);
  PutWords(writer, caps.channel);
  return LengthOrZero(writer);
}

std::array<uint8_t, kErrorReplyLen> EncodeLinkErrorReply(LinkError error) {
  std::array<uint8_t, kErrorReplyLen> out{};
  Writer writer(out);
  PutHeader(writer, kLinkReplyFixedLen);
  writer.U32(static_cast<uint32_t>(error));
  return out;
}

bool IsLinkKey(Bytes key) {
  return key.size() == kPubKeyLen &&
         std::equal(kKeyPrefix.begin(), kKeyPrefix.end(), key.begin()) &&
         (key[kKeyPrefix.size()] & 0x80) != 0 &&
         std::equal(kKeySuffix.begin(), kKeySuffix.end(),
                    key.end() - kKeySuffix.size());
}

size_t AuthPrefixLen(CapsView client_common_caps) {
  return client_common_caps.Has(kCommonCapAuthSelection) ? kAuthMechanismLen
                                                         : 0;
}

std::array<uint8_t, kAuthMechanismLen> EncodeAuthMechanism(uint32_t mechanism) {
  std::array<uint8_t, kAuthMechanismLen> out;
  StoreU32(out.data(), mechanism);
  return out;
}

uint32_t ParseAuthMechanism(std::span<const uint8_t, kAuthMechanismLen> in) {
  return LoadU32(in.data());
}

std::string_view PasswordOf(Bytes plaintext) {
  const std::string_view text = AsText(plaintext);
  return text.substr(0, text.find('\0'));
}

size_t EncodeTicketPlaintext(std::string_view password,
                             std::span<uint8_t, kMaxTicketPlaintextLen> out) {
  if (password.size() > kMaxClientPasswordLen ||
      password.find('\0') != std::string_view::npos) {
    return 0;
  }
  Writer writer(out);
  writer.Put(AsBytes(password));
  writer.U8(0);
  return LengthOrZero(writer);
}

std::array<uint8_t, kLinkResultLen> EncodeLinkResult(LinkError error) {
  std::array<uint8_t, kLinkResultLen> out;
  StoreU32(out.data(), static_cast<uint32_t>(error));
  return out;
}

LinkError ParseLinkResult(std::span<const uint8_t, kLinkResultLen> in) {
  return static_cast<LinkError>(LoadU32(in.data()));
}

}  // namespace spicegate::proto
