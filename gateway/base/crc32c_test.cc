// SPDX-License-Identifier: Apache-2.0
//
// CRC-32C against the vectors of RFC 3720 B.4 and the usual check value.
#include "gateway/base/crc32c.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string_view>
#include <vector>

namespace spicegate {
namespace {

std::vector<uint8_t> Bytes(std::string_view text) {
  return std::vector<uint8_t>(text.begin(), text.end());
}

TEST(Crc32cTest, ValuesOfTheStandard) {
  EXPECT_EQ(Crc32c({}), 0u);
  EXPECT_EQ(Crc32c(Bytes("123456789")), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::vector<uint8_t>(32, 0x00)), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::vector<uint8_t>(32, 0xFF)), 0x62A8AB43u);
  std::vector<uint8_t> rising(32);
  std::iota(rising.begin(), rising.end(), uint8_t{0});
  EXPECT_EQ(Crc32c(rising), 0x46DD794Eu);
  std::reverse(rising.begin(), rising.end());
  EXPECT_EQ(Crc32c(rising), 0x113FDB5Cu);
}

TEST(Crc32cTest, PieceByPieceIsTheSame) {
  const std::vector<uint8_t> bytes = Bytes("what a balancer says");
  for (size_t len = 0; len <= bytes.size(); ++len) {
    const std::span<const uint8_t> all(bytes);
    EXPECT_EQ(Crc32c(all.subspan(len), Crc32c(all.first(len))), Crc32c(all));
  }
}

}  // namespace
}  // namespace spicegate
