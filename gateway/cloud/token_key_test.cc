// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/token_key.h"

#include <gtest/gtest.h>

#include <string>

namespace spicegate {
namespace {

std::string Hex(const TokenKey& key) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint64_t word : key.words) {
    for (int shift = 0; shift < 64; shift += 8) {
      text.push_back(kDigits[(word >> (shift + 4)) & 15]);
      text.push_back(kDigits[(word >> shift) & 15]);
    }
  }
  return text;
}

// The vectors that its authors published: the key is 00 01 .. 0f, the text
// 00 01 .. of each length.
TEST(TokenKey, IsSipHash) {
  const TokenKeys keys({0x0706050403020100, 0x0f0e0d0c0b0a0908});
  std::string text;
  for (const char* expected :
       {"a3817f04ba25a8e66df67214c7550293", "da87c1d86b99af44347659119b22fc45",
        "8177228da4a45dc7fca38bdef60affe4",
        "9c70b60c5267a94e5f33b6b02985ed51"}) {
    EXPECT_EQ(Hex(keys.Of(text)), expected) << text.size();
    text.push_back(static_cast<char>(text.size()));
  }
}

TEST(TokenKey, DiffersWithEveryByteAndLength) {
  const TokenKeys keys;
  EXPECT_EQ(keys.Of("0123456789abcdef"), keys.Of("0123456789abcdef"));
  EXPECT_NE(keys.Of("0123456789abcdef"), keys.Of("0123456789abcdeF"));
  EXPECT_NE(keys.Of("0123456789abcdef"), keys.Of("1123456789abcdef"));
  EXPECT_NE(keys.Of("01234567"), keys.Of(std::string("01234567\0", 9)));
}

TEST(TokenKey, IsOfThisProcess) {
  EXPECT_NE(TokenKeys().Of("token"), TokenKeys().Of("token"));
}

}  // namespace
}  // namespace spicegate
