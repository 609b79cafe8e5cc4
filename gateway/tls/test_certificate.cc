// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/test_certificate.h"

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/nid.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <ctime>

#include "gateway/base/check.h"
#include "gateway/tls/pem.h"

namespace spicegate {
namespace {

int CurveOf(int bits) {
  return bits == 256   ? NID_X9_62_prime256v1
         : bits == 384 ? NID_secp384r1
                       : NID_secp521r1;
}

bssl::UniquePtr<EVP_PKEY> MakeKey(const TestCertificateSpec& spec) {
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  if (spec.rsa_bits == 0) {
    bssl::UniquePtr<EC_KEY> ec(
        EC_KEY_new_by_curve_name(CurveOf(spec.ecdsa_bits)));
    CHECK(EC_KEY_generate_key(ec.get()));
    CHECK(EVP_PKEY_set1_EC_KEY(key.get(), ec.get()));
    return key;
  }
  bssl::UniquePtr<BIGNUM> exponent(BN_new());
  bssl::UniquePtr<RSA> rsa(RSA_new());
  CHECK(BN_set_word(exponent.get(), RSA_F4));
  CHECK(RSA_generate_key_ex(rsa.get(), spec.rsa_bits, exponent.get(), nullptr));
  CHECK(EVP_PKEY_set1_RSA(key.get(), rsa.get()));
  return key;
}

bssl::UniquePtr<X509_NAME> MakeName(const TestCertificateSpec& spec) {
  bssl::UniquePtr<X509_NAME> name(X509_NAME_new());
  for (const auto& [key, value] : spec.subject) {
    const bool joins = key.starts_with('+');
    const auto* data = reinterpret_cast<const uint8_t*>(value.data());
    CHECK(X509_NAME_add_entry_by_txt(
        name.get(), key.c_str() + (joins ? 1 : 0), MBSTRING_UTF8, data,
        static_cast<int>(value.size()), -1, joins ? -1 : 0));
  }
  return name;
}

void AddExtension(X509* x509, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, x509, x509, nullptr, nullptr, 0);
  bssl::UniquePtr<X509_EXTENSION> extension(
      X509V3_EXT_nconf_nid(nullptr, &context, nid, value.c_str()));
  CHECK(extension != nullptr);
  CHECK(X509_add_ext(x509, extension.get(), -1));
}

}  // namespace

std::string TestCertificate::pem() const {
  return CertificateToPem(x509.get());
}

std::string TestCertificate::key_pem() const {
  return PrivateKeyToPem(key.get());
}

TestCertificate MakeTestCertificate(const TestCertificateSpec& spec,
                                    const TestCertificate* issuer) {
  TestCertificate made{bssl::UniquePtr<X509>(X509_new()), MakeKey(spec)};
  X509* const x509 = made.x509.get();
  const std::time_t now = std::time(nullptr);
  const bssl::UniquePtr<ASN1_TIME> from(
      ASN1_TIME_set(nullptr, now + spec.valid_in_s));
  const bssl::UniquePtr<ASN1_TIME> to(
      ASN1_TIME_set(nullptr, now + spec.valid_for_s));
  const bssl::UniquePtr<X509_NAME> name = MakeName(spec);
  CHECK(X509_set_version(x509, X509_VERSION_3));
  CHECK(X509_set1_notBefore(x509, from.get()));
  CHECK(X509_set1_notAfter(x509, to.get()));
  CHECK(X509_set_subject_name(x509, name.get()));
  CHECK(X509_set_issuer_name(
      x509, issuer != nullptr ? X509_get_subject_name(issuer->x509.get())
                              : name.get()));
  CHECK(X509_set_pubkey(x509, made.key.get()));
  AddExtension(x509, NID_basic_constraints,
               spec.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  if (!spec.sans.empty()) {
    AddExtension(x509, NID_subject_alt_name, spec.sans);
  }
  if (!spec.extended_usage.empty()) {
    AddExtension(x509, NID_ext_key_usage, spec.extended_usage);
  }
  CHECK(X509_sign(x509, issuer != nullptr ? issuer->key.get() : made.key.get(),
                  EVP_sha256()));
  return made;
}

}  // namespace spicegate
