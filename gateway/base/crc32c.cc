// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/crc32c.h"

#include <array>

namespace spicegate {
namespace {

constexpr uint32_t kReflectedPolynomial = 0x82F63B78;

constexpr std::array<uint32_t, 256> MakeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) {
      rest = rest >> 1 ^ ((rest & 1) != 0 ? kReflectedPolynomial : 0);
    }
    table[byte] = rest;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kTable = MakeTable();

}  // namespace

uint32_t Crc32c(std::span<const uint8_t> bytes, uint32_t before) {
  uint32_t rest = ~before;
  for (const uint8_t byte : bytes) {
    rest = rest >> 8 ^ kTable[(rest ^ byte) & 0xFF];
  }
  return ~rest;
}

}  // namespace spicegate
