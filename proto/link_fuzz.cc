// SPDX-License-Identifier: Apache-2.0
// What either side can send in the link stage: the first byte chooses whether
// the rest is a client's or a server's. Whatever parses is encoded and parsed
// again and has to be the same.

#include <algorithm>
#include <array>
#include <cstdlib>

#include "proto/link.h"

namespace spicegate::proto {
namespace {

void Require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

bool SameWords(CapsView a, CapsView b) {
  return std::ranges::equal(a.bytes(), b.bytes());
}

void CheckMess(Bytes body) {
  const auto mess = ParseLinkMess(body);
  if (!mess) {
    return;
  }
  Require(mess->common_caps.num_words() <= kMaxCapsWords);
  const CapsWords common(mess->common_caps);
  const CapsWords channel(mess->channel_caps);
  std::array<uint8_t, 256> out;
  const size_t len = EncodeLinkMess({.connection_id = mess->connection_id,
                                     .channel = mess->key(),
                                     .common_caps = common.words(),
                                     .channel_caps = channel.words()},
                                    out);
  Require(len != 0);
  const auto again = ParseLinkMess(Bytes(out).first(len).subspan(16));
  Require(again && again->connection_id == mess->connection_id &&
          again->key() == mess->key());
  Require(again->common_caps.num_words() == common.num_words());
  Require(common.num_words() == CapsWords::kMaxWords ||
          SameWords(again->common_caps, mess->common_caps));
}

void CheckReply(Bytes body) {
  const ParsedLinkReply parsed = ParseLinkReply(body);
  if (parsed.verdict == LinkReplyVerdict::kOk) {
    Require(IsLinkKey(parsed.reply.pub_key));
    Require(parsed.reply.error == LinkError::kOk);
    // Reads every word, so that a view out of bounds is found.
    uint32_t all = 0;
    for (const CapsView caps :
         {parsed.reply.common_caps, parsed.reply.channel_caps}) {
      for (size_t i = 0; i < caps.num_words(); ++i) {
        all |= caps.Word(i);
      }
    }
    Require(all == 0 || parsed.reply.common_caps.num_words() +
                                parsed.reply.channel_caps.num_words() !=
                            0);
  } else if (parsed.verdict == LinkReplyVerdict::kRefused) {
    Require(parsed.reply.error != LinkError::kOk);
    Require(!LinkErrorName(parsed.reply.error).empty());
  }
}

void CheckLink(bool from_client, Bytes in) {
  const bool magic_wrong = MagicPrefixWrong(in);
  if (in.size() < kLinkHeaderLen) {
    return;
  }
  const auto start = in.first<kLinkHeaderLen>();
  const LinkHeader header = ParseLinkHeader(start);
  Require(std::ranges::equal(EncodeLinkHeader(header), start));
  const HeaderVerdict verdict = JudgeLinkHeader(header);
  Require(magic_wrong == (verdict == HeaderVerdict::kInvalidMagic));
  const Bytes body = in.subspan(kLinkHeaderLen);
  if (from_client && verdict == HeaderVerdict::kAccept) {
    CheckMess(body.first(std::min<size_t>(header.size, body.size())));
  } else if (!from_client && IsReplyHeaderOk(header)) {
    CheckReply(body.first(std::min<size_t>(header.size, body.size())));
  }
}

}  // namespace
}  // namespace spicegate::proto

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  if (len != 0) {
    spicegate::proto::CheckLink((data[0] & 1) == 0, {data + 1, len - 1});
  }
  return 0;
}
