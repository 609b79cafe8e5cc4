// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/ticket_keys.h"

#include <openssl/base64.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace spicegate {
namespace {

using Bytes = std::vector<uint8_t>;

// A line of a file: the name is 16 times `name`, the key 32 times `secret`.
std::string Line(uint8_t name, uint8_t secret) {
  Bytes bytes(48, secret);
  std::fill_n(bytes.begin(), 16, name);
  uint8_t text[65];
  EXPECT_EQ(EVP_EncodeBlock(text, bytes.data(), bytes.size()), 64U);
  return std::string(reinterpret_cast<char*>(text), 64);
}

std::shared_ptr<const TicketKeys> Parse(const std::string& text) {
  auto keys = TicketKeys::Parse(text);
  EXPECT_TRUE(keys.ok()) << keys.status();
  return keys.ok() ? *keys : nullptr;
}

std::string ErrorOf(const std::string& text) {
  const auto keys = TicketKeys::Parse(text);
  return keys.ok() ? "" : std::string(keys.status().message());
}

Bytes Seal(const TicketKeys& keys, const Bytes& plain) {
  Bytes out(plain.size() + TicketKeys::kOverheadLen);
  const auto len = keys.Seal(plain, out);
  EXPECT_EQ(len, out.size());
  return out;
}

std::optional<Bytes> Open(const TicketKeys& keys, const Bytes& sealed) {
  Bytes out(sealed.size());
  const auto len = keys.Open(sealed, out);
  if (!len) {
    return std::nullopt;
  }
  out.resize(*len);
  return out;
}

const Bytes kPlain = {1, 2, 3, 4, 5};

TEST(TicketKeys, OpensWhatItSealed) {
  const auto keys = TicketKeys::Rotate(nullptr);
  EXPECT_EQ(keys->size(), 1U);
  const Bytes one = Seal(*keys, kPlain);
  const Bytes other = Seal(*keys, kPlain);
  EXPECT_NE(one, other) << "the nonce was used twice";
  EXPECT_EQ(Open(*keys, one), kPlain);
  EXPECT_EQ(Open(*keys, other), kPlain);
}

TEST(TicketKeys, RefusesEveryChangedByteAndEveryLength) {
  const auto keys = TicketKeys::Rotate(nullptr);
  const Bytes sealed = Seal(*keys, kPlain);
  for (size_t i = 0; i < sealed.size(); ++i) {
    Bytes forged = sealed;
    forged[i] ^= 0x10;
    EXPECT_EQ(Open(*keys, forged), std::nullopt) << i;
    EXPECT_EQ(Open(*keys, Bytes(sealed.begin(),
                                sealed.begin() + static_cast<ptrdiff_t>(i))),
              std::nullopt)
        << i;
  }
}

TEST(TicketKeys, SaysWhenThereIsNoRoom) {
  const auto keys = TicketKeys::Rotate(nullptr);
  Bytes out(kPlain.size() + TicketKeys::kOverheadLen - 1);
  EXPECT_EQ(keys->Seal(kPlain, out), std::nullopt);
  const Bytes sealed = Seal(*keys, kPlain);
  EXPECT_EQ(keys->Open(sealed, out), std::nullopt);
}

TEST(TicketKeys, AKeyDecryptsForOneMoreRotation) {
  const auto first = TicketKeys::Rotate(nullptr);
  const Bytes sealed = Seal(*first, kPlain);
  const auto second = TicketKeys::Rotate(first.get());
  EXPECT_EQ(second->size(), 2U);
  EXPECT_EQ(Open(*second, sealed), kPlain);
  EXPECT_EQ(Open(*first, Seal(*second, kPlain)), std::nullopt);
  const auto third = TicketKeys::Rotate(second.get());
  EXPECT_EQ(third->size(), 2U);
  EXPECT_EQ(Open(*third, sealed), std::nullopt);
  EXPECT_EQ(Open(*third, Seal(*second, kPlain)), kPlain);
}

TEST(TicketKeys, TheFirstLineOfAFileEncryptsAndAllDecrypt) {
  const auto old = Parse(Line(1, 1) + "\n");
  const auto both =
      Parse("# newest first\n\n" + Line(2, 2) + "\r\n  " + Line(1, 1));
  EXPECT_EQ(both->size(), 2U);
  EXPECT_EQ(Open(*both, Seal(*old, kPlain)), kPlain);
  const Bytes sealed = Seal(*both, kPlain);
  EXPECT_EQ(sealed[0], 2);
  EXPECT_EQ(Open(*old, sealed), std::nullopt);
  EXPECT_EQ(Open(*Parse(Line(2, 2)), sealed), kPlain);
  // Another key of that name does not.
  EXPECT_EQ(Open(*Parse(Line(2, 3)), sealed), std::nullopt);
}

TEST(TicketKeys, SaysWhichLineIsWrongAndNotWhatItHolds) {
  EXPECT_EQ(ErrorOf(""), "expected at least one line with a key, got none");
  EXPECT_EQ(ErrorOf("# nothing\n"),
            "expected at least one line with a key, got none");
  EXPECT_EQ(ErrorOf(Line(1, 1) + "\nc2VjcmV0\n"),
            "line 2: expected 48 bytes in base64");
  EXPECT_EQ(ErrorOf(Line(1, 1).substr(1) + "!"),
            "line 1: expected 48 bytes in base64");
  // 47 bytes and padding have the same length.
  EXPECT_EQ(ErrorOf(Line(1, 1).substr(0, 63) + "="),
            "line 1: expected 48 bytes in base64");
  EXPECT_EQ(ErrorOf(Line(1, 1) + "\n" + Line(2, 1) + "\n" + Line(1, 2)),
            "line 3: expected a key of its own, got one with the name of "
            "another line's");
  std::string many;
  for (uint8_t i = 0; i < 17; ++i) {
    many += Line(i, i) + "\n";
  }
  EXPECT_EQ(ErrorOf(many), "line 17: expected at most 16 keys");
}

}  // namespace
}  // namespace spicegate
