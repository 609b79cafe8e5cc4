// SPDX-License-Identifier: Apache-2.0
//
// Contexts and bytes that the tests of TlsStream share.
#ifndef SPICEGATE_GATEWAY_TLS_TLS_STREAM_TEST_CONTEXTS_H_
#define SPICEGATE_GATEWAY_TLS_TLS_STREAM_TEST_CONTEXTS_H_

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gateway/tls/client_context.h"
#include "gateway/tls/server_context.h"
#include "gateway/tls/test_certificate.h"
#include "gateway/tls/tls_stream.h"
#include "gtest/gtest.h"

namespace spicegate {

using Bytes = std::vector<uint8_t>;

inline const TestCertificate& Ca() {
  static const TestCertificate ca = MakeTestCertificate(
      {.subject = {{"CN", "test CA"}}, .is_ca = true}, nullptr);
  return ca;
}

inline TestCertificateSpec HypervisorSpec(int rsa_bits = 0) {
  return {.subject = {{"O", "Lab"}, {"CN", "hv1"}},
          .sans = "DNS:hv1.example,IP:127.0.0.1",
          .rsa_bits = rsa_bits};
}

inline const TestCertificate& Hypervisor(int rsa_bits) {
  static const TestCertificate ecdsa =
      MakeTestCertificate(HypervisorSpec(), &Ca());
  static const TestCertificate rsa =
      MakeTestCertificate(HypervisorSpec(2048), &Ca());
  return rsa_bits == 0 ? ecdsa : rsa;
}

inline std::shared_ptr<const ServerTlsContext> ServerContext(
    int rsa_bits = 0, TlsVersion min_version = TlsVersion::kTls12) {
  const TestCertificate& certificate = Hypervisor(rsa_bits);
  auto context = ServerTlsContext::Create(certificate.pem(),
                                          certificate.key_pem(), min_version);
  EXPECT_TRUE(context.ok()) << context.status();
  return *context;
}

inline std::shared_ptr<const ClientTlsContext> ClientContext(
    const std::string& subject = "O=Lab,CN=hv1", const std::string& host = "",
    const TestCertificate& ca = Ca()) {
  auto context = ClientTlsContext::Create(ca.pem(), subject, host);
  EXPECT_TRUE(context.ok()) << context.status();
  return *context;
}

// A client that speaks at most `max_version`.
inline std::shared_ptr<const ClientTlsContext> ClientUpTo(
    uint16_t max_version) {
  auto context = ClientContext();
  EXPECT_TRUE(
      SSL_CTX_set_max_proto_version(context->ssl_context(), max_version));
  return context;
}

inline Bytes Pattern(size_t len) {
  Bytes bytes(len);
  for (size_t i = 0; i < len; ++i) {
    bytes[i] = static_cast<uint8_t>(i * 2654435761U >> 11);
  }
  return bytes;
}

inline Bytes BytesOf(const std::string& text) {
  return Bytes(text.begin(), text.end());
}

// What `stream` reads until -EAGAIN, the end (*ended) or an error.
inline Bytes ReadAvailable(TlsStream* stream, bool* ended = nullptr) {
  Bytes all;
  uint8_t buffer[4096];
  ssize_t n;
  while ((n = stream->Read(buffer)) > 0) {
    all.insert(all.end(), buffer, buffer + n);
  }
  if (ended != nullptr) {
    *ended = n == 0;
  }
  return all;
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_TLS_STREAM_TEST_CONTEXTS_H_
