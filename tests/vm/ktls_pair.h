// SPDX-License-Identifier: Apache-2.0
//
// A loopback connection whose one end speaks kernel TLS while the other writes
// and reads raw records made here. So a test decides about every byte on the
// wire: half a record, a wrong tag, an alert between data.
//
// Wire format: RFC 8446 section 5.2 (TLS 1.3), RFC 5288 (AES-GCM in TLS 1.2),
// RFC 7905 (ChaCha20-Poly1305 in TLS 1.2). Socket options: linux/tls.h.
#ifndef SPICEGATE_TESTS_VM_KTLS_PAIR_H_
#define SPICEGATE_TESTS_VM_KTLS_PAIR_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace spicegate {

// Record types.
inline constexpr uint8_t kAlertRecord = 21;
inline constexpr uint8_t kHandshakeRecord = 22;
inline constexpr uint8_t kDataRecord = 23;

// The most plaintext that one record carries.
inline constexpr int kMaxRecordBytes = 16384;

// A TLS version with an AEAD, by the numbers of linux/tls.h.
struct Suite {
  uint16_t version;
  uint16_t cipher;
  const char* name;
};

inline constexpr Suite kSuites[] = {
    {0x0304, 51, "Tls13Aes128"}, {0x0304, 52, "Tls13Aes256"},
    {0x0304, 54, "Tls13ChaCha"}, {0x0303, 51, "Tls12Aes128"},
    {0x0303, 52, "Tls12Aes256"}, {0x0303, 54, "Tls12ChaCha"},
};

// One direction's traffic key. Both ends make the same one from `seed`.
class RecordKey {
 public:
  explicit RecordKey(const Suite& suite, uint8_t seed = 1);

  // The next record, header and tag included.
  std::string Seal(uint8_t type, std::string_view plaintext);
  std::string SealData(std::string_view plaintext) {
    return Seal(kDataRecord, plaintext);
  }

  // Decrypts one whole record, the next in order, into `plaintext` and `type`;
  // false when it is not one.
  bool Open(std::string_view record, uint8_t* type, std::string* plaintext);

  // setsockopt(SOL_TLS, direction) with this key and its sequence number;
  // direction is TLS_TX or TLS_RX. Returns 0 or the errno.
  int Install(int fd, int direction) const;

 private:
  std::string Nonce() const;
  std::string AdditionalData(uint8_t type, size_t plaintext_len) const;
  std::string Sequence() const;
  template <typename Info>
  int InstallAs(int fd, int direction) const;
  bool explicit_nonce() const;

  Suite suite_;
  std::string key_;
  std::string iv_;  // 12 bytes
  uint64_t sequence_ = 0;
};

// setsockopt(TCP_ULP, "tls"). Returns 0 or the errno.
int SetTlsUlp(int fd);

// Two connected TCP sockets on 127.0.0.1, TCP_NODELAY; closed at the end.
class TcpPair {
 public:
  TcpPair();
  ~TcpPair();
  TcpPair(const TcpPair&) = delete;
  TcpPair& operator=(const TcpPair&) = delete;

  // The end under test and its peer.
  int fd() const { return fds_[0]; }
  int peer() const { return fds_[1]; }
  void ClosePeer();

  // Sends from the peer and returns when fd()'s TCP has all of it queued.
  void Deliver(std::string_view data);

 private:
  uint64_t BytesReceived() const;

  int fds_[2] = {-1, -1};
};

// Writes all of it, waiting as long as that takes; fails the test when it
// cannot.
void SendAll(int fd, std::string_view data);

// Reads exactly that many bytes, at most 20 s; shorter at the end of stream.
std::string ReadExactly(int fd, size_t num_bytes);

// Bytes that do not compress and do not repeat; the same for the same length.
std::string Pattern(size_t num_bytes);

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_VM_KTLS_PAIR_H_
