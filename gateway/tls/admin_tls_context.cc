// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/admin_tls_context.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>

#include "gateway/tls/client_names.h"
#include "gateway/tls/pem.h"

namespace spicegate {
namespace {

// Certificates between a client's and its CA; nobody has more than two.
constexpr int kMaxChainDepth = 8;

// Of clients' handshakes; BoringSSL's own list has SHA-1.
constexpr std::array<uint16_t, 10> kSignatures = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384,
    SSL_SIGN_ECDSA_SECP521R1_SHA512, SSL_SIGN_ED25519,
    SSL_SIGN_RSA_PSS_RSAE_SHA256,    SSL_SIGN_RSA_PSS_RSAE_SHA384,
    SSL_SIGN_RSA_PSS_RSAE_SHA512,    SSL_SIGN_RSA_PKCS1_SHA256,
    SSL_SIGN_RSA_PKCS1_SHA384,       SSL_SIGN_RSA_PKCS1_SHA512};

}  // namespace

absl::StatusOr<std::shared_ptr<AdminTlsContext>> AdminTlsContext::Create(
    const ServerCertificate& certificate) {
  SslContextPtr ssl_context = NewSslContext(TlsVersion::kTls12);
  SSL_CTX* const ctx = ssl_context.get();
  if (ctx == nullptr || !UseCertificate(ctx, certificate)) {
    return absl::InternalError("no TLS context: " + TakeSslError());
  }
  return std::shared_ptr<AdminTlsContext>(
      new AdminTlsContext(std::move(ssl_context)));
}

absl::Status AdminTlsContext::RequireClients(const std::string& ca_pem,
                                             std::vector<std::string> names) {
  const auto anchors = ParseCertificates(ca_pem);
  if (!anchors.ok()) {
    return anchors.status();
  }
  SSL_CTX* const ctx = ssl_context_.get();
  X509_STORE* const store = SSL_CTX_get_cert_store(ctx);
  for (const auto& anchor : *anchors) {
    // Clients choose their certificate by the names that we send.
    if (X509_STORE_add_cert(store, anchor.get()) != 1 ||
        SSL_CTX_add_client_CA(ctx, anchor.get()) != 1) {
      return absl::InvalidArgumentError("a CA cannot be used: " +
                                        TakeSslError());
    }
    clients_until_unix_s_ = std::max(clients_until_unix_s_,
                                     NotAfterUnixS(anchor.get()).value_or(0));
  }
  if (SSL_CTX_set_verify_algorithm_prefs(ctx, kSignatures.data(),
                                         kSignatures.size()) != 1) {
    return absl::InternalError("no TLS context: " + TakeSslError());
  }
  client_names_ = std::move(names);
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                     nullptr);
  SSL_CTX_set_verify_depth(ctx, kMaxChainDepth);
  SSL_CTX_set_cert_verify_callback(ctx, VerifyClient, this);
  return absl::OkStatus();
}

int AdminTlsContext::VerifyClient(x509_store_ctx_st* store, void* context) {
  const auto* self = static_cast<const AdminTlsContext*>(context);
  const auto* ssl = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* verdict = static_cast<TlsVerdict*>(SSL_get_app_data(ssl));
  // BoringSSL has set the purpose: a client of TLS.
  if (X509_verify_cert(store) != 1) {
    verdict->failure = TlsFailure::kChain;
    verdict->detail =
        X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
    return 0;
  }
  if (self->client_names_.empty() ||
      HasClientName(X509_STORE_CTX_get0_cert(store), self->client_names_)) {
    return 1;
  }
  verdict->failure = TlsFailure::kName;
  verdict->detail = "the certificate has none of the names that may enter";
  // Makes the alert bad_certificate.
  X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
  return 0;
}

}  // namespace spicegate
