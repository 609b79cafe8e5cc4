// SPDX-License-Identifier: Apache-2.0
//
// What the gateway shows to viewers on its TLS listeners.
#ifndef SPICEGATE_GATEWAY_TLS_SERVER_CONTEXT_H_
#define SPICEGATE_GATEWAY_TLS_SERVER_CONTEXT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "gateway/tls/boring.h"
#include "gateway/tls/tls_types.h"

namespace spicegate {

// Immutable; shared by every worker and every listener. A stream made from it
// keeps it alive, so a reload just replaces the pointer.
//
// TLS 1.2 and 1.3 with ECDHE and AEAD suites only: all of them can be handed
// to kernel TLS. No tickets, no session cache, no renegotiation, no client
// certificates, no ALPN: viewers use none of them.
class ServerTlsContext {
 public:
  // `certificate_chain_pem` has the server's certificate first, then what
  // leads to its CA; `key_pem` is its unencrypted RSA (>= 2048 bits) or ECDSA
  // key. InvalidArgument says what is wrong with them; an expired certificate
  // is not an error, see not_after_unix_s(). Reads no file; never on a worker.
  static absl::StatusOr<std::shared_ptr<const ServerTlsContext>> Create(
      const std::string& certificate_chain_pem, const std::string& key_pem,
      TlsVersion min_version);

  ServerTlsContext(const ServerTlsContext&) = delete;
  ServerTlsContext& operator=(const ServerTlsContext&) = delete;

  // The server's certificate alone, as PEM.
  const std::string& certificate_pem() const { return certificate_pem_; }

  // What a viewer's `ca` must hold to trust this server without knowing the
  // CA already: the self-signed certificate of the chain, as PEM; empty when
  // the chain has none, as with public CAs.
  const std::string& trust_anchor_pem() const { return trust_anchor_pem_; }

  // Whether the server's certificate itself is self-signed.
  bool is_self_signed() const { return is_self_signed_; }

  // The certificate's subject in the syntax of a viewer's host-subject,
  // in the certificate's order. Empty when that
  // syntax cannot express it, for example with a multi-valued RDN.
  const std::string& subject() const { return subject_; }

  // Expiry of the server's certificate, seconds since 1970.
  int64_t not_after_unix_s() const { return not_after_unix_s_; }

  // For TlsStream. BoringSSL counts references and locks inside.
  ssl_ctx_st* ssl_context() const { return ssl_context_.get(); }

 private:
  explicit ServerTlsContext(SslContextPtr ssl_context)
      : ssl_context_(std::move(ssl_context)) {}

  absl::Status Load(const std::string& certificate_chain_pem,
                    const std::string& key_pem);

  const SslContextPtr ssl_context_;
  std::string certificate_pem_;
  std::string trust_anchor_pem_;
  std::string subject_;
  int64_t not_after_unix_s_ = 0;
  bool is_self_signed_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_SERVER_CONTEXT_H_
