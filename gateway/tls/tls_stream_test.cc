// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/tls_stream.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "gateway/tls/test_certificate.h"
#include "gateway/tls/tls_stream_test_contexts.h"
#include "gateway/tls/tls_stream_test_peer.h"
#include "gtest/gtest.h"

namespace spicegate {
namespace {

// One direction of a transfer; Turn() moves what can be moved.
struct Transfer {
  TlsStream* from;
  TlsStream* to;
  const Bytes data;
  size_t sent = 0;
  Bytes received = {};

  void Turn() {
    if (sent < data.size()) {
      // A copy: a retried write may come from another address.
      const auto begin = data.begin() + static_cast<ptrdiff_t>(sent);
      const size_t len = std::min<size_t>(data.size() - sent, 20'000);
      const Bytes rest(begin, begin + static_cast<ptrdiff_t>(len));
      const ssize_t n = from->Write(rest);
      ASSERT_TRUE(n > 0 || n == -EAGAIN) << n;
      sent += n > 0 ? static_cast<size_t>(n) : 0;
    }
    uint8_t buffer[20'000];
    const ssize_t n = to->Read(buffer);
    ASSERT_TRUE(n > 0 || n == -EAGAIN) << n;
    received.insert(received.end(), buffer, buffer + std::max<ssize_t>(n, 0));
  }
  bool done() const { return received.size() >= data.size(); }
};

void ExpectTransfers(TlsPair* pair, size_t len) {
  Transfer up{pair->client.get(), pair->server.get(), Pattern(len)};
  Transfer down{pair->server.get(), pair->client.get(), Pattern(len + 17)};
  for (int turn = 0; turn < 1'000'000 && !(up.done() && down.done()); ++turn) {
    ASSERT_NO_FATAL_FAILURE(up.Turn());
    ASSERT_NO_FATAL_FAILURE(down.Turn());
  }
  EXPECT_EQ(up.received == up.data, true);
  EXPECT_EQ(down.received == down.data, true);
}

// ---- Handshakes that succeed.

class TlsMatrix
    : public testing::TestWithParam<std::tuple<
          uint16_t /*version*/, int /*rsa_bits*/, uint32_t /*seed*/>> {};

TEST_P(TlsMatrix, MovesDataBothWays) {
  const auto [version, rsa_bits, seed] = GetParam();
  TlsPair pair(ClientUpTo(version), ServerContext(rsa_bits), seed);
  ASSERT_TRUE(pair.RunHandshakes());
  ASSERT_EQ(pair.client_result, 0) << pair.client->failure_detail();
  ASSERT_EQ(pair.server_result, 0) << pair.server->failure_detail();
  const TlsVersion expected =
      version == TLS1_3_VERSION ? TlsVersion::kTls13 : TlsVersion::kTls12;
  EXPECT_EQ(pair.client->version(), expected);
  EXPECT_EQ(pair.server->version(), expected);
  EXPECT_NE(pair.server->suite(), TlsSuite::kOther);
  EXPECT_EQ(pair.server->suite(), pair.client->suite());
  ExpectTransfers(&pair, seed == 0 ? 3'000'000 : 200'000);
}

INSTANTIATE_TEST_SUITE_P(All, TlsMatrix,
                         testing::Combine(testing::Values(TLS1_2_VERSION,
                                                          TLS1_3_VERSION),
                                          testing::Values(0, 2048),
                                          testing::Values(0, 1, 2, 3, 4, 5)));

TEST(TlsStream, KnowsItsSuites) {
  const std::pair<const char*, TlsSuite> kSuites[] = {
      {"ECDHE-ECDSA-AES128-GCM-SHA256", TlsSuite::kAes128Gcm},
      {"ECDHE-ECDSA-AES256-GCM-SHA384", TlsSuite::kAes256Gcm},
      {"ECDHE-ECDSA-CHACHA20-POLY1305", TlsSuite::kChaCha20Poly1305}};
  for (const auto& [name, suite] : kSuites) {
    auto client = ClientUpTo(TLS1_2_VERSION);
    ASSERT_TRUE(SSL_CTX_set_strict_cipher_list(client->ssl_context(), name));
    TlsPair pair(client, ServerContext());
    ASSERT_TRUE(pair.RunHandshakes());
    ASSERT_EQ(pair.server_result, 0) << name;
    EXPECT_EQ(pair.server->suite(), suite) << name;
    EXPECT_EQ(pair.client->suite(), suite) << name;
  }
}

TEST(TlsStream, IsNotConnectedBeforeTheHandshake) {
  TlsPair pair(ClientContext(), ServerContext());
  Bytes buffer(10);
  EXPECT_EQ(pair.client->Read(buffer), -ENOTCONN);
  EXPECT_EQ(pair.client->Write(buffer), -ENOTCONN);
  EXPECT_EQ(pair.client->failure(), TlsFailure::kNone);
}

TEST(TlsStream, TakesNothingBeyondTheHandshake) {
  for (const uint16_t version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    // With 1.3 the client is done first: its data stands behind its Finished.
    TlsPair early(ClientUpTo(version), ServerContext(), 0, &kWholeOffload);
    while (early.client->Handshake() == -EAGAIN) {
      early.server_result = early.server->Handshake();
    }
    const size_t before = early.to_server->bytes.size();
    ASSERT_EQ(early.client->Write(BytesOf("early")), 5);
    const size_t data_len = early.to_server->bytes.size() - before;
    ASSERT_EQ(early.server->Handshake(), 0);
    EXPECT_EQ(early.to_server->bytes.size(), data_len);
    EXPECT_EQ(ReadAvailable(early.server.get()), BytesOf("early"));
  }
}

TEST(TlsStream, ManyThreadsShareTheContexts) {
  const auto client = ClientContext();
  const auto server = ServerContext();
  std::array<int, 4> num_good = {};
  std::vector<std::thread> threads;
  for (int& good : num_good) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        TlsPair pair(client, server);
        const bool ended = pair.RunHandshakes();
        good += ended && pair.client_result == 0 ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const int good : num_good) {
    EXPECT_EQ(good, 10);
  }
}

// ---- Handshakes that fail.

TEST(TlsStream, RefusesAnotherCa) {
  const TestCertificate other = MakeTestCertificate(
      {.subject = {{"CN", "other CA"}}, .is_ca = true}, nullptr);
  TlsPair pair(ClientContext("O=Lab,CN=hv1", "", other), ServerContext());
  ASSERT_TRUE(pair.RunHandshakes());
  EXPECT_EQ(pair.client_result, -EKEYREJECTED);
  EXPECT_EQ(pair.client->failure(), TlsFailure::kChain);
  EXPECT_EQ(pair.client->failure_detail(),
            "unable to get local issuer certificate");
  EXPECT_EQ(pair.server_result, -EPROTO);
  EXPECT_EQ(pair.server->failure(), TlsFailure::kProtocol);
  EXPECT_EQ(pair.server->failure_detail(), "TLSV1_ALERT_UNKNOWN_CA");
  EXPECT_EQ(pair.client->Handshake(), -EKEYREJECTED) << "not for good";
}

TEST(TlsStream, RefusesAnExpiredCertificate) {
  TestCertificateSpec spec = HypervisorSpec();
  spec.valid_for_s = -3600;
  const TestCertificate expired = MakeTestCertificate(spec, &Ca());
  const auto server = ServerTlsContext::Create(expired.pem(), expired.key_pem(),
                                               TlsVersion::kTls12);
  ASSERT_TRUE(server.ok());
  TlsPair pair(ClientContext(), *server);
  ASSERT_TRUE(pair.RunHandshakes());
  EXPECT_EQ(pair.client->failure(), TlsFailure::kChain);
  EXPECT_EQ(pair.client->failure_detail(), "certificate has expired");
}

TEST(TlsStream, ComparesTheSubjectAloneWhenThereIsOne) {
  for (const uint32_t seed : {0, 7}) {
    TlsPair right(ClientContext("O=Lab,CN=hv1", "another.example"),
                  ServerContext(), seed);
    ASSERT_TRUE(right.RunHandshakes());
    EXPECT_EQ(right.client_result, 0) << right.client->failure_detail();

    TlsPair wrong(ClientContext("O=Lab,CN=hv2", "hv1.example"), ServerContext(),
                  seed);
    ASSERT_TRUE(wrong.RunHandshakes());
    EXPECT_EQ(wrong.client_result, -EKEYREJECTED);
    EXPECT_EQ(wrong.client->failure(), TlsFailure::kSubject);
    EXPECT_NE(wrong.server_result, 0);
  }
}

TEST(TlsStream, ComparesTheHostOtherwise) {
  for (const char* host : {"hv1.example", "HV1.Example.", "127.0.0.1"}) {
    TlsPair right(ClientContext("", host), ServerContext());
    ASSERT_TRUE(right.RunHandshakes());
    EXPECT_EQ(right.client_result, 0) << host;
  }
  for (const char* host : {"hv2.example", "hv1", "127.0.0.2", "::1"}) {
    TlsPair wrong(ClientContext("", host), ServerContext());
    ASSERT_TRUE(wrong.RunHandshakes());
    EXPECT_EQ(wrong.client->failure(), TlsFailure::kName) << host;
    EXPECT_EQ(wrong.client_result, -EKEYREJECTED) << host;
  }
}

TEST(TlsStream, SendsSniForNamesOnly) {
  const auto sni = [](const char* host) {
    TlsPair pair(ClientContext("O=Lab,CN=hv1", host), ServerContext());
    EXPECT_TRUE(pair.RunHandshakes());
    const char* name = SSL_get_servername(
        TlsStreamTestPeer::Ssl(pair.server.get()), TLSEXT_NAMETYPE_host_name);
    return std::string(name != nullptr ? name : "(none)");
  };
  EXPECT_EQ(sni("hv1.example."), "hv1.example");
  EXPECT_EQ(sni("127.0.0.1"), "(none)");
  EXPECT_EQ(sni("fe80::1"), "(none)");
  EXPECT_EQ(sni(""), "(none)");
}

TEST(TlsStream, SaysThatThePeerEnded) {
  TlsPair pair(ClientContext(), ServerContext());
  ASSERT_EQ(pair.client->Handshake(), -EAGAIN);
  EXPECT_EQ(pair.client->HandshakeWait(), Ready::kReadable);
  pair.to_client->ended = true;
  EXPECT_EQ(pair.client->Handshake(), -ENODATA);
  EXPECT_EQ(pair.client->failure(), TlsFailure::kPeerGone);
}

TEST(TlsStream, SaysThatThePeerEndedAtAnyByteOfTheHandshake) {
  TlsPair whole(ClientContext(), ServerContext());
  ASSERT_EQ(whole.client->Handshake(), -EAGAIN);
  ASSERT_EQ(whole.server->Handshake(), -EAGAIN);
  const size_t flight_len = whole.to_client->bytes.size();
  for (size_t len = 0; len < flight_len; len += len < 200 ? 1 : 37) {
    TlsPair pair(ClientContext(), ServerContext());
    ASSERT_EQ(pair.client->Handshake(), -EAGAIN);
    ASSERT_EQ(pair.server->Handshake(), -EAGAIN);
    pair.to_client->bytes.resize(std::min(len, pair.to_client->bytes.size()));
    pair.to_client->ended = true;
    ASSERT_EQ(pair.client->Handshake(), -ENODATA) << len;
    ASSERT_EQ(pair.client->failure(), TlsFailure::kPeerGone) << len;
  }
}

TEST(TlsStream, PassesOnTheLowerError) {
  TlsPair pair(ClientContext(), ServerContext());
  ASSERT_EQ(pair.client->Handshake(), -EAGAIN);
  pair.to_client->error = -ECONNRESET;
  EXPECT_EQ(pair.client->Handshake(), -ECONNRESET);
  EXPECT_EQ(pair.client->failure(), TlsFailure::kPeerGone);
}

TEST(TlsStream, RefusesWhatIsNotTls) {
  TlsPair pair(ClientContext(), ServerContext());
  const Bytes redq = BytesOf("REDQ\2\0\0\0\2\0\0\0\x1a\0\0\0");
  pair.to_server->bytes.assign(redq.begin(), redq.end());
  EXPECT_EQ(pair.server->Handshake(), -EPROTO);
  EXPECT_EQ(pair.server->failure(), TlsFailure::kProtocol);
  EXPECT_FALSE(pair.server->failure_detail().empty());
}

TEST(TlsStream, RefusesAnOlderVersion) {
  TlsPair pair(ClientUpTo(TLS1_2_VERSION),
               ServerContext(0, TlsVersion::kTls13));
  ASSERT_TRUE(pair.RunHandshakes());
  EXPECT_EQ(pair.server_result, -EPROTO);
  EXPECT_EQ(pair.server->failure_detail(), "UNSUPPORTED_PROTOCOL");
  EXPECT_EQ(pair.client_result, -EPROTO);
  EXPECT_EQ(pair.client->failure_detail(), "TLSV1_ALERT_PROTOCOL_VERSION");
}

TEST(TlsStream, RefusesTls11) {
  auto client = ClientUpTo(TLS1_2_VERSION);
  SSL_CTX* const ctx = client->ssl_context();
  ASSERT_TRUE(SSL_CTX_set_min_proto_version(ctx, TLS1_1_VERSION));
  ASSERT_TRUE(SSL_CTX_set_cipher_list(ctx, "ALL"));
  ASSERT_TRUE(SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION));
  TlsPair pair(client, ServerContext());
  ASSERT_TRUE(pair.RunHandshakes());
  EXPECT_EQ(pair.server_result, -EPROTO);
}

TEST(TlsStream, RefusesSuitesWithoutAead) {
  auto client = ClientUpTo(TLS1_2_VERSION);
  ASSERT_TRUE(
      SSL_CTX_set_cipher_list(client->ssl_context(),
                              "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
                              "AES128-SHA:AES128-GCM-SHA256"));
  TlsPair pair(client, ServerContext(2048));
  ASSERT_TRUE(pair.RunHandshakes());
  EXPECT_EQ(pair.server_result, -EPROTO);
  EXPECT_EQ(pair.server->failure_detail(), "NO_SHARED_CIPHER");
}

}  // namespace
}  // namespace spicegate
