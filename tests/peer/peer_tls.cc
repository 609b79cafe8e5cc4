// SPDX-License-Identifier: Apache-2.0
#include "tests/peer/peer_tls.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>

namespace spicegate {
namespace {

void Must(bool ok, const char* what) {
  if (!ok) {
    std::fprintf(stderr, "%s\n", what);
    ERR_print_errors_fp(stderr);
    std::abort();
  }
}

// RSA because spice-server's own ciphers on Debian are tested with RSA too.
bssl::UniquePtr<EVP_PKEY> MakeRsaKey() {
  bssl::UniquePtr<BIGNUM> exponent(BN_new());
  bssl::UniquePtr<RSA> rsa(RSA_new());
  Must(BN_set_word(exponent.get(), RSA_F4) == 1, "BN_set_word");
  Must(RSA_generate_key_ex(rsa.get(), 2048, exponent.get(), nullptr) == 1,
       "RSA_generate_key_ex");
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  Must(EVP_PKEY_set1_RSA(key.get(), rsa.get()) == 1, "EVP_PKEY_set1_RSA");
  return key;
}

void AddName(X509_NAME* name, const char* field, const char* value) {
  Must(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                  reinterpret_cast<const uint8_t*>(value), -1,
                                  -1, 0) == 1,
       "X509_NAME_add_entry_by_txt");
}

void AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  bssl::UniquePtr<X509_EXTENSION> extension(
      X509V3_EXT_nconf_nid(nullptr, &context, nid, value));
  Must(extension != nullptr, value);
  Must(X509_add_ext(certificate, extension.get(), -1) == 1, "X509_add_ext");
}

bssl::UniquePtr<X509> MakeUnsigned(EVP_PKEY* key, const char* common_name) {
  bssl::UniquePtr<X509> certificate(X509_new());
  uint32_t serial;
  RAND_bytes(reinterpret_cast<uint8_t*>(&serial), sizeof(serial));
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()),
                   serial & 0x7fffffff);
  X509_gmtime_adj(X509_get_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_get_notAfter(certificate.get()), 24 * 3600);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME* name = X509_get_subject_name(certificate.get());
  AddName(name, "O", "Test");
  AddName(name, "CN", common_name);
  return certificate;
}

template <typename Write>
std::string ToPem(Write write) {
  bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  Must(write(bio.get()) == 1, "PEM");
  const uint8_t* data;
  size_t len;
  Must(BIO_mem_contents(bio.get(), &data, &len) == 1, "BIO_mem_contents");
  return std::string(reinterpret_cast<const char*>(data), len);
}

std::string CertificatePem(X509* certificate) {
  return ToPem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

template <typename Read>
auto FromPem(const std::string& pem, Read read) {
  bssl::UniquePtr<BIO> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return read(bio.get(), nullptr, nullptr, nullptr);
}

}  // namespace

PeerPki MakePeerPki() {
  bssl::UniquePtr<EVP_PKEY> ca_key = MakeRsaKey();
  bssl::UniquePtr<X509> ca = MakeUnsigned(ca_key.get(), "Test CA");
  X509_set_issuer_name(ca.get(), X509_get_subject_name(ca.get()));
  AddExtension(ca.get(), ca.get(), NID_basic_constraints, "critical,CA:TRUE");
  AddExtension(ca.get(), ca.get(), NID_key_usage,
               "critical,keyCertSign,cRLSign");
  Must(X509_sign(ca.get(), ca_key.get(), EVP_sha256()) != 0, "X509_sign");

  bssl::UniquePtr<EVP_PKEY> key = MakeRsaKey();
  bssl::UniquePtr<X509> leaf = MakeUnsigned(key.get(), "vm.example.test");
  X509_set_issuer_name(leaf.get(), X509_get_subject_name(ca.get()));
  AddExtension(leaf.get(), ca.get(), NID_subject_alt_name,
               "DNS:vm.example.test,DNS:localhost,IP:127.0.0.1");
  AddExtension(leaf.get(), ca.get(), NID_ext_key_usage, "serverAuth");
  Must(X509_sign(leaf.get(), ca_key.get(), EVP_sha256()) != 0, "X509_sign");

  PeerPki pki;
  pki.ca_certificate = CertificatePem(ca.get());
  pki.certificate = CertificatePem(leaf.get());
  pki.key = ToPem([&](BIO* bio) {
    return PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0,
                                    nullptr, nullptr);
  });
  return pki;
}

PeerTlsContext::PeerTlsContext(const SSL_METHOD* method)
    : context_(SSL_CTX_new(method)) {
  Must(context_ != nullptr, "SSL_CTX_new");
  SSL_CTX_set_mode(context_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

PeerTlsContext PeerTlsContext::Server(const PeerPki& pki) {
  PeerTlsContext result(TLS_server_method());
  bssl::UniquePtr<X509> certificate(
      FromPem(pki.certificate, PEM_read_bio_X509));
  bssl::UniquePtr<EVP_PKEY> key(FromPem(pki.key, PEM_read_bio_PrivateKey));
  Must(SSL_CTX_use_certificate(result.get(), certificate.get()) == 1,
       "SSL_CTX_use_certificate");
  Must(SSL_CTX_use_PrivateKey(result.get(), key.get()) == 1,
       "SSL_CTX_use_PrivateKey");
  return result;
}

PeerTlsContext PeerTlsContext::Client(uint16_t min_version,
                                      uint16_t max_version) {
  PeerTlsContext result(TLS_client_method());
  SSL_CTX_set_verify(result.get(), SSL_VERIFY_NONE, nullptr);
  Must(SSL_CTX_set_min_proto_version(result.get(), min_version) == 1 &&
           SSL_CTX_set_max_proto_version(result.get(), max_version) == 1,
       "TLS versions");
  return result;
}

}  // namespace spicegate
