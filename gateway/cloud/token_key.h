// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_CLOUD_TOKEN_KEY_H_
#define SPICEGATE_GATEWAY_CLOUD_TOKEN_KEY_H_

#include <array>
#include <compare>
#include <cstdint>
#include <string_view>

namespace spicegate {

// Stands for a token or a secret in tables of this process: equal for equal
// texts, and nothing that leads back to the text.
struct TokenKey {
  std::array<uint64_t, 2> words{};

  friend auto operator<=>(const TokenKey&, const TokenKey&) = default;
};

// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012), keyed
// with random bytes of this process: who does not know them can neither make
// two texts of one key nor try out texts against a key.
class TokenKeys {
 public:
  // A key from the kernel's generator.
  TokenKeys();
  explicit TokenKeys(const std::array<uint64_t, 2>& key) : key_(key) {}

  TokenKey Of(std::string_view text) const;

 private:
  std::array<uint64_t, 2> key_{};
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_TOKEN_KEY_H_
