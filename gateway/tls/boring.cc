// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/boring.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/is_boringssl.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#ifndef OPENSSL_IS_BORINGSSL
#error "the headers of OpenSSL were found in place of BoringSSL's"
#endif

namespace spicegate {

void BoringFree::operator()(ssl_ctx_st* context) const {
  SSL_CTX_free(context);
}

void BoringFree::operator()(ssl_st* ssl) const { SSL_free(ssl); }

void BoringFree::operator()(ssl_session_st* session) const {
  SSL_SESSION_free(session);
}

void BoringFree::operator()(X509_name_st* name) const { X509_NAME_free(name); }

void BoringFree::operator()(x509_st* certificate) const {
  X509_free(certificate);
}

void BoringFree::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

SslContextPtr NewSslContext(TlsVersion min_version) {
  SslContextPtr context(SSL_CTX_new(TLS_method()));
  if (context == nullptr) {
    return nullptr;
  }
  SSL_CTX* const ctx = context.get();
  const uint16_t min =
      min_version == TlsVersion::kTls13 ? TLS1_3_VERSION : TLS1_2_VERSION;
  // TLS 1.3's suites cannot be chosen and are all of this kind.
  constexpr char kSuites[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
  if (!SSL_CTX_set_min_proto_version(ctx, min) ||
      !SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) ||
      !SSL_CTX_set_strict_cipher_list(ctx, kSuites)) {
    return nullptr;
  }
  SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  // A retried write comes from wherever the pump keeps its bytes by then.
  SSL_CTX_set_mode(
      ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return context;
}

std::string TakeSslError() {
  const char* reason = ERR_reason_error_string(ERR_peek_error());
  std::string text = reason != nullptr ? reason : "unknown";
  ERR_clear_error();
  return text;
}

}  // namespace spicegate
