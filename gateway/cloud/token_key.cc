// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud/token_key.h"

#include <sys/random.h>

#include <bit>
#include <cstddef>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

class SipState {
 public:
  explicit SipState(const std::array<uint64_t, 2>& key)
      : v_{key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d ^ 0xee,
           key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573} {}

  void Take(uint64_t word) {
    v_[3] ^= word;
    Rounds(2);
    v_[0] ^= word;
  }

  TokenKey Finish() {
    TokenKey key;
    v_[2] ^= 0xee;
    Rounds(4);
    key.words[0] = Sum();
    v_[1] ^= 0xdd;
    Rounds(4);
    key.words[1] = Sum();
    return key;
  }

 private:
  uint64_t Sum() const { return v_[0] ^ v_[1] ^ v_[2] ^ v_[3]; }

  void Rounds(int count) {
    for (int i = 0; i < count; ++i) {
      v_[0] += v_[1];
      v_[1] = std::rotl(v_[1], 13) ^ v_[0];
      v_[0] = std::rotl(v_[0], 32);
      v_[2] += v_[3];
      v_[3] = std::rotl(v_[3], 16) ^ v_[2];
      v_[0] += v_[3];
      v_[3] = std::rotl(v_[3], 21) ^ v_[0];
      v_[2] += v_[1];
      v_[1] = std::rotl(v_[1], 17) ^ v_[2];
      v_[2] = std::rotl(v_[2], 32);
    }
  }

  std::array<uint64_t, 4> v_;
};

// At most eight bytes, the first one lowest.
uint64_t LittleEndian(std::string_view bytes) {
  uint64_t word = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    word |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return word;
}

}  // namespace

TokenKeys::TokenKeys() {
  // Up to 256 bytes come whole and without an error (getrandom(2)).
  CHECK(getrandom(key_.data(), sizeof(key_), 0) ==
        static_cast<ssize_t>(sizeof(key_)));
}

TokenKey TokenKeys::Of(std::string_view text) const {
  SipState state(key_);
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    state.Take(LittleEndian(text.substr(at, 8)));
  }
  state.Take(LittleEndian(text.substr(at)) | uint64_t{text.size()} << 56);
  return state.Finish();
}

}  // namespace spicegate
