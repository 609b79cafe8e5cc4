// SPDX-License-Identifier: Apache-2.0
#include "gateway/auth/link_key.h"

#include <openssl/bn.h>
#include <openssl/bytestring.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/rsa.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace spicegate {
namespace {

using Bytes = std::vector<uint8_t>;
using Ciphertext = std::array<uint8_t, kEncryptedTicketLen>;

const LinkKey& Key() {
  static const auto key = LinkKey::Generate();
  return *key;
}

Bytes PublicKey(const LinkKey& key = Key()) {
  const auto der = key.public_key_der();
  return Bytes(der.begin(), der.end());
}

// OAEP of exactly these bytes, as a client other than ours may send them.
Ciphertext EncryptRaw(const std::string& plaintext) {
  const Bytes der = PublicKey();
  CBS cbs;
  CBS_init(&cbs, der.data(), der.size());
  const bssl::UniquePtr<EVP_PKEY> pkey(EVP_parse_public_key(&cbs));
  const bssl::UniquePtr<RSA> rsa(EVP_PKEY_get1_RSA(pkey.get()));
  Ciphertext out;
  size_t len = 0;
  EXPECT_TRUE(RSA_encrypt(rsa.get(), &len, out.data(), out.size(),
                          reinterpret_cast<const uint8_t*>(plaintext.data()),
                          plaintext.size(), RSA_PKCS1_OAEP_PADDING));
  EXPECT_EQ(len, out.size());
  return out;
}

std::string Decrypted(const Ciphertext& ciphertext) {
  return std::string(Key().Decrypt(ciphertext).view());
}

TEST(LinkKey, PublicKeyHasTheFormOfSpiceServer) {
  const Bytes prefix = {0x30, 0x81, 0x9f, 0x30, 0x0d, 0x06, 0x09, 0x2a,
                        0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01,
                        0x05, 0x00, 0x03, 0x81, 0x8d, 0x00, 0x30, 0x81,
                        0x89, 0x02, 0x81, 0x81, 0x00};
  const Bytes suffix = {0x02, 0x03, 0x01, 0x00, 0x01};
  for (int i = 0; i < 5; ++i) {
    const auto key = LinkKey::Generate();
    ASSERT_NE(key, nullptr);
    const Bytes der = PublicKey(*key);
    ASSERT_EQ(der.size(), kLinkPublicKeyLen);
    EXPECT_TRUE(std::equal(prefix.begin(), prefix.end(), der.begin()));
    EXPECT_TRUE(std::equal(suffix.rbegin(), suffix.rend(), der.rbegin()));
    EXPECT_NE(der, PublicKey());
  }
}

TEST(LinkKey, DecryptsWhatEncryptTicketMakes) {
  const std::string passwords[] = {"", "a", "secret", std::string(60, 'p'),
                                   std::string(85, 'q')};
  for (const std::string& password : passwords) {
    Ciphertext ciphertext;
    ASSERT_TRUE(EncryptTicket(PublicKey(), password, ciphertext));
    EXPECT_EQ(Decrypted(ciphertext), password);
  }
}

TEST(LinkKey, CutsAtTheFirstNul) {
  EXPECT_EQ(Decrypted(EncryptRaw(std::string("secret\0aaa", 10))), "secret");
  EXPECT_EQ(Decrypted(EncryptRaw("secret")), "secret");
  EXPECT_EQ(Decrypted(EncryptRaw(std::string(86, 'x'))), std::string(86, 'x'));
  EXPECT_EQ(Decrypted(EncryptRaw(std::string("\0secret", 7))), "");
  EXPECT_EQ(Decrypted(EncryptRaw("")), "");
}

TEST(LinkKey, GivesNothingForWhatDoesNotDecrypt) {
  Ciphertext ciphertext = EncryptRaw("secret");
  ciphertext[100] ^= 1;
  EXPECT_EQ(Decrypted(ciphertext), "");
  ciphertext.fill(0);
  EXPECT_EQ(Decrypted(ciphertext), "");
  ciphertext.fill(0xff);  // more than the modulus
  EXPECT_EQ(Decrypted(ciphertext), "");
  const auto other = LinkKey::Generate();
  EXPECT_EQ(other->Decrypt(EncryptRaw("secret")).view(), "");
}

TEST(LinkKey, APlaintextMovesAndLeavesNothing) {
  TicketPlaintext first = Key().Decrypt(EncryptRaw("secret"));
  const TicketPlaintext second = std::move(first);
  EXPECT_EQ(second.view(), "secret");
  EXPECT_EQ(first.view(), "");  // NOLINT: what a move leaves is the point
}

TEST(LinkKey, APlaintextIsWipedWhenItGoes) {
  alignas(TicketPlaintext) std::array<uint8_t, sizeof(TicketPlaintext)> memory;
  auto* const plaintext =
      new (memory.data()) TicketPlaintext(Key().Decrypt(EncryptRaw("secret")));
  ASSERT_EQ(plaintext->view(), "secret");
  plaintext->~TicketPlaintext();
  const std::string secret = "secret";
  EXPECT_EQ(
      std::search(memory.begin(), memory.end(), secret.begin(), secret.end()),
      memory.end());
}

TEST(LinkKey, ManyThreadsDecryptAtOnce) {
  const Ciphertext good = EncryptRaw("secret");
  const Ciphertext bad = {1};
  std::array<int, 4> num_right = {};
  std::vector<std::thread> threads;
  for (int& right : num_right) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        right += Key().Decrypt(good).view() == "secret" ? 1 : 0;
        right += Key().Decrypt(bad).view().empty() ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const int right : num_right) {
    EXPECT_EQ(right, 100);
  }
}

// ---- Keys of servers.

Bytes DerOf(EVP_PKEY* key) {
  bssl::ScopedCBB cbb;
  EXPECT_TRUE(CBB_init(cbb.get(), 512));
  EXPECT_TRUE(EVP_marshal_public_key(cbb.get(), key));
  return Bytes(CBB_data(cbb.get()), CBB_data(cbb.get()) + CBB_len(cbb.get()));
}

Bytes RsaDer(int bits) {
  const bssl::UniquePtr<BIGNUM> exponent(BN_new());
  EXPECT_TRUE(BN_set_word(exponent.get(), RSA_F4));
  const bssl::UniquePtr<RSA> rsa(RSA_new());
  EXPECT_TRUE(RSA_generate_key_ex(rsa.get(), bits, exponent.get(), nullptr));
  const bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  EXPECT_TRUE(EVP_PKEY_set1_RSA(key.get(), rsa.get()));
  return DerOf(key.get());
}

bool Encrypts(const Bytes& der, const std::string& password = "secret") {
  Ciphertext out;
  out.fill(0xa5);
  const Ciphertext untouched = out;
  const bool encrypted = EncryptTicket(der, password, out);
  EXPECT_EQ(encrypted, out != untouched);
  return encrypted;
}

TEST(EncryptTicket, RefusesTheZeroKeyOfSasl) {
  EXPECT_FALSE(Encrypts(Bytes(kLinkPublicKeyLen, 0)));
}

TEST(EncryptTicket, RefusesOtherKeys) {
  EXPECT_FALSE(Encrypts({}));
  EXPECT_FALSE(Encrypts(RsaDer(512)));
  EXPECT_FALSE(Encrypts(RsaDer(2048)));
  const bssl::UniquePtr<EC_KEY> ec(
      EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  ASSERT_TRUE(EC_KEY_generate_key(ec.get()));
  const bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  ASSERT_TRUE(EVP_PKEY_set1_EC_KEY(key.get(), ec.get()));
  EXPECT_FALSE(Encrypts(DerOf(key.get())));
}

TEST(EncryptTicket, RefusesBytesBehindTheKeyAndMissingOnes) {
  Bytes der = PublicKey();
  ASSERT_TRUE(Encrypts(der));
  for (size_t len = 0; len < der.size(); ++len) {
    EXPECT_FALSE(Encrypts(Bytes(der.begin(), der.begin() + len))) << len;
  }
  der.push_back(0);
  EXPECT_FALSE(Encrypts(der));
}

TEST(EncryptTicket, RefusesAnEvenModulusAndExponent) {
  Bytes even = PublicKey();
  even[kLinkPublicKeyLen - 6] &= 0xfe;
  EXPECT_FALSE(Encrypts(even));
  Bytes exponent = PublicKey();
  exponent[kLinkPublicKeyLen - 1] = 0;
  EXPECT_FALSE(Encrypts(exponent));
}

TEST(EncryptTicket, RefusesAPasswordThatDoesNotFit) {
  EXPECT_TRUE(Encrypts(PublicKey(), std::string(85, 'x')));
  EXPECT_FALSE(Encrypts(PublicKey(), std::string(86, 'x')));
  EXPECT_FALSE(Encrypts(PublicKey(), std::string(10'000, 'x')));
  EXPECT_FALSE(Encrypts(PublicKey(), std::string("a\0b", 3)));
}

TEST(EncryptTicket, IsDifferentEachTime) {
  Ciphertext one;
  Ciphertext two;
  ASSERT_TRUE(EncryptTicket(PublicKey(), "", one));
  ASSERT_TRUE(EncryptTicket(PublicKey(), "", two));
  EXPECT_NE(one, two);
}

}  // namespace
}  // namespace spicegate
