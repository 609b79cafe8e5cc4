// SPDX-License-Identifier: Apache-2.0
//
// Records made by hand against BoringSSL's, both ways: what the other tests
// send must be wrong only where they mean it to be.
#include "tests/tls/record_cipher.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/err.h>

#include <array>
#include <string>
#include <vector>

#include "tests/peer/peer_tls.h"
#include "tests/peer/traffic.h"

namespace spicegate {
namespace {

// What BoringSSL can be made to agree on with itself.
struct Suite {
  const char* name;
  uint16_t version;
  const char* tls12_name;
};

constexpr Suite kSuites[] = {
    {"Tls13", TLS1_3_VERSION, nullptr},
    {"Tls12Aes128", TLS1_2_VERSION, "ECDHE-RSA-AES128-GCM-SHA256"},
    {"Tls12Aes256", TLS1_2_VERSION, "ECDHE-RSA-AES256-GCM-SHA384"},
    {"Tls12ChaCha", TLS1_2_VERSION, "ECDHE-RSA-CHACHA20-POLY1305"},
};

// Client and server joined in memory, past their handshake.
class RecordCipherTest : public testing::TestWithParam<Suite> {
 protected:
  RecordCipherTest()
      : server_context_(PeerTlsContext::Server(Pki())),
        client_context_(
            PeerTlsContext::Client(GetParam().version, GetParam().version)) {
    if (GetParam().tls12_name != nullptr) {
      EXPECT_EQ(SSL_CTX_set_strict_cipher_list(client_context_.get(),
                                               GetParam().tls12_name),
                1);
    }
    SSL_CTX_set_num_tickets(server_context_.get(), 0);
    BIO* client_bio = nullptr;
    BIO* server_bio = nullptr;
    EXPECT_EQ(BIO_new_bio_pair(&client_bio, 1 << 18, &server_bio, 1 << 18), 1);
    client_.reset(SSL_new(client_context_.get()));
    server_.reset(SSL_new(server_context_.get()));
    SSL_set_bio(client_.get(), client_bio, client_bio);
    SSL_set_bio(server_.get(), server_bio, server_bio);
    SSL_set_connect_state(client_.get());
    SSL_set_accept_state(server_.get());
    for (int i = 0; i < 10; ++i) {
      SSL_do_handshake(client_.get());
      SSL_do_handshake(server_.get());
      ERR_clear_error();
    }
    EXPECT_EQ(SSL_in_init(client_.get()) + SSL_in_init(server_.get()), 0);
  }

  static const PeerPki& Pki() {
    static const PeerPki pki = MakePeerPki();
    return pki;
  }

  static std::vector<uint8_t> Pattern(size_t len) {
    std::vector<uint8_t> bytes(len);
    FillPattern(5, 0, bytes);
    return bytes;
  }

  // Puts raw bytes onto the wire of `ssl`.
  static void Send(SSL* ssl, const std::vector<uint8_t>& bytes) {
    EXPECT_EQ(BIO_write(SSL_get_wbio(ssl), bytes.data(),
                        static_cast<int>(bytes.size())),
              static_cast<int>(bytes.size()));
  }

  // One whole record off the wire of `ssl`.
  static std::vector<uint8_t> Take(SSL* ssl) {
    std::vector<uint8_t> record(kRecordHeaderLen);
    EXPECT_EQ(BIO_read(SSL_get_rbio(ssl), record.data(), 5), 5);
    const int len = record[3] << 8 | record[4];
    record.resize(kRecordHeaderLen + static_cast<size_t>(len));
    EXPECT_EQ(BIO_read(SSL_get_rbio(ssl), record.data() + 5, len), len);
    return record;
  }

  static std::vector<uint8_t> Read(SSL* ssl, size_t len) {
    std::vector<uint8_t> bytes(len);
    const int n = SSL_read(ssl, bytes.data(), static_cast<int>(len));
    bytes.resize(n > 0 ? static_cast<size_t>(n) : 0);
    return bytes;
  }

  PeerTlsContext server_context_;
  PeerTlsContext client_context_;
  bssl::UniquePtr<SSL> client_;
  bssl::UniquePtr<SSL> server_;
};

TEST_P(RecordCipherTest, SealsWhatBoringSslReads) {
  RecordCipher client = RecordCipher::ForSending(client_.get());
  RecordCipher server = RecordCipher::ForSending(server_.get());
  for (const size_t len : {size_t{1}, size_t{700}, kMaxRecordPlaintextLen}) {
    const std::vector<uint8_t> data = Pattern(len);
    Send(client_.get(), client.Seal(RecordType::kData, data));
    EXPECT_EQ(Read(server_.get(), len), data);
    Send(server_.get(), server.Seal(RecordType::kData, data));
    EXPECT_EQ(Read(client_.get(), len), data);
  }
  EXPECT_EQ(client.sequence(), SSL_get_read_sequence(server_.get()));
}

TEST_P(RecordCipherTest, OpensWhatBoringSslWrites) {
  RecordCipher client = RecordCipher::ForReceiving(client_.get());
  RecordCipher server = RecordCipher::ForReceiving(server_.get());
  for (const size_t len : {size_t{1}, size_t{700}, kMaxRecordPlaintextLen}) {
    const std::vector<uint8_t> data = Pattern(len);
    SSL_write(server_.get(), data.data(), static_cast<int>(len));
    auto record = client.Open(Take(client_.get()));
    ASSERT_TRUE(record.has_value()) << len;
    EXPECT_EQ(record->type, RecordType::kData);
    EXPECT_EQ(record->plaintext, data);
    SSL_write(client_.get(), data.data(), static_cast<int>(len));
    record = server.Open(Take(server_.get()));
    ASSERT_TRUE(record.has_value()) << len;
    EXPECT_EQ(record->plaintext, data);
  }
}

TEST_P(RecordCipherTest, CloseNotifyBothWays) {
  RecordCipher sending = RecordCipher::ForSending(client_.get());
  Send(client_.get(),
       sending.Seal(RecordType::kAlert, std::array<uint8_t, 2>{1, 0}));
  uint8_t byte;
  EXPECT_EQ(SSL_read(server_.get(), &byte, 1), 0);
  EXPECT_EQ(SSL_get_shutdown(server_.get()), SSL_RECEIVED_SHUTDOWN);

  RecordCipher receiving = RecordCipher::ForReceiving(client_.get());
  SSL_shutdown(server_.get());
  const auto record = receiving.Open(Take(client_.get()));
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->type, RecordType::kAlert);
  EXPECT_EQ(record->plaintext, (std::vector<uint8_t>{1, 0}));
}

TEST_P(RecordCipherTest, ForgedRecordsAreRefused) {
  RecordCipher sending = RecordCipher::ForSending(client_.get());
  std::vector<uint8_t> forged = sending.Seal(RecordType::kData, Pattern(100));
  forged.back() ^= 1;
  Send(client_.get(), forged);
  uint8_t byte;
  EXPECT_EQ(SSL_read(server_.get(), &byte, 1), -1);
  EXPECT_EQ(SSL_get_error(server_.get(), -1), SSL_ERROR_SSL);
  ERR_clear_error();

  RecordCipher receiving = RecordCipher::ForReceiving(server_.get());
  EXPECT_FALSE(receiving.Open(forged).has_value());
  EXPECT_FALSE(receiving.Open(std::span(forged).first(8)).has_value());
}

TEST_P(RecordCipherTest, PaddingKeyUpdateAndTickets) {
  if (GetParam().version != TLS1_3_VERSION) {
    return;  // TLS 1.2 has none of them.
  }
  const std::vector<uint8_t> data = Pattern(100);
  RecordCipher client = RecordCipher::ForSending(client_.get());
  Send(client_.get(), client.Seal(RecordType::kData, data, 999));
  EXPECT_EQ(Read(server_.get(), 100), data);

  Send(client_.get(),
       client.Seal(RecordType::kHandshake, KeyUpdateMessage(false)));
  client.UpdateKeys();
  Send(client_.get(), client.Seal(RecordType::kData, data));
  EXPECT_EQ(Read(server_.get(), 100), data);

  RecordCipher server = RecordCipher::ForSending(server_.get());
  Send(server_.get(),
       server.Seal(RecordType::kHandshake, NewSessionTicketMessage()));
  Send(server_.get(), server.Seal(RecordType::kData, data));
  EXPECT_EQ(Read(client_.get(), 100), data);
}

INSTANTIATE_TEST_SUITE_P(Suites, RecordCipherTest, testing::ValuesIn(kSuites),
                         [](const auto& tested) {
                           return std::string(tested.param.name);
                         });

}  // namespace
}  // namespace spicegate
