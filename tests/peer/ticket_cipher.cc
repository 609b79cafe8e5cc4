// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/ticket_cipher.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/mem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace spicegate {
namespace {

void Must(bool ok, const char* what) {
  if (!ok) {
    std::fprintf(stderr, "%s\n", what);
    std::abort();
  }
}

}  // namespace

PeerTicketKey::PeerTicketKey() : rsa_(RSA_new()) {
  bssl::UniquePtr<BIGNUM> exponent(BN_new());
  Must(BN_set_word(exponent.get(), RSA_F4) == 1, "BN_set_word");
  Must(RSA_generate_key_ex(rsa_.get(), 1024, exponent.get(), nullptr) == 1,
       "RSA_generate_key_ex");
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  Must(EVP_PKEY_set1_RSA(key.get(), rsa_.get()) == 1, "EVP_PKEY_set1_RSA");
  uint8_t* der = nullptr;
  const int len = i2d_PUBKEY(key.get(), &der);
  Must(len == static_cast<int>(public_der_.size()), "i2d_PUBKEY");
  std::copy_n(der, public_der_.size(), public_der_.begin());
  OPENSSL_free(der);
}

std::optional<std::vector<uint8_t>> PeerTicketKey::Decrypt(
    std::span<const uint8_t> ticket) const {
  std::vector<uint8_t> plaintext(RSA_size(rsa_.get()));
  size_t len = 0;
  if (RSA_decrypt(rsa_.get(), &len, plaintext.data(), plaintext.size(),
                  ticket.data(), ticket.size(), RSA_PKCS1_OAEP_PADDING) != 1) {
    ERR_clear_error();
    return std::nullopt;
  }
  plaintext.resize(len);
  return plaintext;
}

std::optional<PeerTicket> EncryptTicket(std::span<const uint8_t> public_der,
                                        std::span<const uint8_t> plaintext) {
  const uint8_t* in = public_der.data();
  bssl::UniquePtr<EVP_PKEY> key(
      d2i_PUBKEY(nullptr, &in, static_cast<long>(public_der.size())));
  RSA* rsa = key == nullptr ? nullptr : EVP_PKEY_get0_RSA(key.get());
  PeerTicket ticket;
  size_t len = 0;
  if (rsa == nullptr || RSA_size(rsa) != ticket.size() ||
      RSA_encrypt(rsa, &len, ticket.data(), ticket.size(), plaintext.data(),
                  plaintext.size(), RSA_PKCS1_OAEP_PADDING) != 1) {
    ERR_clear_error();
    return std::nullopt;
  }
  return ticket;
}

std::vector<uint8_t> PeerTicketPlaintext(std::string_view password) {
  std::vector<uint8_t> plaintext(password.begin(), password.end());
  plaintext.push_back(0);
  return plaintext;
}

}  // namespace spicegate
