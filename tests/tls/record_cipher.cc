// SPDX-License-Identifier: Apache-2.0
#include "tests/tls/record_cipher.h"

#include <openssl/digest.h>
#include <openssl/hkdf.h>
#include <openssl/nid.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace spicegate {
namespace {

constexpr size_t kTagLen = 16;
constexpr size_t kExplicitNonceLen = 8;
constexpr size_t kSha384Len = 48;

void Must(bool ok, const char* what) {
  if (!ok) {
    std::fprintf(stderr, "%s\n", what);
    std::abort();
  }
}

void PutBigEndian(std::vector<uint8_t>* out, uint64_t value, size_t len) {
  for (size_t i = len; i-- > 0;) {
    out->push_back(static_cast<uint8_t>(value >> (8 * i)));
  }
}

const EVP_AEAD* AeadOf(const SSL* ssl) {
  switch (SSL_CIPHER_get_cipher_nid(SSL_get_current_cipher(ssl))) {
    case NID_aes_128_gcm:
      return EVP_aead_aes_128_gcm();
    case NID_aes_256_gcm:
      return EVP_aead_aes_256_gcm();
    case NID_chacha20_poly1305:
      return EVP_aead_chacha20_poly1305();
    default:
      return nullptr;
  }
}

std::vector<uint8_t> Header(RecordType type, size_t body_len) {
  std::vector<uint8_t> header = {static_cast<uint8_t>(type), 3, 3};
  PutBigEndian(&header, body_len, 2);
  return header;
}

}  // namespace

RecordCipher::RecordCipher(const SSL* ssl, bool sending)
    : version_(static_cast<uint16_t>(SSL_version(ssl))), aead_(AeadOf(ssl)) {
  Must(aead_ != nullptr, "not an AEAD suite");
  sequence_ =
      sending ? SSL_get_write_sequence(ssl) : SSL_get_read_sequence(ssl);
  if (!is_tls13()) {
    SetKeyBlock(ssl, sending);
    return;
  }
  bssl::Span<const uint8_t> receives;
  bssl::Span<const uint8_t> sends;
  Must(bssl::SSL_get_traffic_secrets(ssl, &receives, &sends),
       "SSL_get_traffic_secrets");
  const bssl::Span<const uint8_t> secret = sending ? sends : receives;
  SetTrafficSecret({secret.data(), secret.size()});
}

RecordCipher RecordCipher::ForSending(const SSL* ssl) {
  return RecordCipher(ssl, true);
}

RecordCipher RecordCipher::ForReceiving(const SSL* ssl) {
  return RecordCipher(ssl, false);
}

std::vector<uint8_t> RecordCipher::Expand(const char* label, size_t len) const {
  const std::string full = std::string("tls13 ") + label;
  std::vector<uint8_t> info;
  PutBigEndian(&info, len, 2);
  PutBigEndian(&info, full.size(), 1);
  info.insert(info.end(), full.begin(), full.end());
  info.push_back(0);
  std::vector<uint8_t> out(len);
  const EVP_MD* digest =
      secret_.size() == kSha384Len ? EVP_sha384() : EVP_sha256();
  Must(HKDF_expand(out.data(), out.size(), digest, secret_.data(),
                   secret_.size(), info.data(), info.size()) == 1,
       "HKDF_expand");
  return out;
}

void RecordCipher::SetTrafficSecret(std::span<const uint8_t> secret) {
  secret_.assign(secret.begin(), secret.end());
  iv_ = Expand("iv", EVP_AEAD_nonce_length(aead_));
  SetKey(Expand("key", EVP_AEAD_key_length(aead_)));
}

void RecordCipher::SetKeyBlock(const SSL* ssl, bool sending) {
  std::vector<uint8_t> block(SSL_get_key_block_len(ssl));
  Must(SSL_generate_key_block(ssl, block.data(), block.size()) == 1,
       "SSL_generate_key_block");
  const size_t key_len = EVP_AEAD_key_length(aead_);
  const size_t iv_len = block.size() / 2 - key_len;
  // Client's key, server's key, client's IV, server's IV.
  const size_t side = (SSL_is_server(ssl) == 1) == sending ? 1 : 0;
  const std::span<const uint8_t> bytes(block);
  const auto iv = bytes.subspan(2 * key_len + side * iv_len, iv_len);
  iv_.assign(iv.begin(), iv.end());
  SetKey(bytes.subspan(side * key_len, key_len));
}

void RecordCipher::SetKey(std::span<const uint8_t> key) {
  context_.Reset();
  Must(EVP_AEAD_CTX_init(context_.get(), aead_, key.data(), key.size(), kTagLen,
                         nullptr) == 1,
       "EVP_AEAD_CTX_init");
}

void RecordCipher::UpdateKeys() {
  Must(is_tls13(), "no KeyUpdate before TLS 1.3");
  const std::vector<uint8_t> next = Expand("traffic upd", secret_.size());
  SetTrafficSecret(next);
  sequence_ = 0;
}

std::vector<uint8_t> RecordCipher::Nonce(
    std::span<const uint8_t> explicit_part) const {
  std::vector<uint8_t> nonce = iv_;
  if (has_explicit_nonce()) {
    nonce.insert(nonce.end(), explicit_part.begin(), explicit_part.end());
    return nonce;
  }
  for (size_t i = 0; i < 8; ++i) {
    nonce[nonce.size() - 1 - i] ^= static_cast<uint8_t>(sequence_ >> (8 * i));
  }
  return nonce;
}

std::vector<uint8_t> RecordCipher::AssociatedData(
    std::span<const uint8_t> header, size_t plaintext_len) const {
  if (is_tls13()) {
    return {header.begin(), header.end()};
  }
  std::vector<uint8_t> data;
  PutBigEndian(&data, sequence_, 8);
  data.insert(data.end(), header.begin(), header.begin() + 3);
  PutBigEndian(&data, plaintext_len, 2);
  return data;
}

std::vector<uint8_t> RecordCipher::Seal(RecordType type,
                                        std::span<const uint8_t> plaintext,
                                        size_t padding_len) {
  std::vector<uint8_t> inner(plaintext.begin(), plaintext.end());
  std::vector<uint8_t> explicit_part;
  if (is_tls13()) {
    inner.push_back(static_cast<uint8_t>(type));
    inner.resize(inner.size() + padding_len, 0);
    type = RecordType::kData;
  } else if (has_explicit_nonce()) {
    PutBigEndian(&explicit_part, sequence_, kExplicitNonceLen);
  }
  std::vector<uint8_t> record =
      Header(type, explicit_part.size() + inner.size() + kTagLen);
  const std::vector<uint8_t> associated = AssociatedData(record, inner.size());
  const std::vector<uint8_t> nonce = Nonce(explicit_part);
  record.insert(record.end(), explicit_part.begin(), explicit_part.end());
  const size_t at = record.size();
  record.resize(at + inner.size() + kTagLen);
  size_t sealed_len = 0;
  Must(EVP_AEAD_CTX_seal(context_.get(), record.data() + at, &sealed_len,
                         record.size() - at, nonce.data(), nonce.size(),
                         inner.data(), inner.size(), associated.data(),
                         associated.size()) == 1,
       "EVP_AEAD_CTX_seal");
  ++sequence_;
  return record;
}

std::optional<Record> RecordCipher::Open(std::span<const uint8_t> record) {
  const size_t explicit_len =
      !is_tls13() && has_explicit_nonce() ? kExplicitNonceLen : 0;
  if (record.size() < kRecordHeaderLen + explicit_len + kTagLen) {
    return std::nullopt;
  }
  const auto header = record.first(kRecordHeaderLen);
  const auto body = record.subspan(kRecordHeaderLen);
  const auto sealed = body.subspan(explicit_len);
  const std::vector<uint8_t> nonce = Nonce(body.first(explicit_len));
  const std::vector<uint8_t> associated =
      AssociatedData(header, sealed.size() - kTagLen);
  Record opened;
  opened.type = static_cast<RecordType>(header[0]);
  opened.plaintext.resize(sealed.size());
  size_t len = 0;
  if (EVP_AEAD_CTX_open(context_.get(), opened.plaintext.data(), &len,
                        opened.plaintext.size(), nonce.data(), nonce.size(),
                        sealed.data(), sealed.size(), associated.data(),
                        associated.size()) != 1) {
    return std::nullopt;
  }
  ++sequence_;
  opened.plaintext.resize(len);
  if (is_tls13()) {
    while (!opened.plaintext.empty() && opened.plaintext.back() == 0) {
      opened.plaintext.pop_back();
    }
    if (opened.plaintext.empty()) {
      return std::nullopt;
    }
    opened.type = static_cast<RecordType>(opened.plaintext.back());
    opened.plaintext.pop_back();
  }
  return opened;
}

std::vector<uint8_t> KeyUpdateMessage(bool request_answer) {
  return {24, 0, 0, 1, static_cast<uint8_t>(request_answer ? 1 : 0)};
}

std::vector<uint8_t> NewSessionTicketMessage() {
  // Lifetime, age_add, nonce of one byte, ticket of 32 bytes, no extensions.
  std::vector<uint8_t> body = {0, 0, 0x1c, 0x20, 1, 2, 3, 4, 1, 7};
  PutBigEndian(&body, 32, 2);
  body.resize(body.size() + 32, 0x5a);
  PutBigEndian(&body, 0, 2);
  std::vector<uint8_t> message = {4};
  PutBigEndian(&message, body.size(), 3);
  message.insert(message.end(), body.begin(), body.end());
  return message;
}

}  // namespace spicegate
