// SPDX-License-Identifier: Apache-2.0
//
// TLS records by hand: what a test needs to send a peer's most unusual records,
// and to see the type of those that come back. TLS 1.2 and 1.3 with AES-GCM and
// ChaCha20-Poly1305 (RFC 5288, 7905, 8446); the layout is written out here, the
// ciphers are BoringSSL's.
#ifndef SPICEGATE_TESTS_TLS_RECORD_CIPHER_H_
#define SPICEGATE_TESTS_TLS_RECORD_CIPHER_H_

#include <openssl/aead.h>
#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace spicegate {

enum class RecordType : uint8_t {
  kChangeCipherSpec = 20,
  kAlert = 21,
  kHandshake = 22,
  kData = 23,
};

inline constexpr size_t kRecordHeaderLen = 5;
inline constexpr size_t kMaxRecordPlaintextLen = 16384;

// An unprotected record: TLS 1.3 hides the type, so that it is not the byte on
// the wire.
struct Record {
  RecordType type = RecordType::kData;
  std::vector<uint8_t> plaintext;
};

// One direction of one connection. Any thread, one at a time.
class RecordCipher {
 public:
  // Of a connection whose handshake is over: what `ssl` sends from now on, or
  // what it receives. From then on `ssl` must not do that itself. Aborts when
  // the suite is none of ours.
  static RecordCipher ForSending(const SSL* ssl);
  static RecordCipher ForReceiving(const SSL* ssl);

  // The next record. A longer plaintext than a record may have is possible and
  // wrong. `padding_len` zero bytes follow the type; TLS 1.3 only.
  std::vector<uint8_t> Seal(RecordType type, std::span<const uint8_t> plaintext,
                            size_t padding_len = 0);

  // `record` is one whole record with its header. Nothing when it is forged.
  std::optional<Record> Open(std::span<const uint8_t> record);

  // The keys behind a KeyUpdate of this direction. TLS 1.3 only.
  void UpdateKeys();

  bool is_tls13() const { return version_ == TLS1_3_VERSION; }
  uint64_t sequence() const { return sequence_; }

 private:
  RecordCipher(const SSL* ssl, bool sending);

  void SetTrafficSecret(std::span<const uint8_t> secret);
  void SetKeyBlock(const SSL* ssl, bool sending);
  // HKDF-Expand-Label of the traffic secret with an empty context.
  std::vector<uint8_t> Expand(const char* label, size_t len) const;
  void SetKey(std::span<const uint8_t> key);
  bool has_explicit_nonce() const { return iv_.size() == 4; }
  std::vector<uint8_t> Nonce(std::span<const uint8_t> explicit_part) const;
  std::vector<uint8_t> AssociatedData(std::span<const uint8_t> header,
                                      size_t plaintext_len) const;

  const uint16_t version_;
  const EVP_AEAD* aead_ = nullptr;
  std::vector<uint8_t> secret_;  // TLS 1.3: of the traffic.
  std::vector<uint8_t> iv_;      // 12 bytes; TLS 1.2 with AES-GCM: 4.
  uint64_t sequence_ = 0;        // Of the next record.
  bssl::ScopedEVP_AEAD_CTX context_;
};

// Handshake messages that come behind a handshake.
std::vector<uint8_t> KeyUpdateMessage(bool request_answer);
std::vector<uint8_t> NewSessionTicketMessage();

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_TLS_RECORD_CIPHER_H_
