// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_PROTO_TEST_BYTES_H_
#define SPICEGATE_PROTO_TEST_BYTES_H_

// Bytes for tests, written the way the format documents write them.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "proto/wire.h"

namespace spicegate::proto {

// "5245 4451 02": pairs of hex digits, blanks and newlines anywhere. The
// result is an exact heap block, so that ASan sees the first byte behind it.
inline std::vector<uint8_t> FromHex(std::string_view hex) {
  std::string digits;
  for (const char c : hex) {
    if (c != ' ' && c != '\n') {
      digits += c;
    }
  }
  std::vector<uint8_t> bytes;
  bytes.reserve(digits.size() / 2);
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes.push_back(
        static_cast<uint8_t>(std::stoul(digits.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

// For EXPECT_EQ, which prints a string better than a span.
inline std::string ToHex(Bytes bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const uint8_t byte : bytes) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

// A copy of the first `len` bytes in a block of exactly that size.
inline std::vector<uint8_t> Prefix(Bytes bytes, size_t len) {
  return {bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(len)};
}

inline std::vector<uint8_t> Join(std::initializer_list<Bytes> parts) {
  std::vector<uint8_t> whole;
  for (const Bytes part : parts) {
    whole.insert(whole.end(), part.begin(), part.end());
  }
  return whole;
}

}  // namespace spicegate::proto

#endif  // SPICEGATE_PROTO_TEST_BYTES_H_
