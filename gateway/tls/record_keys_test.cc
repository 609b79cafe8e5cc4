// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/record_keys.h"

#include <gtest/gtest.h>
#include <linux/tls.h>
#include <openssl/aead.h>
#include <openssl/ssl.h>

#include <cstring>
#include <string>
#include <vector>

#include "gateway/tls/tls_stream_test_contexts.h"
#include "gateway/tls/tls_stream_test_peer.h"

namespace spicegate {
namespace {

// ---- The layout.

TEST(KernelTlsKey, LaysOutWhatTheKernelTakes) {
  std::vector<uint8_t> key(16);
  std::vector<uint8_t> nonce(12);
  for (size_t i = 0; i < key.size(); ++i) {
    key[i] = static_cast<uint8_t>(0x40 + i);
  }
  for (size_t i = 0; i < nonce.size(); ++i) {
    nonce[i] = static_cast<uint8_t>(0x80 + i);
  }
  KernelTlsKey out;
  ASSERT_TRUE(out.Set(TlsVersion::kTls12, TlsSuite::kAes128Gcm, key, nonce,
                      0x0102030405060708));
  tls12_crypto_info_aes_gcm_128 info;
  ASSERT_EQ(out.view().size(), sizeof(info));
  std::memcpy(&info, out.view().data(), sizeof(info));
  EXPECT_EQ(info.info.version, 0x0303);
  EXPECT_EQ(info.info.cipher_type, 51);
  EXPECT_EQ(std::memcmp(info.salt, nonce.data(), 4), 0);
  EXPECT_EQ(std::memcmp(info.iv, "\1\2\3\4\5\6\7\10", 8), 0);
  EXPECT_EQ(std::memcmp(info.rec_seq, "\1\2\3\4\5\6\7\10", 8), 0);
  EXPECT_EQ(std::memcmp(info.key, key.data(), 16), 0);

  ASSERT_TRUE(out.Set(TlsVersion::kTls13, TlsSuite::kAes128Gcm, key, nonce, 1));
  std::memcpy(&info, out.view().data(), sizeof(info));
  EXPECT_EQ(info.info.version, 0x0304);
  EXPECT_EQ(std::memcmp(info.iv, nonce.data() + 4, 8), 0);
}

TEST(KernelTlsKey, RefusesWhatTheKernelCannotHave) {
  const std::vector<uint8_t> bytes(32);
  const std::span<const uint8_t> all(bytes);
  KernelTlsKey out;
  EXPECT_FALSE(out.Set(TlsVersion::kTls13, TlsSuite::kOther, all.first(16),
                       all.first(12), 0));
  EXPECT_FALSE(out.Set(TlsVersion::kTls13, TlsSuite::kAes256Gcm, all.first(16),
                       all.first(12), 0));
  EXPECT_FALSE(
      out.Set(TlsVersion::kTls13, TlsSuite::kAes256Gcm, all, all.first(8), 0));
  EXPECT_TRUE(out.view().empty());
}

// ---- The keys themselves: a record sealed with them is one the peer opens.

struct Keys {
  TlsVersion version = TlsVersion::kTls13;
  const EVP_AEAD* aead = nullptr;
  std::vector<uint8_t> key;
  std::vector<uint8_t> salt;
  std::vector<uint8_t> iv;
  std::vector<uint8_t> sequence;
};

template <typename Info>
Keys Unpack(const KernelTlsKey& packed, const EVP_AEAD* aead) {
  Info info;
  EXPECT_EQ(packed.view().size(), sizeof(info));
  std::memcpy(&info, packed.view().data(), sizeof(info));
  Keys keys;
  keys.version = info.info.version == TLS_1_3_VERSION ? TlsVersion::kTls13
                                                      : TlsVersion::kTls12;
  keys.aead = aead;
  keys.key.assign(std::begin(info.key), std::end(info.key));
  keys.salt.assign(info.salt, info.salt + sizeof(info.salt));
  keys.iv.assign(std::begin(info.iv), std::end(info.iv));
  keys.sequence.assign(std::begin(info.rec_seq), std::end(info.rec_seq));
  return keys;
}

Keys UnpackFor(const KernelTlsKey& packed, TlsSuite suite) {
  switch (suite) {
    case TlsSuite::kAes128Gcm:
      return Unpack<tls12_crypto_info_aes_gcm_128>(packed,
                                                   EVP_aead_aes_128_gcm());
    case TlsSuite::kAes256Gcm:
      return Unpack<tls12_crypto_info_aes_gcm_256>(packed,
                                                   EVP_aead_aes_256_gcm());
    default:
      return Unpack<tls12_crypto_info_chacha20_poly1305>(
          packed, EVP_aead_chacha20_poly1305());
  }
}

// An application data record, made as the kernel would (RFC 8446, 5.2; RFC
// 5288, 3; RFC 7905, 2).
std::vector<uint8_t> Seal(const Keys& keys, const std::string& text) {
  const bool tls13 = keys.version == TlsVersion::kTls13;
  const bool explicit_nonce =
      !tls13 && keys.aead != EVP_aead_chacha20_poly1305();
  std::vector<uint8_t> inner(text.begin(), text.end());
  if (tls13) {
    inner.push_back(23);
  }
  std::vector<uint8_t> nonce = keys.salt;
  nonce.insert(nonce.end(), keys.iv.begin(), keys.iv.end());
  if (!explicit_nonce) {
    for (size_t i = 0; i < keys.sequence.size(); ++i) {
      nonce[4 + i] ^= keys.sequence[i];
    }
  }
  const size_t body_len = inner.size() + 16 + (explicit_nonce ? 8 : 0);
  std::vector<uint8_t> record = {23, 3, 3, static_cast<uint8_t>(body_len >> 8),
                                 static_cast<uint8_t>(body_len)};
  std::vector<uint8_t> ad = record;
  if (!tls13) {
    ad = keys.sequence;
    ad.insert(ad.end(), {23, 3, 3, static_cast<uint8_t>(inner.size() >> 8),
                         static_cast<uint8_t>(inner.size())});
  }
  if (explicit_nonce) {
    record.insert(record.end(), keys.iv.begin(), keys.iv.end());
  }
  std::vector<uint8_t> sealed(inner.size() + 16);
  size_t sealed_len = 0;
  bssl::ScopedEVP_AEAD_CTX aead;
  EXPECT_TRUE(EVP_AEAD_CTX_init(aead.get(), keys.aead, keys.key.data(),
                                keys.key.size(), 16, nullptr));
  EXPECT_TRUE(EVP_AEAD_CTX_seal(
      aead.get(), sealed.data(), &sealed_len, sealed.size(), nonce.data(),
      nonce.size(), inner.data(), inner.size(), ad.data(), ad.size()));
  record.insert(record.end(), sealed.begin(), sealed.end());
  return record;
}

// `from` sends by the keys that the kernel would have, `to` reads with
// BoringSSL.
void ExpectItsRecordIsRead(TlsStream* from, MemoryPipe* pipe, TlsStream* to) {
  KernelTlsKey packed;
  ASSERT_TRUE(ExportKernelTlsKey(TlsStreamTestPeer::Ssl(from),
                                 TlsDirection::kSend, &packed));
  const auto record =
      Seal(UnpackFor(packed, from->suite()), "sent by the kernel");
  pipe->bytes.insert(pipe->bytes.end(), record.begin(), record.end());
  EXPECT_EQ(ReadAvailable(to), BytesOf("sent by the kernel"));
  // And the reader's own key is the same one.
  KernelTlsKey peers;
  ASSERT_TRUE(ExportKernelTlsKey(TlsStreamTestPeer::Ssl(to),
                                 TlsDirection::kReceive, &peers));
  const Keys sent = UnpackFor(packed, from->suite());
  const Keys received = UnpackFor(peers, to->suite());
  EXPECT_EQ(sent.key, received.key);
  EXPECT_EQ(sent.salt, received.salt);
}

class ExportedKeys
    : public ::testing::TestWithParam<std::pair<uint16_t, const char*>> {};

TEST_P(ExportedKeys, SealWhatThePeerOpens) {
  const auto [version, suites] = GetParam();
  const auto client = ClientUpTo(version);
  ASSERT_TRUE(SSL_CTX_set_strict_cipher_list(client->ssl_context(), suites));
  TlsPair pair(client, ServerContext());
  ASSERT_TRUE(pair.RunHandshakes());
  ASSERT_EQ(pair.server_result, 0);
  // Not the first record of either side.
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(pair.server->Write(BytesOf("data")), 4);
    ASSERT_EQ(pair.client->Write(BytesOf("data")), 4);
    ASSERT_EQ(ReadAvailable(pair.client.get()), BytesOf("data"));
    ASSERT_EQ(ReadAvailable(pair.server.get()), BytesOf("data"));
  }
  ExpectItsRecordIsRead(pair.server.get(), pair.to_client.get(),
                        pair.client.get());
  ExpectItsRecordIsRead(pair.client.get(), pair.to_server.get(),
                        pair.server.get());
}

INSTANTIATE_TEST_SUITE_P(
    Suites, ExportedKeys,
    ::testing::Values(
        std::pair{uint16_t{TLS1_2_VERSION}, "ECDHE-ECDSA-AES128-GCM-SHA256"},
        std::pair{uint16_t{TLS1_2_VERSION}, "ECDHE-ECDSA-AES256-GCM-SHA384"},
        std::pair{uint16_t{TLS1_2_VERSION}, "ECDHE-ECDSA-CHACHA20-POLY1305"},
        std::pair{uint16_t{TLS1_3_VERSION}, "ECDHE-ECDSA-AES128-GCM-SHA256"}));

}  // namespace
}  // namespace spicegate
