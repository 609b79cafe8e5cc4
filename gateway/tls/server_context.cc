// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/server_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <optional>
#include <vector>

#include "gateway/tls/peer_identity.h"
#include "gateway/tls/pem.h"

namespace spicegate {
namespace {

// Viewers on today's distributions refuse less.
constexpr int kMinRsaBits = 2048;

absl::Status CheckKeyType(const EVP_PKEY* key) {
  const int type = EVP_PKEY_id(key);
  if (type == EVP_PKEY_EC) {
    return absl::OkStatus();
  }
  if (type != EVP_PKEY_RSA) {
    return absl::InvalidArgumentError("the key is neither RSA nor ECDSA");
  }
  if (EVP_PKEY_bits(key) < kMinRsaBits) {
    return absl::InvalidArgumentError(
        "the RSA key has fewer than 2048 bits; viewers refuse it");
  }
  return absl::OkStatus();
}

// Makes `ctx` show `chain` and sign with `key`.
absl::Status Use(SSL_CTX* ctx, const std::vector<bssl::UniquePtr<X509>>& chain,
                 EVP_PKEY* key) {
  X509* const leaf = chain.front().get();
  const absl::Status type = CheckKeyType(key);
  if (!type.ok()) {
    return type;
  }
  if (X509_check_private_key(leaf, key) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(
        "the key does not belong to the first certificate");
  }
  bool used = SSL_CTX_use_certificate(ctx, leaf) == 1 &&
              SSL_CTX_use_PrivateKey(ctx, key) == 1;
  for (size_t i = 1; used && i < chain.size(); ++i) {
    used = SSL_CTX_add1_chain_cert(ctx, chain[i].get()) == 1;
  }
  if (!used) {
    return absl::InvalidArgumentError("the certificate cannot be used: " +
                                      TakeSslError());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ServerTlsContext>>
ServerTlsContext::Create(const std::string& certificate_chain_pem,
                         const std::string& key_pem, TlsVersion min_version) {
  SslContextPtr ssl_context = NewSslContext(min_version);
  if (ssl_context == nullptr) {
    return absl::InternalError("no TLS context: " + TakeSslError());
  }
  std::shared_ptr<ServerTlsContext> context(
      new ServerTlsContext(std::move(ssl_context)));
  const absl::Status loaded = context->Load(certificate_chain_pem, key_pem);
  if (!loaded.ok()) {
    return loaded;
  }
  return std::shared_ptr<const ServerTlsContext>(std::move(context));
}

absl::Status ServerTlsContext::Load(const std::string& certificate_chain_pem,
                                    const std::string& key_pem) {
  const auto chain = ParseCertificates(certificate_chain_pem);
  if (!chain.ok()) {
    return chain.status();
  }
  const auto key = ParsePrivateKey(key_pem);
  if (!key.ok()) {
    return key.status();
  }
  const absl::Status used = Use(ssl_context_.get(), *chain, key->get());
  if (!used.ok()) {
    return used;
  }
  X509* const leaf = chain->front().get();
  X509* const last = chain->back().get();
  const std::optional<int64_t> not_after = NotAfterUnixS(leaf);
  if (!not_after) {
    return absl::InvalidArgumentError("the certificate has no readable expiry");
  }
  not_after_unix_s_ = *not_after;
  certificate_pem_ = CertificateToPem(leaf);
  subject_ = SubjectOf(leaf);
  is_self_signed_ = IsSelfSigned(leaf);
  trust_anchor_pem_ = IsSelfSigned(last) ? CertificateToPem(last) : "";
  return absl::OkStatus();
}

}  // namespace spicegate
