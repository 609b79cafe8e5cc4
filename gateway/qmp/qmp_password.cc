// SPDX-License-Identifier: Apache-2.0
#include "gateway/qmp/qmp_password.h"

#include <string.h>
#include <sys/random.h>

#include <array>
#include <cstdint>
#include <string_view>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr std::string_view kAlphabet =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

}  // namespace

QmpPassword::~QmpPassword() { explicit_bzero(text_.data(), text_.size()); }

QmpPassword QmpPassword::Random() {
  QmpPassword password;
  password.text_.reserve(kQmpPasswordLen);
  while (password.text_.size() < kQmpPasswordLen) {
    std::array<uint8_t, 2 * kQmpPasswordLen> random;
    // Up to 256 bytes come whole and without an error (getrandom(2)).
    CHECK(getrandom(random.data(), random.size(), 0) ==
          static_cast<ssize_t>(random.size()));
    for (const uint8_t byte : random) {
      // Six bits of it; the two values above the alphabet are thrown away, so
      // that every character is equally likely.
      const size_t index = byte & 63;
      if (index < kAlphabet.size() && password.text_.size() < kQmpPasswordLen) {
        password.text_.push_back(kAlphabet[index]);
      }
    }
    explicit_bzero(random.data(), random.size());
  }
  return password;
}

}  // namespace spicegate
