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

void Configure(SSL_CTX* context) {
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
}

}  // namespace

std::unique_ptr<TlsContext> TlsContext::Server() {
  SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
  if (context == nullptr) {
    return nullptr;
  }
  std::unique_ptr<TlsContext> result(new TlsContext(context, true));
  Configure(context);
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

std::unique_ptr<TlsContext> TlsContext::Client() {
  SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
  if (context == nullptr) {
    return nullptr;
  }
  std::unique_ptr<TlsContext> result(new TlsContext(context, false));
  Configure(context);
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  return result;
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
  return ssl;
}

}  // namespace spicegate
