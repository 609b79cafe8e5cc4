// SPDX-License-Identifier: Apache-2.0
//
// What the gateway shows to viewers on its TLS listeners.
#ifndef SPICEGATE_GATEWAY_TLS_SERVER_CONTEXT_H_
#define SPICEGATE_GATEWAY_TLS_SERVER_CONTEXT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/base/counters.h"
#include "gateway/tls/boring.h"
#include "gateway/tls/server_certificate.h"
#include "gateway/tls/ticket_keys.h"
#include "gateway/tls/tls_types.h"

struct ssl_early_callback_ctx;

namespace spicegate {

struct ServerTlsOptions {
  TlsVersion min_version = TlsVersion::kTls12;
  // Of TLS 1.2, in our order of preference, never kOther; TLS 1.3 has the same
  // three and chooses by itself. Empty: all of them, as in TlsSuite.
  std::vector<TlsSuite> tls12_suites = {};
  std::shared_ptr<const TicketKeyring> ticket_keys = nullptr;  // null: none
  // What is taken of a client's ALPN offer, such as "http/1.1"; a client that
  // offers only others is refused (RFC 7301). Empty: offers are ignored.
  std::string application_protocol = {};
};

// Immutable; shared by every worker and every listener. A stream made from it
// keeps it alive, so a reload just replaces the pointer.
//
// TLS 1.2 and 1.3 with ECDHE and AEAD suites only: all of them can be handed
// to kernel TLS. No session cache, no early data, no renegotiation, no client
// certificates; ALPN only where a protocol is given.
//
// Which certificate a client sees: those that have its server_name as it is,
// else as a wildcard (`*.` for one label), else, and without server_name, the
// first of all and those that share a name with it. Viewers send the name or
// not, so a name that nobody knows is no reason to refuse. Of several the
// first ECDSA one that the client can verify, else the first RSA one. Where it
// can verify none the handshake fails.
//
// Tickets: one for each full or resumed TLS 1.3 handshake, because the clients
// that resume at all offer it for as many connections as they open. A session
// resumes under the name that it began with, and as long as the certificates
// for that name still have it, where the same application protocol is spoken.
// A renewed certificate changes nothing, so nodes
// with certificates of their own can share sessions (in TLS 1.2 with keys of
// the same kind: there the suite says it).
class ServerTlsContext {
 public:
  // `certificates` is not empty; all of them are shown with the same options.
  // Internal when memory is out. Reads no file; never on a worker.
  static absl::StatusOr<std::shared_ptr<const ServerTlsContext>> Create(
      ServerCertificates certificates, ServerTlsOptions options);

  // One certificate, every suite, no tickets. InvalidArgument for what
  // ServerCertificate::Parse refuses.
  static absl::StatusOr<std::shared_ptr<const ServerTlsContext>> Create(
      const std::string& certificate_chain_pem, const std::string& key_pem,
      TlsVersion min_version);

  // The same certificates, versions, suites and ticket keys for HTTP: takes
  // "http/1.1" of ALPN.
  absl::StatusOr<std::shared_ptr<const ServerTlsContext>> ForHttp() const;

  ServerTlsContext(const ServerTlsContext&) = delete;
  ServerTlsContext& operator=(const ServerTlsContext&) = delete;

  const ServerCertificates& certificates() const { return certificates_; }

  // What a client that sends `server_name`, or none, may be shown, best first.
  // Never empty.
  ServerCertificates ShownTo(const std::string& server_name) const;

  // What viewers that send `server_name`, or none, must be given to trust
  // those without knowing a CA: the ones among them that are self-signed, as
  // PEM; empty when there are none.
  std::string SelfSignedPemFor(const std::string& server_name) const;

  // Of the first certificate, as PEM.
  const std::string& certificate_pem() const { return certificate_pem_; }

  // What a viewer's `ca` must hold to trust the first certificate without
  // knowing its CA already: the self-signed certificate of its chain, as PEM;
  // empty when the chain has none, as with public CAs.
  const std::string& trust_anchor_pem() const { return trust_anchor_pem_; }

  // Whether the first certificate itself is self-signed.
  bool is_self_signed() const { return certificates_[0]->is_self_signed; }

  // The first certificate's subject in the syntax of a viewer's host-subject,
  // in the certificate's order. Empty when that syntax cannot express it, for
  // example with a multi-valued RDN.
  const std::string& subject() const { return subject_; }

  // Expiry of the certificate that expires first, seconds since 1970.
  int64_t not_after_unix_s() const { return not_after_unix_s_; }

  // For TlsStream. BoringSSL counts references and locks inside. The app data
  // of this and of what an SSL made from it may have later is this object.
  ssl_ctx_st* ssl_context() const { return ssl_contexts_.front().get(); }

 private:
  // Certificates that answer to one name, best first, by their index.
  struct Group {
    std::string identity;  // what a session of it is bound to
    std::vector<size_t> members;
  };

  ServerTlsContext(ServerCertificates certificates, ServerTlsOptions options);

  // Hooks of BoringSSL's.
  struct Hooks;

  absl::Status Build();
  absl::Status BuildContext(const ServerCertificate& certificate);
  void IndexNames();
  void AddTo(Group* group, size_t index) const;
  void Describe();
  const Group& GroupOf(std::string_view server_name) const;
  bool Select(const ssl_early_callback_ctx& hello) const;

  const ServerCertificates certificates_;
  const ServerTlsOptions options_;
  // One for each certificate; handshakes begin with the first.
  std::vector<SslContextPtr> ssl_contexts_;
  Group default_group_;
  std::map<std::string, Group, std::less<>> groups_;  // by name or wildcard

  std::string certificate_pem_;
  std::string trust_anchor_pem_;
  std::string subject_;
  int64_t not_after_unix_s_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_SERVER_CONTEXT_H_
