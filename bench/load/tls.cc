// SPDX-License-Identifier: Apache-2.0
#include "bench/load/tls.h"

#include <openssl/asn1.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/x509.h>

namespace spicegate {
namespace {

bssl::UniquePtr<EVP_PKEY> MakeKey() {
  bssl::UniquePtr<EC_KEY> ec(EC_KEY_new_by_curve_name(NID_X9_62_prime256v1));
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  if (ec == nullptr || key == nullptr || EC_KEY_generate_key(ec.get()) != 1 ||
      EVP_PKEY_set1_EC_KEY(key.get(), ec.get()) != 1) {
    return nullptr;
  }
  return key;
}

bssl::UniquePtr<X509> MakeCertificate(EVP_PKEY* key) {
  bssl::UniquePtr<X509> certificate(X509_new());
  X509* const x509 = certificate.get();
  if (x509 == nullptr) {
    return nullptr;
  }
  X509_NAME* const name = X509_get_subject_name(x509);
  const bool made =
      X509_set_version(x509, 2) == 1 &&
      ASN1_INTEGER_set(X509_get_serialNumber(x509), 1) == 1 &&
      X509_gmtime_adj(X509_get_notBefore(x509), -3600) != nullptr &&
      X509_gmtime_adj(X509_get_notAfter(x509), 24 * 3600) != nullptr &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const uint8_t*>("localhost"),
                                 -1, -1, 0) == 1 &&
      X509_set_issuer_name(x509, name) == 1 &&
      X509_set_pubkey(x509, key) == 1 && X509_sign(x509, key, EVP_sha256()) > 0;
  return made ? std::move(certificate) : nullptr;
}

// The suites of TLS 1.2; TLS 1.3 has all of them always.
const char* SuitesOfTls12(TlsCipher cipher) {
  switch (cipher) {
    case TlsCipher::kAes128Gcm:
      return "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256";
    case TlsCipher::kAes256Gcm:
      return "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
    case TlsCipher::kChaCha20Poly1305:
      return "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
    default:
      return "ECDHE+AESGCM:ECDHE+CHACHA20";
  }
}

int NidOf(TlsCipher cipher) {
  switch (cipher) {
    case TlsCipher::kAes128Gcm:
      return NID_aes_128_gcm;
    case TlsCipher::kAes256Gcm:
      return NID_aes_256_gcm;
    case TlsCipher::kChaCha20Poly1305:
      return NID_chacha20_poly1305;
    default:
      return NID_undef;
  }
}

}  // namespace

TlsContext::TlsContext(SSL_CTX* context, const TlsOptions& options,
                       bool is_server)
    : context_(context), options_(options), is_server_(is_server) {
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_app_data(context, this);
  SSL_CTX_set_info_callback(context, OnInfo);
}

std::unique_ptr<TlsContext> TlsContext::Server() {
  SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
  if (context == nullptr) {
    return nullptr;
  }
  std::unique_ptr<TlsContext> result(new TlsContext(context, {}, true));
  const bssl::UniquePtr<EVP_PKEY> key = MakeKey();
  const bssl::UniquePtr<X509> certificate =
      key == nullptr ? nullptr : MakeCertificate(key.get());
  if (certificate == nullptr ||
      SSL_CTX_use_certificate(context, certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return nullptr;
  }
  return result;
}

std::unique_ptr<TlsContext> TlsContext::Client(const TlsOptions& options) {
  SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
  if (context == nullptr) {
    return nullptr;
  }
  std::unique_ptr<TlsContext> result(new TlsContext(context, options, false));
  return result->ConfigureClient() ? std::move(result) : nullptr;
}

bool TlsContext::ConfigureClient() {
  SSL_CTX* const context = context_.get();
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  if (options_.resume) {
    SSL_CTX_set_session_cache_mode(
        context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, OnTicket);
  } else {
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  }
  return SSL_CTX_set_min_proto_version(context, options_.version) == 1 &&
         SSL_CTX_set_max_proto_version(context, options_.version) == 1 &&
         SSL_CTX_set_strict_cipher_list(context,
                                        SuitesOfTls12(options_.cipher)) == 1 &&
         SSL_CTX_set1_curves_list(context, "X25519:P-256") == 1;
}

bssl::UniquePtr<SSL> TlsContext::NewSession(int fd) const {
  bssl::UniquePtr<SSL> ssl(SSL_new(context_.get()));
  if (ssl == nullptr || SSL_set_fd(ssl.get(), fd) != 1) {
    return nullptr;
  }
  if (is_server_) {
    SSL_set_accept_state(ssl.get());
  } else {
    SSL_set_connect_state(ssl.get());
  }
  if (newest_ != nullptr && SSL_set_session(ssl.get(), newest_.get()) != 1) {
    return nullptr;
  }
  return ssl;
}

// ---- What came of it.

void TlsContext::OnInfo(const SSL* ssl, int what, int) {
  if (what == SSL_CB_HANDSHAKE_DONE) {
    static_cast<TlsContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)))
        ->Count(ssl);
  }
}

int TlsContext::OnTicket(SSL* ssl, SSL_SESSION* session) {
  static_cast<TlsContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)))
      ->newest_.reset(session);
  return 1;  // The session is ours.
}

void TlsContext::Count(const SSL* ssl) {
  const SSL_CIPHER* const cipher = SSL_get_current_cipher(ssl);
  ++counts_.handshakes;
  counts_.resumed += SSL_session_reused(ssl) != 0 ? 1 : 0;
  counts_.last = std::string(SSL_get_version(ssl)) + " " +
                 SSL_CIPHER_standard_name(cipher);
  if (options_.cipher != TlsCipher::kAny &&
      SSL_CIPHER_get_cipher_nid(cipher) != NidOf(options_.cipher)) {
    ++counts_.unwanted;
    counts_.last_unwanted = counts_.last;
  }
}

}  // namespace spicegate
