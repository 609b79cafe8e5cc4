// SPDX-License-Identifier: Apache-2.0
//
// A client that says hello to a ServerTlsContext the way a test wants it.
#ifndef SPICEGATE_GATEWAY_TLS_SERVER_CONTEXT_TEST_CLIENT_H_
#define SPICEGATE_GATEWAY_TLS_SERVER_CONTEXT_TEST_CLIENT_H_

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstdint>
#include <string>
#include <vector>

#include "gateway/tls/pem.h"
#include "gateway/tls/server_context.h"
#include "gateway/tls/test_certificate.h"
#include "gtest/gtest.h"

namespace spicegate {

struct HelloSpec {
  std::string server_name = {};  // empty: none is sent
  uint16_t version = TLS1_3_VERSION;
  std::vector<uint16_t> algorithms = {};  // empty: BoringSSL's
  std::string tls12_ciphers = {};         // empty: BoringSSL's
  SSL_SESSION* session = nullptr;         // to resume
};

struct HelloResult {
  bool completed = false;
  bool resumed = false;
  int num_tickets = 0;      // that came
  std::string certificate;  // PEM of what the server showed
  std::string cipher;
  bssl::UniquePtr<SSL_SESSION> session;  // of the last ticket
};

namespace internal {

inline int KeepSession(SSL* ssl, SSL_SESSION* session) {
  auto* result = static_cast<HelloResult*>(SSL_get_app_data(ssl));
  result->session.reset(session);
  ++result->num_tickets;
  return 1;  // taken
}

inline bssl::UniquePtr<SSL_CTX> ClientContextFor(const HelloSpec& spec) {
  bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_method()));
  SSL_CTX* const ctx = context.get();
  SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
  SSL_CTX_sess_set_new_cb(ctx, KeepSession);
  EXPECT_TRUE(SSL_CTX_set_max_proto_version(ctx, spec.version));
  if (!spec.algorithms.empty()) {
    EXPECT_TRUE(SSL_CTX_set_verify_algorithm_prefs(ctx, spec.algorithms.data(),
                                                   spec.algorithms.size()));
  }
  if (!spec.tls12_ciphers.empty()) {
    EXPECT_TRUE(
        SSL_CTX_set_strict_cipher_list(ctx, spec.tls12_ciphers.c_str()));
  }
  return context;
}

// Both handshakes, then a byte each way, behind which tickets come.
inline bool Talk(SSL* client, SSL* server) {
  bool client_done = false;
  bool server_done = false;
  for (int turn = 0; turn < 20 && !(client_done && server_done); ++turn) {
    client_done = SSL_do_handshake(client) == 1;
    server_done = SSL_do_handshake(server) == 1;
  }
  uint8_t byte = 'x';
  const bool completed =
      client_done && server_done && SSL_write(client, &byte, 1) == 1 &&
      SSL_read(server, &byte, 1) == 1 && SSL_write(server, &byte, 1) == 1 &&
      SSL_read(client, &byte, 1) == 1;
  ERR_clear_error();
  return completed;
}

}  // namespace internal

inline HelloResult SayHello(const ServerTlsContext& context,
                            const HelloSpec& spec = {}) {
  HelloResult result;
  const auto ctx = internal::ClientContextFor(spec);
  const bssl::UniquePtr<SSL> client(SSL_new(ctx.get()));
  const bssl::UniquePtr<SSL> server(SSL_new(context.ssl_context()));
  BIO* client_bio = nullptr;
  BIO* server_bio = nullptr;
  EXPECT_TRUE(BIO_new_bio_pair(&client_bio, 0, &server_bio, 0));
  SSL_set_bio(client.get(), client_bio, client_bio);
  SSL_set_bio(server.get(), server_bio, server_bio);
  SSL_set_connect_state(client.get());
  SSL_set_accept_state(server.get());
  SSL_set_app_data(client.get(), &result);
  if (!spec.server_name.empty()) {
    EXPECT_TRUE(
        SSL_set_tlsext_host_name(client.get(), spec.server_name.c_str()));
  }
  if (spec.session != nullptr) {
    EXPECT_TRUE(SSL_set_session(client.get(), spec.session));
  }
  result.completed = internal::Talk(client.get(), server.get());
  if (!result.completed) {
    return result;
  }
  result.resumed = SSL_session_reused(server.get()) == 1;
  result.cipher = SSL_CIPHER_get_name(SSL_get_current_cipher(server.get()));
  const bssl::UniquePtr<X509> shown(SSL_get_peer_certificate(client.get()));
  result.certificate = CertificateToPem(shown.get());
  return result;
}

inline std::shared_ptr<const ServerCertificate> Parsed(
    const TestCertificate& certificate, const std::string& label = "") {
  auto parsed =
      ServerCertificate::Parse(certificate.pem(), certificate.key_pem(), label);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return *parsed;
}

// Self-signed, for those names.
inline TestCertificate CertificateFor(const std::string& sans,
                                      TestCertificateSpec spec = {}) {
  spec.sans = sans;
  return MakeTestCertificate(spec, nullptr);
}

inline std::shared_ptr<const ServerTlsContext> ContextOf(
    const std::vector<const TestCertificate*>& certificates,
    ServerTlsOptions options = {}) {
  ServerCertificates parsed;
  for (const TestCertificate* certificate : certificates) {
    parsed.push_back(Parsed(*certificate));
  }
  auto context = ServerTlsContext::Create(parsed, std::move(options));
  EXPECT_TRUE(context.ok()) << context.status();
  return *context;
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_SERVER_CONTEXT_TEST_CLIENT_H_
