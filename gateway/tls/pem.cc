// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/pem.h"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <utility>

#include "gateway/tls/boring.h"

namespace spicegate {
namespace {

bssl::UniquePtr<BIO> BioOver(const std::string& text) {
  return bssl::UniquePtr<BIO>(
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string BioText(BIO* bio) {
  const uint8_t* data = nullptr;
  size_t len = 0;
  if (!BIO_mem_contents(bio, &data, &len)) {
    return "";
  }
  return std::string(reinterpret_cast<const char*>(data), len);
}

// A key that needs a passphrase is refused, never asked about.
int NoPassphrase(char*, int, int, void*) { return 0; }

// Whether PEM reading stopped because there was nothing more to read.
bool StoppedAtEnd() {
  const uint32_t error = ERR_peek_last_error();
  return ERR_GET_LIB(error) == ERR_LIB_PEM &&
         ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

std::optional<int64_t> UnixSOf(const ASN1_TIME* time) {
  const bssl::UniquePtr<ASN1_TIME> epoch(ASN1_TIME_set(nullptr, 0));
  int days = 0;
  int seconds = 0;
  if (epoch == nullptr || !ASN1_TIME_diff(&days, &seconds, epoch.get(), time)) {
    ERR_clear_error();
    return std::nullopt;
  }
  return int64_t{days} * 86'400 + seconds;
}

}  // namespace

absl::StatusOr<std::vector<bssl::UniquePtr<X509>>> ParseCertificates(
    const std::string& pem) {
  std::vector<bssl::UniquePtr<X509>> certificates;
  const bssl::UniquePtr<BIO> bio = BioOver(pem);
  ERR_clear_error();
  while (X509* certificate =
             PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr)) {
    certificates.emplace_back(certificate);
  }
  const bool at_end = StoppedAtEnd();
  const std::string error = TakeSslError();
  if (!at_end) {
    return absl::InvalidArgumentError("a certificate does not parse: " + error);
  }
  if (certificates.empty()) {
    return absl::InvalidArgumentError("no PEM certificate");
  }
  return certificates;
}

absl::StatusOr<bssl::UniquePtr<EVP_PKEY>> ParsePrivateKey(
    const std::string& pem) {
  const bssl::UniquePtr<BIO> bio = BioOver(pem);
  ERR_clear_error();
  bssl::UniquePtr<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  if (key != nullptr) {
    return key;
  }
  const bool at_end = StoppedAtEnd();
  const std::string error = TakeSslError();
  if (at_end) {
    return absl::InvalidArgumentError("no PEM private key");
  }
  return absl::InvalidArgumentError(
      "the private key does not parse, or is encrypted: " + error);
}

std::string CertificateToPem(X509* certificate) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr || !PEM_write_bio_X509(bio.get(), certificate)) {
    return "";
  }
  return BioText(bio.get());
}

std::string PrivateKeyToPem(EVP_PKEY* key) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  if (bio == nullptr ||
      !PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr,
                                nullptr)) {
    return "";
  }
  return BioText(bio.get());
}

std::optional<int64_t> NotBeforeUnixS(const X509* certificate) {
  return UnixSOf(X509_get0_notBefore(certificate));
}

std::optional<int64_t> NotAfterUnixS(const X509* certificate) {
  return UnixSOf(X509_get0_notAfter(certificate));
}

bool IsSelfSigned(X509* certificate) {
  const bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(certificate));
  const bool self_signed =
      key != nullptr &&
      X509_NAME_cmp(X509_get_subject_name(certificate),
                    X509_get_issuer_name(certificate)) == 0 &&
      X509_verify(certificate, key.get()) == 1;
  ERR_clear_error();
  return self_signed;
}

}  // namespace spicegate
