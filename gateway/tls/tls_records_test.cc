// SPDX-License-Identifier: Apache-2.0
//
// TlsStream after the handshake: ends, broken records, messages in between.
#include <openssl/aead.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "gateway/tls/tls_stream.h"
#include "gateway/tls/tls_stream_test_contexts.h"
#include "gateway/tls/tls_stream_test_peer.h"
#include "gtest/gtest.h"

namespace spicegate {
namespace {

struct Connected {
  TlsPair pair;
  TlsStream* client = pair.client.get();
  TlsStream* server = pair.server.get();

  explicit Connected(uint16_t version = TLS1_3_VERSION,
                     const char* suite = nullptr)
      : pair(Client(version, suite), ServerContext()) {
    EXPECT_TRUE(pair.RunHandshakes());
    EXPECT_EQ(pair.client_result, 0) << client->failure_detail();
    EXPECT_EQ(pair.server_result, 0) << server->failure_detail();
  }

  static std::shared_ptr<const ClientTlsContext> Client(uint16_t version,
                                                        const char* suite) {
    auto context = ClientUpTo(version);
    if (suite != nullptr) {
      EXPECT_TRUE(
          SSL_CTX_set_strict_cipher_list(context->ssl_context(), suite));
    }
    return context;
  }
};

class TlsRecords : public testing::TestWithParam<uint16_t> {};
INSTANTIATE_TEST_SUITE_P(Versions, TlsRecords,
                         testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

// ---- Ends.

TEST_P(TlsRecords, CloseNotifyEndsOneDirection) {
  Connected c(GetParam());
  ASSERT_EQ(c.client->Write(BytesOf("last")), 4);
  ASSERT_EQ(c.client->ShutdownWrite(), 0);
  EXPECT_TRUE(c.pair.to_server->ended) << "no FIN behind close_notify";
  EXPECT_EQ(c.client->Write(BytesOf("x")), -EPIPE);
  bool ended = false;
  EXPECT_EQ(ReadAvailable(c.server, &ended), BytesOf("last"));
  EXPECT_TRUE(ended);
  EXPECT_FALSE(c.server->truncated());
  // The other direction goes on.
  ASSERT_EQ(c.server->Write(BytesOf("answer")), 6);
  EXPECT_EQ(ReadAvailable(c.client, &ended), BytesOf("answer"));
  EXPECT_FALSE(ended);
  ASSERT_EQ(c.server->ShutdownWrite(), 0);
  EXPECT_EQ(ReadAvailable(c.client, &ended), Bytes());
  EXPECT_TRUE(ended);
  EXPECT_FALSE(c.client->truncated());
  EXPECT_EQ(c.client->ShutdownWrite(), 0) << "not idempotent";
}

TEST_P(TlsRecords, AnEndWithoutCloseNotifyIsATruncatedEnd) {
  Connected c(GetParam());
  ASSERT_EQ(c.client->Write(BytesOf("last")), 4);
  c.pair.to_server->ended = true;
  bool ended = false;
  EXPECT_EQ(ReadAvailable(c.server, &ended), BytesOf("last"));
  EXPECT_TRUE(ended);
  EXPECT_TRUE(c.server->truncated());
  EXPECT_EQ(c.server->Write(BytesOf("still")), 5);
  EXPECT_EQ(ReadAvailable(c.client), BytesOf("still"));
}

TEST_P(TlsRecords, AnEndInsideARecordIsATruncatedEnd) {
  for (const size_t kept : {1, 4, 5, 6, 20}) {
    Connected c(GetParam());
    ASSERT_EQ(c.client->Write(BytesOf("never seen")), 10);
    c.pair.to_server->bytes.resize(kept);
    c.pair.to_server->ended = true;
    bool ended = false;
    EXPECT_EQ(ReadAvailable(c.server, &ended), Bytes());
    EXPECT_TRUE(ended);
    EXPECT_TRUE(c.server->truncated()) << kept;
  }
}

TEST_P(TlsRecords, LowerErrorsArePassedOnForGood) {
  Connected c(GetParam());
  c.pair.to_server->error = -ECONNRESET;
  Bytes buffer(10);
  EXPECT_EQ(c.server->Read(buffer), -ECONNRESET);
  EXPECT_EQ(c.server->Read(buffer), -ECONNRESET);
  EXPECT_EQ(c.server->Write(buffer), -ECONNRESET);
  EXPECT_EQ(c.client->Write(buffer), -ECONNRESET);
  EXPECT_EQ(c.client->Read(buffer), -ECONNRESET);
}

TEST_P(TlsRecords, ABrokenRecordIsAnErrorForGood) {
  Connected c(GetParam());
  ASSERT_EQ(c.client->Write(BytesOf("text")), 4);
  c.pair.to_server->bytes.back() ^= 1;
  Bytes buffer(10);
  EXPECT_EQ(c.server->Read(buffer), kTlsBadRecord);
  EXPECT_EQ(c.server->Read(buffer), kTlsBadRecord);
  EXPECT_EQ(c.server->Write(buffer), kTlsBadRecord);
  EXPECT_EQ(c.server->failure(), TlsFailure::kProtocol);
  EXPECT_FALSE(c.server->failure_detail().empty());
  EXPECT_EQ(c.client->Read(buffer), kTlsPeerAlert) << "no alert";
  EXPECT_EQ(c.client->failure_detail(), "SSLV3_ALERT_BAD_RECORD_MAC");
}

TEST_P(TlsRecords, WhatStandsBehindBytesIsNotWaitedFor) {
  for (const bool broken : {true, false}) {
    Connected c(GetParam());
    ASSERT_EQ(c.client->Write(BytesOf("data")), 4);
    if (broken) {
      ASSERT_EQ(c.client->Write(BytesOf("forged")), 6);
      c.pair.to_server->bytes.back() ^= 1;
    } else {
      ASSERT_EQ(c.client->ShutdownWrite(), 0);
      c.pair.to_server->ended = false;  // close_notify alone
    }
    Bytes buffer(100);
    ASSERT_EQ(c.server->Read(buffer), 4);
    EXPECT_FALSE(c.server->ShortReadDrains());
    EXPECT_EQ(c.server->Read(buffer), broken ? kTlsBadRecord : 0);
    if (broken) {
      EXPECT_EQ(c.client->Read(buffer), kTlsPeerAlert) << "the alert is lost";
    }
  }
}

// ---- Bounds.

TEST_P(TlsRecords, AFullLowerStreamHoldsAWriteUntilThereIsRoom) {
  Connected c(GetParam());
  c.pair.to_server->capacity = 1000;
  const Bytes data = Pattern(30'000);
  ASSERT_EQ(c.client->Write(data), -EAGAIN);
  EXPECT_EQ(c.client->WriteWait(), Ready::kWritable);
  ASSERT_EQ(c.client->Write(data), -EAGAIN);
  Bytes received;
  size_t sent = 0;
  for (int turn = 0; turn < 1000 && received.size() < data.size(); ++turn) {
    if (sent < data.size()) {
      const Bytes rest(data.begin() + static_cast<ptrdiff_t>(sent), data.end());
      const ssize_t n = c.client->Write(rest);
      sent += n > 0 ? static_cast<size_t>(n) : 0;
    }
    const Bytes piece = ReadAvailable(c.server);
    received.insert(received.end(), piece.begin(), piece.end());
  }
  EXPECT_TRUE(received == data);
}

TEST_P(TlsRecords, AnUnfinishedWriteEndsWithoutCloseNotify) {
  Connected c(GetParam());
  c.pair.to_server->capacity = 1000;
  ASSERT_EQ(c.client->Write(Pattern(5000)), -EAGAIN);
  c.pair.to_server->capacity = 100'000;
  EXPECT_EQ(c.client->ShutdownWrite(), 0);
  bool ended = false;
  EXPECT_EQ(ReadAvailable(c.server, &ended), Bytes());
  EXPECT_TRUE(ended);
  EXPECT_TRUE(c.server->truncated());
}

TEST_P(TlsRecords, CloseNotifyWaitsForRoom) {
  Connected c(GetParam());
  c.pair.to_server->capacity = 10;
  EXPECT_EQ(c.client->ShutdownWrite(), -EAGAIN);
  EXPECT_EQ(c.client->WriteWait(), Ready::kWritable);
  EXPECT_FALSE(c.pair.to_server->ended);
  EXPECT_EQ(c.client->Write(BytesOf("x")), -EPIPE);
  c.pair.to_server->capacity = 1000;
  EXPECT_EQ(c.client->ShutdownWrite(), 0);
  bool ended = false;
  EXPECT_EQ(ReadAvailable(c.server, &ended), Bytes());
  EXPECT_TRUE(ended);
  EXPECT_FALSE(c.server->truncated());
}

TEST_P(TlsRecords, BuffersGoWhenIdle) {
  Connected c(GetParam());
  Bytes buffer(3);
  ASSERT_EQ(c.server->Read(buffer), -EAGAIN);
  EXPECT_FALSE(TlsStreamTestPeer::HoldsCiphertext(c.server));
  ASSERT_EQ(c.client->Write(BytesOf("one")), 3);
  ASSERT_EQ(c.client->Write(BytesOf("two")), 3);
  ASSERT_EQ(c.server->Read(buffer), 3);
  EXPECT_TRUE(TlsStreamTestPeer::HoldsCiphertext(c.server));
  ASSERT_EQ(c.server->Read(buffer), 3);
  EXPECT_FALSE(TlsStreamTestPeer::HoldsCiphertext(c.server));
}

TEST_P(TlsRecords, SmallReadsTakeARecordInPieces) {
  Connected c(GetParam());
  const Bytes data = Pattern(100);
  ASSERT_EQ(c.client->Write(data), 100);
  Bytes received;
  uint8_t byte = 0;
  while (c.server->Read({&byte, 1}) == 1) {
    received.push_back(byte);
  }
  EXPECT_EQ(received, data);
}

// ---- Messages of TLS in between.

TEST(TlsRecords13, KeyUpdatesAreAnswered) {
  Connected c;
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(SSL_key_update(TlsStreamTestPeer::Ssl(c.client),
                               SSL_KEY_UPDATE_REQUESTED));
    ASSERT_EQ(c.client->Write(BytesOf("new key")), 7);
    EXPECT_EQ(ReadAvailable(c.server), BytesOf("new key"));
    ASSERT_EQ(c.server->Write(BytesOf("mine too")), 8);
    EXPECT_EQ(ReadAvailable(c.client), BytesOf("mine too"));
  }
}

TEST(TlsRecords13, SessionTicketsOfTheServerArePassedOver) {
  const auto server = ServerContext();
  SSL_CTX_clear_options(server->ssl_context(), SSL_OP_NO_TICKET);
  const auto client = ClientContext();
  SSL_CTX_clear_options(client->ssl_context(), SSL_OP_NO_TICKET);
  TlsPair pair(client, server);
  ASSERT_TRUE(pair.RunHandshakes());
  ASSERT_EQ(pair.client_result, 0);
  ASSERT_EQ(pair.server->Write(BytesOf("first")), 5);
  ASSERT_GT(pair.to_client->bytes.size(), 150U) << "no tickets were sent";
  EXPECT_EQ(ReadAvailable(pair.client.get()), BytesOf("first"));
}

// Seals one handshake message as the sender's next TLS 1.2 record.
Bytes SealHandshakeMessage(ssl_st* ssl, bool from_client,
                           const Bytes& message) {
  constexpr size_t kKeyLen = 16;
  constexpr size_t kSaltLen = 4;
  Bytes keys(SSL_get_key_block_len(ssl));
  EXPECT_EQ(keys.size(), 2 * (kKeyLen + kSaltLen));
  EXPECT_TRUE(SSL_generate_key_block(ssl, keys.data(), keys.size()));
  const uint8_t* key = keys.data() + (from_client ? 0 : kKeyLen);
  const uint8_t* salt =
      keys.data() + 2 * kKeyLen + (from_client ? 0 : kSaltLen);

  const uint64_t sequence = SSL_get_write_sequence(ssl);
  std::array<uint8_t, 8> explicit_nonce;
  for (int i = 0; i < 8; ++i) {
    explicit_nonce[i] = static_cast<uint8_t>(sequence >> (56 - 8 * i));
  }
  Bytes nonce(salt, salt + kSaltLen);
  nonce.insert(nonce.end(), explicit_nonce.begin(), explicit_nonce.end());
  Bytes ad(explicit_nonce.begin(), explicit_nonce.end());
  ad.insert(ad.end(), {22, 3, 3, 0, static_cast<uint8_t>(message.size())});

  bssl::ScopedEVP_AEAD_CTX aead;
  EXPECT_TRUE(EVP_AEAD_CTX_init(aead.get(), EVP_aead_aes_128_gcm(), key,
                                kKeyLen, 16, nullptr));
  Bytes sealed(message.size() + 16);
  size_t sealed_len = 0;
  EXPECT_TRUE(EVP_AEAD_CTX_seal(
      aead.get(), sealed.data(), &sealed_len, sealed.size(), nonce.data(),
      nonce.size(), message.data(), message.size(), ad.data(), ad.size()));
  Bytes record = {22, 3, 3, 0, static_cast<uint8_t>(8 + sealed_len)};
  record.insert(record.end(), explicit_nonce.begin(), explicit_nonce.end());
  record.insert(record.end(), sealed.begin(), sealed.end());
  return record;
}

constexpr char kAes128[] = "ECDHE-ECDSA-AES128-GCM-SHA256";

TEST(TlsRecords12, AClientThatRenegotiatesIsRefused) {
  Connected c(TLS1_2_VERSION, kAes128);
  // A ClientHello without a body: refused before it is looked into.
  const Bytes record = SealHandshakeMessage(TlsStreamTestPeer::Ssl(c.client),
                                            true, {1, 0, 0, 0});
  c.pair.to_server->bytes.assign(record.begin(), record.end());
  Bytes buffer(10);
  EXPECT_EQ(c.server->Read(buffer), kTlsBadRecord);
  EXPECT_EQ(c.server->failure_detail(), "NO_RENEGOTIATION");
  EXPECT_EQ(c.client->Read(buffer), kTlsPeerAlert);
  EXPECT_EQ(c.client->failure_detail(), "TLSV1_ALERT_NO_RENEGOTIATION");
}

TEST(TlsRecords12, AServerThatRenegotiatesIsRefused) {
  Connected c(TLS1_2_VERSION, kAes128);
  const Bytes hello_request = SealHandshakeMessage(
      TlsStreamTestPeer::Ssl(c.server), false, {0, 0, 0, 0});
  c.pair.to_client->bytes.assign(hello_request.begin(), hello_request.end());
  Bytes buffer(10);
  EXPECT_EQ(c.client->Read(buffer), kTlsBadRecord);
  EXPECT_EQ(c.client->failure_detail(), "NO_RENEGOTIATION");
  EXPECT_EQ(c.server->Read(buffer), kTlsPeerAlert);
}

}  // namespace
}  // namespace spicegate
