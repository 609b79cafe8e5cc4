// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/server_certificate.h"

#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>
#include <optional>
#include <utility>

#include "gateway/tls/peer_identity.h"
#include "gateway/tls/pem.h"

namespace spicegate {
namespace {

// What we sign with: BoringSSL's own list without SHA-1.
constexpr std::array<uint16_t, 8> kSignWith = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA256,
    SSL_SIGN_RSA_PKCS1_SHA256,       SSL_SIGN_ECDSA_SECP384R1_SHA384,
    SSL_SIGN_RSA_PSS_RSAE_SHA384,    SSL_SIGN_RSA_PKCS1_SHA384,
    SSL_SIGN_RSA_PSS_RSAE_SHA512,    SSL_SIGN_RSA_PKCS1_SHA512};

// Viewers on today's distributions refuse less.
constexpr int kMinRsaBits = 2048;

absl::StatusOr<KeyKind> EcKindOf(const EVP_PKEY* key) {
  const EC_KEY* const ec = EVP_PKEY_get0_EC_KEY(key);
  const EC_GROUP* const group = ec != nullptr ? EC_KEY_get0_group(ec) : nullptr;
  switch (group != nullptr ? EC_GROUP_get_curve_name(group) : NID_undef) {
    case NID_X9_62_prime256v1:
      return KeyKind::kP256;
    case NID_secp384r1:
      return KeyKind::kP384;
    default:
      return absl::InvalidArgumentError(
          "the ECDSA key is neither on P-256 nor on P-384; viewers refuse it");
  }
}

absl::StatusOr<KeyKind> KindOf(const EVP_PKEY* key) {
  const int type = EVP_PKEY_id(key);
  if (type == EVP_PKEY_EC) {
    return EcKindOf(key);
  }
  if (type != EVP_PKEY_RSA) {
    return absl::InvalidArgumentError("the key is neither RSA nor ECDSA");
  }
  if (EVP_PKEY_bits(key) < kMinRsaBits) {
    return absl::InvalidArgumentError(
        "the RSA key has fewer than 2048 bits; viewers refuse it");
  }
  return KeyKind::kRsa;
}

// Everything that the leaf and the key say; the chain is there already.
absl::Status Describe(ServerCertificate* out) {
  auto kind = KindOf(out->key.get());
  if (!kind.ok()) {
    return kind.status();
  }
  if (X509_check_private_key(out->leaf(), out->key.get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(
        "the key does not belong to the first certificate");
  }
  const std::optional<int64_t> not_after = NotAfterUnixS(out->leaf());
  if (!not_after) {
    return absl::InvalidArgumentError("the certificate has no readable expiry");
  }
  out->kind = *kind;
  out->not_after_unix_s = *not_after;
  out->dns_names = DnsNamesOf(out->leaf());
  out->is_self_signed = IsSelfSigned(out->leaf());
  return absl::OkStatus();
}

absl::Status ParseInto(const std::string& chain_pem, const std::string& key_pem,
                       ServerCertificate* out) {
  auto chain = ParseCertificates(chain_pem);
  if (!chain.ok()) {
    return chain.status();
  }
  for (auto& certificate : *chain) {
    out->chain.emplace_back(certificate.release());
  }
  auto key = ParsePrivateKey(key_pem);
  if (!key.ok()) {
    return key.status();
  }
  out->key.reset(key->release());
  return Describe(out);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ServerCertificate>>
ServerCertificate::Parse(const std::string& chain_pem,
                         const std::string& key_pem, const std::string& label) {
  auto certificate = std::make_shared<ServerCertificate>();
  certificate->label = label;
  const absl::Status parsed = ParseInto(chain_pem, key_pem, certificate.get());
  if (!parsed.ok()) {
    return absl::InvalidArgumentError((label.empty() ? "" : label + ": ") +
                                      std::string(parsed.message()));
  }
  return std::shared_ptr<const ServerCertificate>(std::move(certificate));
}

bool UseCertificate(ssl_ctx_st* ctx, const ServerCertificate& certificate) {
  bool used = SSL_CTX_use_certificate(ctx, certificate.leaf()) == 1 &&
              SSL_CTX_use_PrivateKey(ctx, certificate.key.get()) == 1 &&
              SSL_CTX_set_signing_algorithm_prefs(ctx, kSignWith.data(),
                                                  kSignWith.size()) == 1;
  for (size_t i = 1; used && i < certificate.chain.size(); ++i) {
    used = SSL_CTX_add1_chain_cert(ctx, certificate.chain[i].get()) == 1;
  }
  return used;
}

}  // namespace spicegate
