// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/client_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <utility>

#include "gateway/base/limits.h"
#include "gateway/tls/pem.h"

namespace spicegate {
namespace {

absl::Status TrustOnly(SSL_CTX* ctx, const std::string& ca_pem) {
  const auto anchors = ParseCertificates(ca_pem);
  if (!anchors.ok()) {
    return absl::InvalidArgumentError("CA: " +
                                      std::string(anchors.status().message()));
  }
  X509_STORE* const store = SSL_CTX_get_cert_store(ctx);
  for (const auto& anchor : *anchors) {
    if (X509_STORE_add_cert(store, anchor.get()) != 1) {
      return absl::InvalidArgumentError("CA: " + TakeSslError());
    }
  }
  return absl::OkStatus();
}

// What a server is verified by; nothing: its host name, which must be there.
absl::StatusOr<std::optional<PeerSubject>> SubjectOf(
    const std::string& host_subject, const std::string& host) {
  if (host_subject.empty() && host.empty()) {
    return absl::InvalidArgumentError(
        "neither host-subject nor host to verify the server by");
  }
  if (host_subject.empty()) {
    return std::optional<PeerSubject>();
  }
  auto subject = PeerSubject::Parse(host_subject);
  if (!subject.ok()) {
    return subject.status();
  }
  return std::optional<PeerSubject>(*std::move(subject));
}

// Where an SSL_CTX keeps its ClientTlsContext.
int SelfIndex() {
  static const int index =
      SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ClientTlsContext>>
ClientTlsContext::Create(const std::string& ca_pem,
                         const std::string& host_subject,
                         const std::string& host) {
  auto subject = SubjectOf(host_subject, host);
  if (!subject.ok()) {
    return subject.status();
  }
  SslContextPtr ssl_context = NewSslContext(TlsVersion::kTls12);
  if (ssl_context == nullptr) {
    return absl::InternalError("no TLS context: " + TakeSslError());
  }
  const absl::Status trusted = TrustOnly(ssl_context.get(), ca_pem);
  if (!trusted.ok()) {
    return trusted;
  }
  return std::shared_ptr<const ClientTlsContext>(
      new ClientTlsContext(std::move(ssl_context), *std::move(subject), host));
}

absl::StatusOr<std::shared_ptr<const ClientTlsContext>>
ClientTlsContext::ForServer(const std::string& host_subject,
                            const std::string& host) const {
  auto subject = SubjectOf(host_subject, host);
  if (!subject.ok()) {
    return subject.status();
  }
  SslContextPtr ssl_context = NewSslContext(TlsVersion::kTls12);
  if (ssl_context == nullptr) {
    return absl::InternalError("no TLS context: " + TakeSslError());
  }
  X509_STORE* const store = SSL_CTX_get_cert_store(ssl_context_.get());
  X509_STORE_up_ref(store);
  SSL_CTX_set_cert_store(ssl_context.get(), store);  // takes the reference
  return std::shared_ptr<const ClientTlsContext>(
      new ClientTlsContext(std::move(ssl_context), *std::move(subject), host));
}

ClientTlsContext::ClientTlsContext(SslContextPtr ssl_context,
                                   std::optional<PeerSubject> subject,
                                   const std::string& host)
    : ssl_context_(std::move(ssl_context)),
      subject_(std::move(subject)),
      host_(host),
      server_name_(host_.is_address() ? "" : host_.text()) {
  SSL_CTX* const ctx = ssl_context_.get();
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(ctx, VerifyPeer, this);
  SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(
      ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_set_ex_data(ctx, SelfIndex(), this);
  SSL_CTX_set_timeout(ctx, kServerSessionLifeS);
  SSL_CTX_set_session_psk_dhe_timeout(ctx, kServerSessionLifeS);
  SSL_CTX_sess_set_new_cb(ctx, KeepSession);
}

void ClientTlsContext::OfferSession(ssl_st* ssl) const {
  const std::lock_guard<std::mutex> lock(session_mutex_);
  // One that has run out is not offered.
  if (session_ != nullptr) {
    SSL_set_session(ssl, session_.get());
  }
}

void ClientTlsContext::ForgetSession() const {
  SslSessionPtr forgotten;
  const std::lock_guard<std::mutex> lock(session_mutex_);
  session_.swap(forgotten);
}

int ClientTlsContext::KeepSession(ssl_st* ssl, ssl_session_st* session) {
  const auto* self = static_cast<const ClientTlsContext*>(
      SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), SelfIndex()));
  // Only what a certificate was seen for: a chain of resumed sessions would
  // outlast any change of it.
  if (SSL_session_reused(ssl) != 0) {
    return 0;
  }
  SslSessionPtr kept(session);  // ours, as the result says
  const std::lock_guard<std::mutex> lock(self->session_mutex_);
  self->session_.swap(kept);
  return 1;
}

TlsFailure ClientTlsContext::CheckIdentity(const x509_st* certificate) const {
  if (subject_) {
    return subject_->Matches(certificate) ? TlsFailure::kNone
                                          : TlsFailure::kSubject;
  }
  return host_.Matches(certificate) ? TlsFailure::kNone : TlsFailure::kName;
}

int ClientTlsContext::VerifyPeer(x509_store_ctx_st* store, void* context) {
  const auto* self = static_cast<const ClientTlsContext*>(context);
  const auto* ssl = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* verdict = static_cast<TlsVerdict*>(SSL_get_app_data(ssl));
  if (X509_verify_cert(store) != 1) {
    verdict->failure = TlsFailure::kChain;
    verdict->detail =
        X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
    return 0;
  }
  verdict->failure = self->CheckIdentity(X509_STORE_CTX_get0_cert(store));
  if (verdict->failure == TlsFailure::kNone) {
    return 1;
  }
  verdict->detail = verdict->failure == TlsFailure::kSubject
                        ? "the certificate has another subject"
                        : "the certificate does not name the host";
  // Makes the alert bad_certificate.
  X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
  return 0;
}

}  // namespace spicegate
