// SPDX-License-Identifier: Apache-2.0
//
// One certificate of the gateway's, with its chain and its key.
#ifndef SPICEGATE_GATEWAY_TLS_SERVER_CERTIFICATE_H_
#define SPICEGATE_GATEWAY_TLS_SERVER_CERTIFICATE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/tls/boring.h"

namespace spicegate {

// What a client must be able to verify.
enum class KeyKind : uint8_t { kP256, kP384, kRsa };

// Immutable once parsed; shared by the contexts that show it.
struct ServerCertificate {
  // `chain_pem` has the server's certificate first, then what leads to its CA;
  // `key_pem` is its unencrypted key: RSA of at least 2048 bits, or ECDSA on
  // P-256 or P-384. `label` stands in front of every error and warning, such
  // as the files' names; it may be empty. InvalidArgument says what is wrong.
  // A certificate that has expired, or a chain that leads nowhere, is no
  // error: CertificateWarnings tells. Reads no file; never on a worker.
  static absl::StatusOr<std::shared_ptr<const ServerCertificate>> Parse(
      const std::string& chain_pem, const std::string& key_pem,
      const std::string& label);

  x509_st* leaf() const { return chain.front().get(); }

  std::string label;
  std::vector<X509Ptr> chain;  // never empty
  PrivateKeyPtr key;
  KeyKind kind = KeyKind::kP256;
  // Of the subject alternative names, in lower case; a wildcard as it stands.
  std::vector<std::string> dns_names;
  bool is_self_signed = false;
  int64_t not_after_unix_s = 0;
};

using ServerCertificates =
    std::vector<std::shared_ptr<const ServerCertificate>>;

// Makes handshakes of `ctx` show `certificate` with its chain and sign with its
// key, never with SHA-1. False, with an error in BoringSSL's queue, when memory
// is out or BoringSSL does not want it.
bool UseCertificate(ssl_ctx_st* ctx, const ServerCertificate& certificate);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_SERVER_CERTIFICATE_H_
