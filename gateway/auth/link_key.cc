// SPDX-License-Identifier: Apache-2.0
#include "gateway/auth/link_key.h"

#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/is_boringssl.h>
#include <openssl/mem.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <cstring>

#ifndef OPENSSL_IS_BORINGSSL
#error "the headers of OpenSSL were found in place of BoringSSL's"
#endif

namespace spicegate {
namespace {

constexpr int kLinkKeyBits = 1024;

// SubjectPublicKeyInfo of `rsa` into `out`; false when it has another length.
bool EncodePublicKey(RSA* rsa, std::span<uint8_t, kLinkPublicKeyLen> out) {
  const bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  bssl::ScopedCBB cbb;
  size_t len = 0;
  return key != nullptr && EVP_PKEY_set1_RSA(key.get(), rsa) &&
         CBB_init_fixed(cbb.get(), out.data(), out.size()) &&
         EVP_marshal_public_key(cbb.get(), key.get()) &&
         CBB_finish(cbb.get(), nullptr, &len) && len == out.size();
}

// The key of a link reply, or null.
bssl::UniquePtr<RSA> ParseLinkKey(std::span<const uint8_t> der) {
  CBS cbs;
  CBS_init(&cbs, der.data(), der.size());
  const bssl::UniquePtr<EVP_PKEY> key(EVP_parse_public_key(&cbs));
  if (key == nullptr || CBS_len(&cbs) != 0 ||
      EVP_PKEY_id(key.get()) != EVP_PKEY_RSA) {
    return nullptr;
  }
  bssl::UniquePtr<RSA> rsa(EVP_PKEY_get1_RSA(key.get()));
  if (rsa == nullptr || RSA_bits(rsa.get()) != kLinkKeyBits) {
    return nullptr;
  }
  return rsa;
}

}  // namespace

// ---- TicketPlaintext.

TicketPlaintext::TicketPlaintext(TicketPlaintext&& other) noexcept
    : bytes_(other.bytes_), len_(other.len_) {
  other.Wipe();
}

TicketPlaintext::~TicketPlaintext() { Wipe(); }

void TicketPlaintext::Wipe() {
  OPENSSL_cleanse(bytes_.data(), bytes_.size());
  len_ = 0;
}

// ---- LinkKey.

std::shared_ptr<const LinkKey> LinkKey::Generate() {
  const bssl::UniquePtr<BIGNUM> exponent(BN_new());
  bssl::UniquePtr<RSA> rsa(RSA_new());
  const bool made =
      exponent != nullptr && rsa != nullptr &&
      BN_set_word(exponent.get(), RSA_F4) &&
      RSA_generate_key_ex(rsa.get(), kLinkKeyBits, exponent.get(), nullptr);
  if (!made) {
    ERR_clear_error();
    return nullptr;
  }
  std::shared_ptr<LinkKey> key(new LinkKey(rsa.release()));
  if (!EncodePublicKey(key->key_, key->public_key_der_)) {
    ERR_clear_error();
    return nullptr;
  }
  return key;
}

LinkKey::~LinkKey() { RSA_free(key_); }

TicketPlaintext LinkKey::Decrypt(
    std::span<const uint8_t, kEncryptedTicketLen> ciphertext) const {
  TicketPlaintext plaintext;
  size_t len = 0;
  auto* const out = reinterpret_cast<uint8_t*>(plaintext.bytes_.data());
  if (!RSA_decrypt(key_, &len, out, plaintext.bytes_.size(), ciphertext.data(),
                   ciphertext.size(), RSA_PKCS1_OAEP_PADDING)) {
    ERR_clear_error();
    plaintext.Wipe();
    return plaintext;
  }
  const auto begin = plaintext.bytes_.begin();
  const auto end = begin + static_cast<ptrdiff_t>(len);
  plaintext.len_ = static_cast<size_t>(std::find(begin, end, '\0') - begin);
  return plaintext;
}

// ---- A server's key.

bool EncryptTicket(std::span<const uint8_t> public_key_der,
                   std::string_view password,
                   std::span<uint8_t, kEncryptedTicketLen> out) {
  std::array<uint8_t, kMaxTicketPlaintextLen> plaintext{};
  if (password.size() >= plaintext.size() ||
      password.find('\0') != std::string_view::npos) {
    return false;
  }
  const bssl::UniquePtr<RSA> rsa = ParseLinkKey(public_key_der);
  std::copy(password.begin(), password.end(), plaintext.begin());
  std::array<uint8_t, kEncryptedTicketLen> ciphertext;
  size_t len = 0;
  const bool encrypted =
      rsa != nullptr &&
      RSA_encrypt(rsa.get(), &len, ciphertext.data(), ciphertext.size(),
                  plaintext.data(), password.size() + 1,
                  RSA_PKCS1_OAEP_PADDING) &&
      len == ciphertext.size();
  OPENSSL_cleanse(plaintext.data(), plaintext.size());
  ERR_clear_error();
  if (encrypted) {
    std::copy(ciphertext.begin(), ciphertext.end(), out.begin());
  }
  return encrypted;
}

}  // namespace spicegate
