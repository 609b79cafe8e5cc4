// SPDX-License-Identifier: Apache-2.0
//
// PEM text to and from BoringSSL's objects. For gateway/tls only.
#ifndef SPICEGATE_GATEWAY_TLS_PEM_H_
#define SPICEGATE_GATEWAY_TLS_PEM_H_

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace spicegate {

// Every certificate of `pem`, in order; other blocks are passed over.
// InvalidArgument when there is none or one does not parse.
absl::StatusOr<std::vector<bssl::UniquePtr<X509>>> ParseCertificates(
    const std::string& pem);

// The first private key of `pem`. InvalidArgument when there is none, it does
// not parse or is encrypted.
absl::StatusOr<bssl::UniquePtr<EVP_PKEY>> ParsePrivateKey(
    const std::string& pem);

// Empty only when memory is out.
std::string CertificateToPem(X509* certificate);
std::string PrivateKeyToPem(EVP_PKEY* key);

// Begin and expiry in seconds since 1970; nothing when the field cannot be
// read.
std::optional<int64_t> NotBeforeUnixS(const X509* certificate);
std::optional<int64_t> NotAfterUnixS(const X509* certificate);

// Whether the certificate is signed with its own key.
bool IsSelfSigned(X509* certificate);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_PEM_H_
