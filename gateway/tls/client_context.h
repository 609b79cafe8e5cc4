// SPDX-License-Identifier: Apache-2.0
//
// How the gateway checks one console's server.
#ifndef SPICEGATE_GATEWAY_TLS_CLIENT_CONTEXT_H_
#define SPICEGATE_GATEWAY_TLS_CLIENT_CONTEXT_H_

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "gateway/tls/boring.h"
#include "gateway/tls/peer_identity.h"
#include "gateway/tls/tls_types.h"

struct x509_store_ctx_st;

namespace spicegate {

// Immutable; made when a console is loaded, shared by all workers, kept alive
// by the streams made from it. TLS 1.2 and 1.3, ECDHE and AEAD suites only. The
// system's trust store plays no part.
//
// Remembers the newest TLS session that began with its server's certificate, so
// that a desktop's further channels need none: one full handshake for all of
// them. This very context verified it, and keeps it for kServerSessionLifeS at
// most.
class ClientTlsContext {
 public:
  // `ca_pem`: one or more certificates, the only trust anchors. With a
  // `host_subject` the server's subject alone is compared, as viewers do; with
  // an empty one its names are compared with `host`, the name or address that
  // is dialled. `host` is also the SNI, unless it is an address or empty.
  // InvalidArgument for a bad CA or subject, or when there is neither subject
  // nor host. Reads no file; never on a worker.
  static absl::StatusOr<std::shared_ptr<const ClientTlsContext>> Create(
      const std::string& ca_pem, const std::string& host_subject,
      const std::string& host);

  // The same trust anchors for another server: where a desktop has migrated.
  // Cheap, for any thread. Errors as Create's.
  absl::StatusOr<std::shared_ptr<const ClientTlsContext>> ForServer(
      const std::string& host_subject, const std::string& host) const;

  ClientTlsContext(const ClientTlsContext&) = delete;
  ClientTlsContext& operator=(const ClientTlsContext&) = delete;

  // kNone, kName or kSubject, of a certificate whose chain is fine already.
  TlsFailure CheckIdentity(const x509_st* certificate) const;

  // The name to send as SNI; empty for none.
  const std::string& server_name() const { return server_name_; }

  // Lets `ssl`, before its handshake, resume the session that is remembered.
  // The same session serves any number of connections at once: that RFC 8446
  // advises against it (C.4) is about clients that hide who they are. Any
  // thread.
  void OfferSession(ssl_st* ssl) const;

  // After a handshake that failed: perhaps for what was offered.
  void ForgetSession() const;

  // For TlsStream. The app data of an SSL made from it must point to a
  // TlsVerdict, where the verification leaves what it found.
  ssl_ctx_st* ssl_context() const { return ssl_context_.get(); }

 private:
  ClientTlsContext(SslContextPtr ssl_context,
                   std::optional<PeerSubject> subject, const std::string& host);

  // BoringSSL's hook for a new session; 1 when it was kept.
  static int KeepSession(ssl_st* ssl, ssl_session_st* session);

  // BoringSSL's hook in place of its own verification of the chain.
  static int VerifyPeer(x509_store_ctx_st* store, void* context);

  const SslContextPtr ssl_context_;
  const std::optional<PeerSubject> subject_;
  const PeerHost host_;
  const std::string server_name_;

  // Workers share the context; a lock held for a pointer's swap is no wait.
  mutable std::mutex session_mutex_;
  mutable SslSessionPtr session_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_CLIENT_CONTEXT_H_
