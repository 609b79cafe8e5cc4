// SPDX-License-Identifier: Apache-2.0
//
// What the admin address shows to its clients, and which of them it lets in.
#ifndef SPICEGATE_GATEWAY_TLS_ADMIN_TLS_CONTEXT_H_
#define SPICEGATE_GATEWAY_TLS_ADMIN_TLS_CONTEXT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/tls/boring.h"
#include "gateway/tls/server_certificate.h"
#include "gateway/tls/tls_types.h"

struct x509_store_ctx_st;

namespace spicegate {

// Immutable once connections are made from it; they keep it alive. Suites and
// versions as everywhere, no resumption: each connection is verified by the
// CA and names of its time.
class AdminTlsContext {
 public:
  // Shows `certificate` to everybody. Internal when memory is out.
  static absl::StatusOr<std::shared_ptr<AdminTlsContext>> Create(
      const ServerCertificate& certificate);

  AdminTlsContext(const AdminTlsContext&) = delete;
  AdminTlsContext& operator=(const AdminTlsContext&) = delete;

  // From now on a client must show a certificate that leads to one of
  // `ca_pem`, is valid, is not confined to other uses than clientAuth and,
  // unless `names` is empty, has one of `names`: as a common name of its
  // subject or as a URI, letter by letter, or as a dNSName, whatever the case
  // of its letters. A star in a certificate stands for itself.
  // InvalidArgument for a bad CA; the context is of no use then.
  absl::Status RequireClients(const std::string& ca_pem,
                              std::vector<std::string> names);

  // When the last of the CAs expires, seconds since 1970: no client is let in
  // from then on. 0 where none is required.
  int64_t clients_until_unix_s() const { return clients_until_unix_s_; }

  // For PolledTls. The app data of an SSL made from it must point to
  // a TlsVerdict, where the verification leaves what it found.
  ssl_ctx_st* ssl_context() const { return ssl_context_.get(); }

 private:
  explicit AdminTlsContext(SslContextPtr ssl_context)
      : ssl_context_(std::move(ssl_context)) {}

  // BoringSSL's hook in place of its own verification of the chain.
  static int VerifyClient(x509_store_ctx_st* store, void* context);

  const SslContextPtr ssl_context_;
  std::vector<std::string> client_names_;
  int64_t clients_until_unix_s_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_ADMIN_TLS_CONTEXT_H_
