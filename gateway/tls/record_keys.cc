// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/record_keys.h"

#include <linux/tls.h>
#include <openssl/digest.h>
#include <openssl/hkdf.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

constexpr size_t kNonceLen = 12;
constexpr size_t kMaxKeyLen = 32;
constexpr size_t kSha384Len = 48;

// Bytes of a secret, wiped when they go.
template <size_t kLen>
struct Secret {
  std::array<uint8_t, kLen> bytes{};

  Secret() = default;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { OPENSSL_cleanse(bytes.data(), bytes.size()); }

  std::span<uint8_t> first(size_t n) { return std::span(bytes).first(n); }
};

// 0 for a suite that the kernel does not know.
size_t KeyLenOf(TlsSuite suite) {
  switch (suite) {
    case TlsSuite::kAes128Gcm:
      return 16;
    case TlsSuite::kAes256Gcm:
    case TlsSuite::kChaCha20Poly1305:
      return 32;
    case TlsSuite::kOther:
      break;
  }
  return 0;
}

std::array<uint8_t, 8> BigEndian(uint64_t value) {
  std::array<uint8_t, 8> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<uint8_t>(value >> (8 * (bytes.size() - 1 - i)));
  }
  return bytes;
}

uint16_t KernelVersionOf(TlsVersion version) {
  return version == TlsVersion::kTls13 ? TLS_1_3_VERSION : TLS_1_2_VERSION;
}

// AES-GCM: four bytes of the nonce are the salt. The other eight are derived
// with the key in TLS 1.3, and the sequence number in TLS 1.2.
template <typename Info>
void FillGcm(uint16_t cipher, TlsVersion version, std::span<const uint8_t> key,
             std::span<const uint8_t> nonce,
             const std::array<uint8_t, 8>& sequence, Info* info) {
  info->info.version = KernelVersionOf(version);
  info->info.cipher_type = cipher;
  std::memcpy(info->key, key.data(), sizeof(info->key));
  std::memcpy(info->salt, nonce.data(), sizeof(info->salt));
  std::memcpy(info->iv,
              version == TlsVersion::kTls13 ? nonce.data() + sizeof(info->salt)
                                            : sequence.data(),
              sizeof(info->iv));
  std::memcpy(info->rec_seq, sequence.data(), sizeof(info->rec_seq));
}

void FillChaCha(TlsVersion version, std::span<const uint8_t> key,
                std::span<const uint8_t> nonce,
                const std::array<uint8_t, 8>& sequence,
                tls12_crypto_info_chacha20_poly1305* info) {
  info->info.version = KernelVersionOf(version);
  info->info.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
  std::memcpy(info->key, key.data(), sizeof(info->key));
  std::memcpy(info->iv, nonce.data(), sizeof(info->iv));
  std::memcpy(info->rec_seq, sequence.data(), sizeof(info->rec_seq));
}

// HKDF-Expand-Label without a context (RFC 8446, 7.1).
bool ExpandLabel(std::span<const uint8_t> secret, std::string_view label,
                 std::span<uint8_t> out) {
  const EVP_MD* const hash =
      secret.size() == kSha384Len ? EVP_sha384() : EVP_sha256();
  constexpr std::string_view kPrefix = "tls13 ";
  std::array<uint8_t, 32> info{};
  size_t len = 0;
  info[len++] = static_cast<uint8_t>(out.size() >> 8);
  info[len++] = static_cast<uint8_t>(out.size());
  info[len++] = static_cast<uint8_t>(kPrefix.size() + label.size());
  for (const std::string_view part : {kPrefix, label}) {
    std::copy(part.begin(), part.end(), info.begin() + len);
    len += part.size();
  }
  info[len++] = 0;
  return HKDF_expand(out.data(), out.size(), hash, secret.data(), secret.size(),
                     info.data(), len) == 1;
}

bool DeriveTls13(const SSL* ssl, TlsDirection direction, std::span<uint8_t> key,
                 std::span<uint8_t> nonce) {
  bssl::Span<const uint8_t> read;
  bssl::Span<const uint8_t> write;
  if (!bssl::SSL_get_traffic_secrets(ssl, &read, &write)) {
    return false;
  }
  const auto& chosen = direction == TlsDirection::kSend ? write : read;
  const std::span<const uint8_t> secret(chosen.data(), chosen.size());
  return ExpandLabel(secret, "key", key) && ExpandLabel(secret, "iv", nonce);
}

// The key block has the keys of client and server, then their fixed nonces
// (RFC 5246, 6.3).
bool CutKeyBlock(const SSL* ssl, TlsDirection direction, size_t nonce_len,
                 std::span<uint8_t> key, std::span<uint8_t> nonce) {
  Secret<2 * (kMaxKeyLen + kNonceLen)> block;
  const size_t len = 2 * (key.size() + nonce_len);
  if (SSL_get_key_block_len(ssl) != len ||
      SSL_generate_key_block(ssl, block.bytes.data(), len) != 1) {
    return false;
  }
  const bool servers =
      (SSL_is_server(ssl) != 0) == (direction == TlsDirection::kSend);
  const uint8_t* const keys = block.bytes.data();
  const uint8_t* const nonces = keys + 2 * key.size();
  std::copy_n(keys + (servers ? key.size() : 0), key.size(), key.begin());
  std::copy_n(nonces + (servers ? nonce_len : 0), nonce_len, nonce.begin());
  return true;
}

}  // namespace

KernelTlsKey::~KernelTlsKey() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

bool KernelTlsKey::Set(TlsVersion version, TlsSuite suite,
                       std::span<const uint8_t> key,
                       std::span<const uint8_t> nonce, uint64_t sequence) {
  if (key.empty() || key.size() != KeyLenOf(suite) ||
      nonce.size() != kNonceLen) {
    return false;
  }
  const auto number = BigEndian(sequence);
  const auto place = [this](auto* info) {
    static_assert(sizeof(*info) <= kMaxLen);
    len_ = sizeof(*info);
    std::memcpy(bytes_.data(), info, len_);
    OPENSSL_cleanse(info, sizeof(*info));
  };
  if (suite == TlsSuite::kAes128Gcm) {
    tls12_crypto_info_aes_gcm_128 info{};
    FillGcm(TLS_CIPHER_AES_GCM_128, version, key, nonce, number, &info);
    place(&info);
  } else if (suite == TlsSuite::kAes256Gcm) {
    tls12_crypto_info_aes_gcm_256 info{};
    FillGcm(TLS_CIPHER_AES_GCM_256, version, key, nonce, number, &info);
    place(&info);
  } else {
    tls12_crypto_info_chacha20_poly1305 info{};
    FillChaCha(version, key, nonce, number, &info);
    place(&info);
  }
  return true;
}

bool ExportKernelTlsKey(const ssl_st* ssl, TlsDirection direction,
                        KernelTlsKey* key) {
  const TlsVersion version = VersionOf(ssl);
  const TlsSuite suite = SuiteOf(ssl);
  const size_t key_len = KeyLenOf(suite);
  if (key_len == 0) {
    return false;
  }
  Secret<kMaxKeyLen> bytes;
  Secret<kNonceLen> nonce;
  // TLS 1.2 with AES-GCM has only a salt to derive.
  const size_t block_nonce_len = suite == TlsSuite::kChaCha20Poly1305 ? 12 : 4;
  const bool derived =
      version == TlsVersion::kTls13
          ? DeriveTls13(ssl, direction, bytes.first(key_len), nonce.bytes)
          : CutKeyBlock(ssl, direction, block_nonce_len, bytes.first(key_len),
                        nonce.bytes);
  const uint64_t sequence = direction == TlsDirection::kSend
                                ? SSL_get_write_sequence(ssl)
                                : SSL_get_read_sequence(ssl);
  return derived &&
         key->Set(version, suite, bytes.first(key_len), nonce.bytes, sequence);
}

TlsVersion VersionOf(const ssl_st* ssl) {
  return SSL_version(ssl) == TLS1_3_VERSION ? TlsVersion::kTls13
                                            : TlsVersion::kTls12;
}

TlsSuite SuiteOf(const ssl_st* ssl) {
  const SSL_CIPHER* const cipher = SSL_get_current_cipher(ssl);
  switch (cipher != nullptr ? SSL_CIPHER_get_cipher_nid(cipher) : NID_undef) {
    case NID_aes_128_gcm:
      return TlsSuite::kAes128Gcm;
    case NID_aes_256_gcm:
      return TlsSuite::kAes256Gcm;
    case NID_chacha20_poly1305:
      return TlsSuite::kChaCha20Poly1305;
    default:
      return TlsSuite::kOther;
  }
}

}  // namespace spicegate
