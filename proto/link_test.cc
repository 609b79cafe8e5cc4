// SPDX-License-Identifier: Apache-2.0
#include "proto/link.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proto/test_bytes.h"

namespace spicegate::proto {
namespace {

// The main link of Debian 12's spice-gtk.
constexpr char kSampleHeader[] = "52454451 02000000 02000000 1a000000";
constexpr char kSampleMess[] =
    "00000000 01 00 01000000 01000000 12000000  0d000000 0f000000";

std::span<const uint8_t, kLinkHeaderLen> AsHeader(
    const std::vector<uint8_t>& in) {
  return std::span<const uint8_t, kLinkHeaderLen>(in.data(), kLinkHeaderLen);
}

HeaderVerdict Judge(std::string_view hex) {
  return JudgeLinkHeader(ParseLinkHeader(AsHeader(FromHex(hex))));
}

HeaderVerdict JudgeSize(uint32_t size) {
  return JudgeLinkHeader({.size = size});
}

// A link message body with the given counts and offset, and `len` bytes long.
std::vector<uint8_t> Mess(uint32_t num_common, uint32_t num_channel,
                          uint32_t offset, size_t len) {
  std::vector<uint8_t> body(len, 0xee);
  Writer writer(body);
  writer.U32(0x01020304);
  writer.U8(2);
  writer.U8(3);
  writer.U32(num_common);
  writer.U32(num_channel);
  writer.U32(offset);
  return body;
}

std::vector<uint8_t> Key() {
  auto key =
      FromHex("30819f300d06092a864886f70d010101050003818d0030818902818100");
  key.resize(kPubKeyLen - 5, 0xc5);
  return Join({key, FromHex("0203010001")});
}

std::vector<uint8_t> Reply(const ReplyCaps& caps) {
  std::vector<uint8_t> out(kMaxLinkReplyLen);
  const auto key = Key();
  out.resize(EncodeLinkReply(
      std::span<const uint8_t, kPubKeyLen>(key.data(), kPubKeyLen), caps, out));
  out.erase(out.begin(), out.begin() + kLinkHeaderLen);
  return out;
}

TEST(LinkHeaderTest, ParsesAndEncodesTheSample) {
  const auto in = FromHex(kSampleHeader);
  const LinkHeader header = ParseLinkHeader(AsHeader(in));
  EXPECT_EQ(header.magic, kLinkMagic);
  EXPECT_EQ(header.major, 2u);
  EXPECT_EQ(header.minor, 2u);
  EXPECT_EQ(header.size, 26u);
  EXPECT_EQ(ToHex(EncodeLinkHeader(header)), ToHex(in));
}

TEST(LinkHeaderTest, JudgesInTheServersOrder) {
  EXPECT_EQ(Judge(kSampleHeader), HeaderVerdict::kAccept);
  EXPECT_EQ(Judge("52454450 00000000 02000000 00000000"),
            HeaderVerdict::kInvalidMagic);
  EXPECT_EQ(Judge("52454451 00000000 02000000 ffffffff"),
            HeaderVerdict::kCloseSilently);
  EXPECT_EQ(Judge("52454451 03000000 02000000 ffffffff"),
            HeaderVerdict::kVersionMismatch);
  EXPECT_EQ(Judge("52454451 ffffffff 02000000 1a000000"),
            HeaderVerdict::kVersionMismatch);
  EXPECT_EQ(Judge("52454451 02000000 00000000 1a000000"),
            HeaderVerdict::kAccept);
  EXPECT_EQ(Judge("52454451 02000000 63000000 1a000000"),
            HeaderVerdict::kAccept);
}

TEST(LinkHeaderTest, BoundsTheSize) {
  for (const uint32_t size : {18u, 19u, 4096u}) {
    EXPECT_EQ(JudgeSize(size), HeaderVerdict::kAccept) << size;
  }
  for (const uint32_t size :
       {0u, 17u, 4097u, 0x7fffffffu, 0xaaaaaaaau, 0xffffffffu}) {
    EXPECT_EQ(JudgeSize(size), HeaderVerdict::kInvalidData) << size;
  }
}

TEST(LinkHeaderTest, VerdictsHaveTheirErrors) {
  EXPECT_EQ(ErrorOf(HeaderVerdict::kInvalidMagic), LinkError::kInvalidMagic);
  EXPECT_EQ(ErrorOf(HeaderVerdict::kVersionMismatch),
            LinkError::kVersionMismatch);
  EXPECT_EQ(ErrorOf(HeaderVerdict::kInvalidData), LinkError::kInvalidData);
  EXPECT_EQ(ErrorOf(HeaderVerdict::kAccept), LinkError::kOk);
  EXPECT_EQ(ErrorOf(HeaderVerdict::kCloseSilently), LinkError::kOk);
}

TEST(LinkHeaderTest, WrongMagicIsKnownAtFourBytes) {
  EXPECT_FALSE(MagicPrefixWrong({}));
  EXPECT_FALSE(MagicPrefixWrong(AsBytes("GET")));
  EXPECT_TRUE(MagicPrefixWrong(AsBytes("GET ")));
  EXPECT_TRUE(MagicPrefixWrong(AsBytes("REDq")));
  EXPECT_FALSE(MagicPrefixWrong(AsBytes("REDQ")));
  EXPECT_FALSE(MagicPrefixWrong(FromHex(kSampleHeader)));
}

TEST(LinkHeaderTest, ReplyHeaderIsStricterInSize) {
  EXPECT_TRUE(IsReplyHeaderOk({.size = 178}));
  EXPECT_TRUE(IsReplyHeaderOk({.minor = 99, .size = kMaxLinkReplyLen}));
  EXPECT_FALSE(IsReplyHeaderOk({.size = 177}));
  EXPECT_FALSE(IsReplyHeaderOk({.size = kMaxLinkReplyLen + 1}));
  EXPECT_FALSE(IsReplyHeaderOk({.size = 0xffffffff}));
  EXPECT_FALSE(IsReplyHeaderOk({.major = 1, .size = 186}));
  EXPECT_FALSE(IsReplyHeaderOk({.magic = {'R', 'E', 'D', 'q'}, .size = 186}));
}

TEST(LinkMessTest, ParsesTheSample) {
  const auto body = FromHex(kSampleMess);
  const auto mess = ParseLinkMess(body);
  ASSERT_TRUE(mess.has_value());
  EXPECT_EQ(mess->connection_id, 0u);
  EXPECT_EQ(mess->key(), (ChannelKey{ChannelType::kMain, 0}));
  ASSERT_EQ(mess->common_caps.num_words(), 1u);
  EXPECT_EQ(mess->common_caps.Word(0), 0x0Du);
  ASSERT_EQ(mess->channel_caps.num_words(), 1u);
  EXPECT_EQ(mess->channel_caps.Word(0), 0x0Fu);
}

TEST(LinkMessTest, EncodesTheSample) {
  const uint32_t common[] = {0x0D};
  const uint32_t channel[] = {0x0F};
  std::array<uint8_t, 64> out{};
  const size_t len = EncodeLinkMess({.channel = {ChannelType::kMain, 0},
                                     .common_caps = common,
                                     .channel_caps = channel},
                                    out);
  EXPECT_EQ(ToHex(Bytes(out).first(len)),
            ToHex(Join({FromHex(kSampleHeader), FromHex(kSampleMess)})));
}

TEST(LinkMessTest, EncoderAsksForRoom) {
  const std::vector<uint32_t> words(3, 1);
  std::array<uint8_t, 16 + 18 + 12> out{};
  const LinkMessFields fields = {.common_caps = words};
  EXPECT_EQ(EncodeLinkMess(fields, out), out.size());
  EXPECT_EQ(EncodeLinkMess(fields, MutableBytes(out).first(out.size() - 1)),
            0u);
  EXPECT_EQ(EncodeLinkMess(fields, {}), 0u);
}

TEST(LinkMessTest, EncoderStaysWithinWhatAServerTakes) {
  std::vector<uint8_t> out(8192);
  const std::vector<uint32_t> most(1019, 1);
  const size_t len = EncodeLinkMess({.common_caps = most}, out);
  ASSERT_EQ(len, 16u + 18 + 4 * 1019);
  EXPECT_EQ(JudgeLinkHeader(ParseLinkHeader(AsHeader(out))),
            HeaderVerdict::kAccept);
  const std::vector<uint32_t> one(1, 1);
  EXPECT_EQ(EncodeLinkMess({.common_caps = most, .channel_caps = one}, out),
            0u);
}

TEST(LinkMessTest, RefusesEveryShortBody) {
  const auto body = FromHex(kSampleMess);
  for (size_t len = 0; len < body.size(); ++len) {
    EXPECT_FALSE(ParseLinkMess(Prefix(body, len)).has_value()) << len;
  }
}

TEST(LinkMessTest, OffsetMayBeOddButNotOutside) {
  const auto body = Mess(1, 0, 21, 25);
  const auto odd = ParseLinkMess(body);
  ASSERT_TRUE(odd.has_value());
  EXPECT_EQ(odd->common_caps.Word(0), 0xeeeeeeeeu);
  EXPECT_TRUE(ParseLinkMess(Mess(1, 0, 18, 22)).has_value());
  EXPECT_FALSE(ParseLinkMess(Mess(1, 0, 17, 30)).has_value());
  EXPECT_FALSE(ParseLinkMess(Mess(1, 0, 22, 25)).has_value());
  EXPECT_FALSE(ParseLinkMess(Mess(1, 0, 0xffffffff, 25)).has_value());
  EXPECT_FALSE(ParseLinkMess(Mess(1, 0, 0xfffffffc, 25)).has_value());
}

TEST(LinkMessTest, WithoutWordsTheOffsetIsFree) {
  for (const uint32_t offset : {0u, 17u, 18u, 5000u, 0xffffffffu}) {
    const auto mess = ParseLinkMess(Mess(0, 0, offset, 18));
    ASSERT_TRUE(mess.has_value()) << offset;
    EXPECT_EQ(mess->common_caps.num_words(), 0u);
  }
}

TEST(LinkMessTest, BoundsTheCounts) {
  EXPECT_TRUE(ParseLinkMess(Mess(1019, 0, 18, 4096)).has_value());
  EXPECT_FALSE(ParseLinkMess(Mess(1024, 0, 18, 4096)).has_value());
  EXPECT_FALSE(ParseLinkMess(Mess(1025, 0, 18, 8192)).has_value());
  EXPECT_FALSE(ParseLinkMess(Mess(0, 1025, 18, 8192)).has_value());
  EXPECT_TRUE(ParseLinkMess(Mess(1024, 1024, 18, 18 + 8192)).has_value());
  // The sum of the two wraps to zero in 32 bits, and so does 4 * 2^30.
  EXPECT_FALSE(ParseLinkMess(Mess(0x80000000, 0x80000000, 18, 64)).has_value());
  EXPECT_FALSE(ParseLinkMess(Mess(0x40000000, 0, 18, 64)).has_value());
}

TEST(LinkReplyTest, SuccessHasTheMeasuredLength) {
  const auto main = Reply(ReplyCapsFor(ChannelType::kMain));
  EXPECT_EQ(main.size(), 186u);
  EXPECT_EQ(Reply(ReplyCapsFor(ChannelType::kCursor)).size(), 182u);
  const ParsedLinkReply parsed = ParseLinkReply(main);
  ASSERT_EQ(parsed.verdict, LinkReplyVerdict::kOk);
  EXPECT_EQ(ToHex(parsed.reply.pub_key), ToHex(Key()));
  EXPECT_EQ(parsed.reply.common_caps.Word(0), 0x0Bu);
  EXPECT_EQ(parsed.reply.channel_caps.Word(0), 0x0Fu);
}

TEST(LinkReplyTest, EncoderAsksForRoom) {
  const auto key = Key();
  const std::span<const uint8_t, kPubKeyLen> key_span(key.data(), kPubKeyLen);
  std::vector<uint8_t> out(16 + 186);
  const ReplyCaps caps = ReplyCapsFor(ChannelType::kMain);
  EXPECT_EQ(EncodeLinkReply(key_span, caps, out), 202u);
  EXPECT_EQ(EncodeLinkReply(key_span, caps, MutableBytes(out).first(201)), 0u);
  const std::vector<uint32_t> words(1025, 0);
  std::vector<uint8_t> big(8192);
  EXPECT_EQ(EncodeLinkReply(key_span, {words, {}}, big), 0u);
}

TEST(LinkReplyTest, RefusesEveryShortBody) {
  const auto body = Reply(ReplyCapsFor(ChannelType::kMain));
  for (size_t len = 0; len < body.size(); ++len) {
    EXPECT_EQ(ParseLinkReply(Prefix(body, len)).verdict,
              LinkReplyVerdict::kMalformed)
        << len;
  }
}

TEST(LinkReplyTest, RefusesCapsOutside) {
  for (const uint32_t offset : {0u, 177u, 183u, 0xfffffff8u, 0xffffffffu}) {
    auto body = Reply(ReplyCapsFor(ChannelType::kMain));
    StoreU32(body.data() + 174, offset);
    EXPECT_EQ(ParseLinkReply(body).verdict, LinkReplyVerdict::kMalformed)
        << offset;
  }
  for (const uint32_t count : {2u, 1025u, 0x40000000u, 0xffffffffu}) {
    auto body = Reply(ReplyCapsFor(ChannelType::kMain));
    StoreU32(body.data() + 166, count);
    EXPECT_EQ(ParseLinkReply(body).verdict, LinkReplyVerdict::kMalformed)
        << count;
  }
}

TEST(LinkReplyTest, RefusesAKeyOfAnotherForm) {
  for (const size_t at : {4u, 8u, 32u, 33u, 161u, 165u}) {
    auto body = Reply(ReplyCapsFor(ChannelType::kMain));
    body[at] ^= 0x80;
    EXPECT_EQ(ParseLinkReply(body).verdict, LinkReplyVerdict::kKeyUnusable)
        << at;
  }
}

TEST(LinkReplyTest, RefusesTheZeroKeyOfASaslServer) {
  auto body = Reply(ReplyCapsFor(ChannelType::kMain));
  std::fill_n(body.begin() + 4, kPubKeyLen, 0);
  EXPECT_EQ(ParseLinkReply(body).verdict, LinkReplyVerdict::kKeyUnusable);
}

TEST(LinkReplyTest, ErrorReplyIsTheMeasuredOne) {
  const auto reply = EncodeLinkErrorReply(LinkError::kNeedSecured);
  EXPECT_EQ(ToHex(reply),
            "5245445102000000"
            "02000000b2000000"
            "05000000" +
                std::string(2 * 174, '0'));
  const ParsedLinkReply parsed =
      ParseLinkReply(Bytes(reply).subspan(kLinkHeaderLen));
  EXPECT_EQ(parsed.verdict, LinkReplyVerdict::kRefused);
  EXPECT_EQ(parsed.reply.error, LinkError::kNeedSecured);
}

TEST(LinkReplyTest, AnErrorMakesTheRestIrrelevant) {
  auto body = Reply(ReplyCapsFor(ChannelType::kMain));
  StoreU32(body.data(), 77);
  StoreU32(body.data() + 166, 0xffffffff);
  const ParsedLinkReply parsed = ParseLinkReply(body);
  EXPECT_EQ(parsed.verdict, LinkReplyVerdict::kRefused);
  EXPECT_EQ(LinkErrorName(parsed.reply.error), "unknown");
  EXPECT_EQ(parsed.reply.common_caps.num_words(), 0u);
}

TEST(LinkKeyTest, LengthIsPartOfTheForm) {
  const auto key = Key();
  EXPECT_TRUE(IsLinkKey(key));
  EXPECT_FALSE(IsLinkKey(Prefix(key, kPubKeyLen - 1)));
  EXPECT_FALSE(IsLinkKey(Join({key, FromHex("00")})));
  EXPECT_FALSE(IsLinkKey({}));
}

TEST(AuthTest, LegacyClientsSendNoMechanism) {
  EXPECT_EQ(AuthPrefixLen(CapsView(FromHex("0d000000"))), 4u);
  EXPECT_EQ(AuthPrefixLen(CapsView(FromHex("08000000"))), 0u);
  EXPECT_EQ(AuthPrefixLen(CapsView()), 0u);
}

TEST(AuthTest, MechanismRoundTrip) {
  const auto out = EncodeAuthMechanism(kAuthMechanismSpice);
  EXPECT_EQ(ToHex(out), "01000000");
  EXPECT_EQ(ParseAuthMechanism(out), kAuthMechanismSpice);
}

TEST(TicketTest, PasswordEndsAtTheFirstNul) {
  EXPECT_EQ(PasswordOf(AsBytes("secret")), "secret");
  EXPECT_EQ(PasswordOf(AsBytes({"secret\0aaa", 10})), "secret");
  EXPECT_EQ(PasswordOf(AsBytes({"\0aaa", 4})), "");
  EXPECT_EQ(PasswordOf({}), "");
}

TEST(TicketTest, PlaintextHasItsNul) {
  std::array<uint8_t, kMaxTicketPlaintextLen> out;
  out.fill(0xff);
  ASSERT_EQ(EncodeTicketPlaintext("secret", out), 7u);
  EXPECT_EQ(ToHex(Bytes(out).first(8)), "73656372657400ff");
  ASSERT_EQ(EncodeTicketPlaintext("", out), 1u);
  EXPECT_EQ(out[0], 0);
  EXPECT_EQ(EncodeTicketPlaintext(std::string(60, 'a'), out), 61u);
  EXPECT_EQ(EncodeTicketPlaintext(std::string(61, 'a'), out), 0u);
  EXPECT_EQ(EncodeTicketPlaintext({"a\0b", 3}, out), 0u);
}

TEST(LinkResultTest, RoundTrip) {
  EXPECT_EQ(ToHex(EncodeLinkResult(LinkError::kOk)), "00000000");
  EXPECT_EQ(ToHex(EncodeLinkResult(LinkError::kPermissionDenied)), "07000000");
  for (uint32_t code = 0; code < 12; ++code) {
    const auto error = static_cast<LinkError>(code);
    EXPECT_EQ(ParseLinkResult(EncodeLinkResult(error)), error);
  }
  // What a client reads when a link error comes in the ticket's place.
  EXPECT_NE(ParseLinkResult(std::span<const uint8_t, 4>(kLinkMagic)),
            LinkError::kOk);
}

TEST(LinkErrorTest, Names) {
  EXPECT_EQ(LinkErrorName(LinkError::kOk), "ok");
  EXPECT_EQ(LinkErrorName(LinkError::kNeedSecured), "need_secured");
  EXPECT_EQ(LinkErrorName(LinkError::kPermissionDenied), "permission_denied");
  EXPECT_EQ(LinkErrorName(LinkError::kChannelNotAvailable),
            "channel_not_available");
  EXPECT_EQ(LinkErrorName(static_cast<LinkError>(10)), "unknown");
  EXPECT_EQ(LinkErrorName(static_cast<LinkError>(0xffffffff)), "unknown");
}

}  // namespace
}  // namespace spicegate::proto
