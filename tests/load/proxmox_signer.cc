// SPDX-License-Identifier: Apache-2.0
#include "tests/load/proxmox_signer.h"

#include <openssl/base64.h>
#include <openssl/digest.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <array>
#include <cstdio>
#include <ctime>

namespace spicegate {
namespace {

// Tickets are good for 40 s.
constexpr int64_t kSameForSeconds = 8;

const uint8_t* BytesOf(const std::string& text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

std::string Sha1Hex(const std::string& text) {
  std::array<uint8_t, SHA_DIGEST_LENGTH> digest;
  SHA1(BytesOf(text), text.size(), digest.data());
  std::string hex;
  for (const uint8_t byte : digest) {
    std::array<char, 3> two;
    std::snprintf(two.data(), two.size(), "%02x", byte);
    hex += two.data();
  }
  return hex;
}

}  // namespace

// base64 without padding of HMAC-SHA256 over nothing.
ProxmoxSigner::ProxmoxSigner(const std::string& key) {
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned digest_len = 0;
  HMAC(EVP_sha256(), key.data(), key.size(), BytesOf(""), 0, digest.data(),
       &digest_len);
  std::array<uint8_t, 2 * EVP_MAX_MD_SIZE> encoded;
  const size_t len = EVP_EncodeBlock(encoded.data(), digest.data(), digest_len);
  secret_.assign(encoded.begin(), encoded.begin() + len);
  secret_.erase(secret_.find_last_not_of('=') + 1);
}

std::string ProxmoxSigner::Target(int vmid, uint16_t port) const {
  const int64_t now_s = std::time(nullptr);
  std::array<char, 128> plain;
  std::snprintf(plain.data(), plain.size(),
                "pvespiceproxy:%08llx:%d:localhost:%u",
                static_cast<unsigned long long>(  // of 32 bits until 2106
                    now_s - now_s % kSameForSeconds),
                vmid, unsigned{port});
  const std::string text = plain.data();
  return text + "::" + Sha1Hex(text + secret_) + ":" + std::to_string(port);
}

}  // namespace spicegate
