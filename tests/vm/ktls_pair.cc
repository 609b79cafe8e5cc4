// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/ktls_pair.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/tcp.h>  // its tcp_info is longer than that of netinet/tcp.h
#include <linux/tls.h>
#include <netinet/in.h>
#include <openssl/aead.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

namespace spicegate {
namespace {

constexpr size_t kHeaderBytes = 5;
constexpr size_t kTagBytes = 16;
constexpr int kPatienceMs = 20'000;

#ifndef SOL_TLS
constexpr int SOL_TLS = 282;
#endif

const EVP_AEAD* Aead(uint16_t cipher) {
  switch (cipher) {
    case TLS_CIPHER_AES_GCM_128:
      return EVP_aead_aes_128_gcm();
    case TLS_CIPHER_AES_GCM_256:
      return EVP_aead_aes_256_gcm();
    default:
      return EVP_aead_chacha20_poly1305();
  }
}

const uint8_t* Bytes(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

std::string Counted(size_t num_bytes, uint8_t seed) {
  std::string result(num_bytes, '\0');
  for (size_t i = 0; i < num_bytes; ++i) {
    result[i] = static_cast<char>(seed * 37 + i);
  }
  return result;
}

std::string BigEndian16(size_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

}  // namespace

RecordKey::RecordKey(const Suite& suite, uint8_t seed)
    : suite_(suite),
      key_(Counted(EVP_AEAD_key_length(Aead(suite.cipher)), seed)),
      iv_(Counted(12, seed ^ 0x55)) {}

// TLS 1.2 with AES-GCM sends eight bytes of the nonce; the others send none.
bool RecordKey::explicit_nonce() const {
  return suite_.version == TLS_1_2_VERSION &&
         suite_.cipher != TLS_CIPHER_CHACHA20_POLY1305;
}

std::string RecordKey::Sequence() const {
  std::string result(8, '\0');
  for (int i = 0; i < 8; ++i) {
    result[i] = static_cast<char>(sequence_ >> (56 - 8 * i));
  }
  return result;
}

std::string RecordKey::Nonce() const {
  const std::string sequence = Sequence();
  if (explicit_nonce()) {
    return iv_.substr(0, 4) + sequence;
  }
  std::string nonce = iv_;
  for (int i = 0; i < 8; ++i) {
    nonce[4 + i] ^= sequence[i];
  }
  return nonce;
}

std::string RecordKey::AdditionalData(uint8_t type,
                                      size_t plaintext_len) const {
  if (suite_.version == TLS_1_3_VERSION) {
    return "\x17\x03\x03" + BigEndian16(plaintext_len + 1 + kTagBytes);
  }
  return Sequence() + static_cast<char>(type) + "\x03\x03" +
         BigEndian16(plaintext_len);
}

std::string RecordKey::Seal(uint8_t type, std::string_view plaintext) {
  const bool tls13 = suite_.version == TLS_1_3_VERSION;
  std::string inner(plaintext);
  if (tls13) {
    inner += static_cast<char>(type);
  }
  const std::string nonce = Nonce();
  const std::string additional = AdditionalData(type, plaintext.size());
  std::string sealed(inner.size() + kTagBytes, '\0');
  size_t sealed_len = 0;
  bssl::ScopedEVP_AEAD_CTX context;
  EXPECT_EQ(EVP_AEAD_CTX_init(context.get(), Aead(suite_.cipher), Bytes(key_),
                              key_.size(), kTagBytes, nullptr),
            1);
  EXPECT_EQ(
      EVP_AEAD_CTX_seal(context.get(),
                        reinterpret_cast<uint8_t*>(sealed.data()), &sealed_len,
                        sealed.size(), Bytes(nonce), nonce.size(), Bytes(inner),
                        inner.size(), Bytes(additional), additional.size()),
      1);
  const std::string body =
      (explicit_nonce() ? Sequence() : std::string()) + sealed;
  ++sequence_;
  const char outer = static_cast<char>(tls13 ? kDataRecord : type);
  return outer + std::string("\x03\x03") + BigEndian16(body.size()) + body;
}

bool RecordKey::Open(std::string_view record, uint8_t* type,
                     std::string* plaintext) {
  const bool tls13 = suite_.version == TLS_1_3_VERSION;
  const size_t skipped = kHeaderBytes + (explicit_nonce() ? 8 : 0);
  const size_t overhead = skipped + kTagBytes + (tls13 ? 1 : 0);
  if (record.size() < overhead) {
    return false;
  }
  const std::string_view sealed = record.substr(skipped);
  const std::string nonce = Nonce();
  *type = static_cast<uint8_t>(record[0]);
  const std::string additional =
      AdditionalData(*type, record.size() - overhead);
  plaintext->resize(sealed.size());
  size_t len = 0;
  bssl::ScopedEVP_AEAD_CTX context;
  if (EVP_AEAD_CTX_init(context.get(), Aead(suite_.cipher), Bytes(key_),
                        key_.size(), kTagBytes, nullptr) != 1 ||
      EVP_AEAD_CTX_open(
          context.get(), reinterpret_cast<uint8_t*>(plaintext->data()), &len,
          plaintext->size(), Bytes(nonce), nonce.size(), Bytes(sealed),
          sealed.size(), Bytes(additional), additional.size()) != 1) {
    return false;
  }
  ++sequence_;
  plaintext->resize(len);
  if (tls13) {
    *type = static_cast<uint8_t>(plaintext->back());
    plaintext->pop_back();
  }
  return true;
}

template <typename Info>
int RecordKey::InstallAs(int fd, int direction) const {
  Info info = {};
  info.info.version = suite_.version;
  info.info.cipher_type = suite_.cipher;
  const std::string nonce = Sequence();
  // The salt comes first, where there is one; the rest is the iv, which TLS
  // 1.2 with AES-GCM counts instead of keeping.
  const size_t salt_len = sizeof(iv_[0]) * (12 - sizeof(info.iv));
  std::memcpy(info.salt, iv_.data(), salt_len);
  const std::string rest = explicit_nonce() ? nonce : iv_.substr(salt_len);
  std::memcpy(info.iv, rest.data(), sizeof(info.iv));
  std::memcpy(info.key, key_.data(), sizeof(info.key));
  std::memcpy(info.rec_seq, nonce.data(), sizeof(info.rec_seq));
  return setsockopt(fd, SOL_TLS, direction, &info, sizeof(info)) == 0 ? 0
                                                                      : errno;
}

int RecordKey::Install(int fd, int direction) const {
  switch (suite_.cipher) {
    case TLS_CIPHER_AES_GCM_128:
      return InstallAs<tls12_crypto_info_aes_gcm_128>(fd, direction);
    case TLS_CIPHER_AES_GCM_256:
      return InstallAs<tls12_crypto_info_aes_gcm_256>(fd, direction);
    default:
      return InstallAs<tls12_crypto_info_chacha20_poly1305>(fd, direction);
  }
}

int SetTlsUlp(int fd) {
  return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3) == 0 ? 0 : errno;
}

TcpPair::TcpPair() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t len = sizeof(address);
  EXPECT_EQ(bind(listener, generic, len), 0);
  EXPECT_EQ(listen(listener, 1), 0);
  EXPECT_EQ(getsockname(listener, generic, &len), 0);
  fds_[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(fds_[1], generic, len), 0);
  fds_[0] = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  close(listener);
  const int one = 1;
  for (const int fd : fds_) {
    EXPECT_EQ(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
  }
}

TcpPair::~TcpPair() {
  close(fds_[0]);
  ClosePeer();
}

void TcpPair::ClosePeer() {
  if (fds_[1] >= 0) {
    close(fds_[1]);
  }
  fds_[1] = -1;
}

uint64_t TcpPair::BytesReceived() const {
  tcp_info info = {};
  socklen_t len = sizeof(info);
  EXPECT_EQ(getsockopt(fd(), IPPROTO_TCP, TCP_INFO, &info, &len), 0);
  return info.tcpi_bytes_received;
}

void TcpPair::Deliver(std::string_view data) {
  const uint64_t wanted = BytesReceived() + data.size();
  SendAll(peer(), data);
  for (int i = 0; i < kPatienceMs && BytesReceived() < wanted; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(BytesReceived(), wanted);
}

void SendAll(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t sent = send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    ASSERT_GT(sent, 0) << std::strerror(errno);
    data.remove_prefix(sent);
  }
}

std::string ReadExactly(int fd, size_t num_bytes) {
  std::string result(num_bytes, '\0');
  size_t len = 0;
  while (len < num_bytes) {
    pollfd waiting = {fd, POLLIN, 0};
    if (poll(&waiting, 1, kPatienceMs) != 1) {
      ADD_FAILURE() << len << " of " << num_bytes << " bytes came";
      break;
    }
    const ssize_t got =
        recv(fd, result.data() + len, num_bytes - len, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
      continue;
    }
    EXPECT_GE(got, 0) << std::strerror(errno);
    if (got <= 0) {
      break;
    }
    len += got;
  }
  result.resize(len);
  return result;
}

std::string Pattern(size_t num_bytes) {
  std::string result(num_bytes, '\0');
  uint32_t state = 12345;
  for (char& byte : result) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return result;
}

}  // namespace spicegate
