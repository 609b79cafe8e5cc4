// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/server_context.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "gateway/tls/client_hello.h"
#include "gateway/tls/peer_identity.h"
#include "gateway/tls/pem.h"

namespace spicegate {
namespace {

constexpr size_t kTicketsPerHandshake = 1;

const char* CipherNames(TlsSuite suite) {
  switch (suite) {
    case TlsSuite::kAes128Gcm:
      return "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256";
    case TlsSuite::kAes256Gcm:
      return "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
    case TlsSuite::kChaCha20Poly1305:
      return "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
    case TlsSuite::kOther:
      break;
  }
  return "";
}

std::string CipherList(const std::vector<TlsSuite>& suites) {
  std::string list;
  for (const TlsSuite suite : suites) {
    list += list.empty() ? "" : ":";
    list += CipherNames(suite);
  }
  return list;
}

ServerTlsOptions WithSuites(ServerTlsOptions options) {
  if (options.tls12_suites.empty()) {
    options.tls12_suites.assign({TlsSuite::kAes128Gcm, TlsSuite::kAes256Gcm,
                                 TlsSuite::kChaCha20Poly1305});
  }
  return options;
}

const ServerTlsContext& ContextOf(const SSL* ssl) {
  return *static_cast<const ServerTlsContext*>(
      SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

bool SharesName(const ServerCertificate& one, const ServerCertificate& other) {
  return std::any_of(
      one.dns_names.begin(), one.dns_names.end(), [&](const std::string& name) {
        return std::find(other.dns_names.begin(), other.dns_names.end(),
                         name) != other.dns_names.end();
      });
}

// What the first certificate stands for where no name was asked for, whatever
// its key: a renewal keeps it, another server's certificate has another.
std::string IdentityOf(const ServerCertificate& certificate) {
  std::vector<std::string> names = certificate.dns_names;
  std::sort(names.begin(), names.end());
  std::string identity = SubjectOf(certificate.leaf());
  for (const std::string& name : names) {
    identity += '\n' + name;
  }
  return identity;
}

}  // namespace

struct ServerTlsContext::Hooks {
  static ssl_select_cert_result_t Select(const SSL_CLIENT_HELLO* hello) {
    return ContextOf(hello->ssl).Select(*hello) ? ssl_select_cert_success
                                                : ssl_select_cert_error;
  }

  static int SelectProtocol(SSL* ssl, const uint8_t** out, uint8_t* out_len,
                            const uint8_t* in, unsigned in_len, void*) {
    const std::string& ours = ContextOf(ssl).options_.application_protocol;
    // BoringSSL has checked the list: lengths, each followed by so many bytes.
    for (std::span<const uint8_t> rest(in, in_len); !rest.empty();) {
      const auto name = rest.subspan(1, rest.front());
      if (std::equal(name.begin(), name.end(), ours.begin(), ours.end())) {
        *out = name.data();
        *out_len = static_cast<uint8_t>(name.size());
        return SSL_TLSEXT_ERR_OK;
      }
      rest = rest.subspan(1 + name.size());
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }

  static size_t MaxOverhead(SSL*) { return TicketKeys::kOverheadLen; }

  static int Seal(SSL* ssl, uint8_t* out, size_t* out_len, size_t max_out_len,
                  const uint8_t* in, size_t in_len) {
    const auto len = ContextOf(ssl).options_.ticket_keys->keys()->Seal(
        {in, in_len}, {out, max_out_len});
    *out_len = len.value_or(0);
    return len ? 1 : 0;
  }

  static ssl_ticket_aead_result_t Open(SSL* ssl, uint8_t* out, size_t* out_len,
                                       size_t max_out_len, const uint8_t* in,
                                       size_t in_len) {
    const auto len = ContextOf(ssl).options_.ticket_keys->keys()->Open(
        {in, in_len}, {out, max_out_len});
    *out_len = len.value_or(0);
    return len ? ssl_ticket_aead_success : ssl_ticket_aead_ignore_ticket;
  }

  static void EnableTickets(SSL_CTX* ctx) {
    static constexpr SSL_TICKET_AEAD_METHOD kMethod = {MaxOverhead, Seal, Open};
    SSL_CTX_set_ticket_aead_method(ctx, &kMethod);
    SSL_CTX_clear_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, kTicketsPerHandshake);
    SSL_CTX_set_timeout(ctx, kTicketLifeS);
    SSL_CTX_set_session_psk_dhe_timeout(ctx, kTicketLifeS);
  }
};

absl::StatusOr<std::shared_ptr<const ServerTlsContext>>
ServerTlsContext::Create(ServerCertificates certificates,
                         ServerTlsOptions options) {
  std::shared_ptr<ServerTlsContext> context(
      new ServerTlsContext(std::move(certificates), std::move(options)));
  const absl::Status built = context->Build();
  if (!built.ok()) {
    return built;
  }
  return std::shared_ptr<const ServerTlsContext>(std::move(context));
}

absl::StatusOr<std::shared_ptr<const ServerTlsContext>>
ServerTlsContext::Create(const std::string& certificate_chain_pem,
                         const std::string& key_pem, TlsVersion min_version) {
  auto certificate =
      ServerCertificate::Parse(certificate_chain_pem, key_pem, "");
  if (!certificate.ok()) {
    return certificate.status();
  }
  ServerTlsOptions options;
  options.min_version = min_version;
  return Create({*std::move(certificate)}, std::move(options));
}

absl::StatusOr<std::shared_ptr<const ServerTlsContext>>
ServerTlsContext::ForHttp() const {
  ServerTlsOptions options = options_;
  options.application_protocol = "http/1.1";
  return Create(certificates_, std::move(options));
}

ServerTlsContext::ServerTlsContext(ServerCertificates certificates,
                                   ServerTlsOptions options)
    : certificates_(std::move(certificates)),
      options_(WithSuites(std::move(options))) {}

absl::Status ServerTlsContext::Build() {
  for (const auto& certificate : certificates_) {
    const absl::Status built = BuildContext(*certificate);
    if (!built.ok()) {
      return built;
    }
  }
  SSL_CTX_set_select_certificate_cb(ssl_context(), Hooks::Select);
  IndexNames();
  Describe();
  return absl::OkStatus();
}

absl::Status ServerTlsContext::BuildContext(
    const ServerCertificate& certificate) {
  SslContextPtr context = NewSslContext(options_.min_version);
  SSL_CTX* const ctx = context.get();
  if (ctx == nullptr ||
      SSL_CTX_set_strict_cipher_list(
          ctx, CipherList(options_.tls12_suites).c_str()) != 1) {
    return absl::InternalError("no TLS context: " + TakeSslError());
  }
  if (!UseCertificate(ctx, certificate)) {
    return absl::InvalidArgumentError(
        certificate.label +
        ": the certificate cannot be used: " + TakeSslError());
  }
  SSL_CTX_set_app_data(ctx, this);
  if (options_.ticket_keys != nullptr) {
    Hooks::EnableTickets(ctx);
  }
  if (!options_.application_protocol.empty()) {
    SSL_CTX_set_alpn_select_cb(ctx, Hooks::SelectProtocol, nullptr);
  }
  ssl_contexts_.push_back(std::move(context));
  return absl::OkStatus();
}

void ServerTlsContext::IndexNames() {
  const ServerCertificate& first = *certificates_[0];
  default_group_.identity = "default\n" + IdentityOf(first);
  for (size_t i = 0; i < certificates_.size(); ++i) {
    if (i == 0 || SharesName(first, *certificates_[i])) {
      AddTo(&default_group_, i);
    }
    for (const std::string& name : certificates_[i]->dns_names) {
      Group& group = groups_[name];
      group.identity = "name\n" + name;
      AddTo(&group, i);
    }
  }
}

// ECDSA before RSA: it signs many times faster.
void ServerTlsContext::AddTo(Group* group, size_t index) const {
  std::vector<size_t>& members = group->members;
  const auto is_rsa = [this](size_t member) {
    return certificates_[member]->kind == KeyKind::kRsa;
  };
  const auto end = is_rsa(index)
                       ? members.end()
                       : std::find_if(members.begin(), members.end(), is_rsa);
  members.insert(end, index);
}

void ServerTlsContext::Describe() {
  const ServerCertificate& first = *certificates_[0];
  X509* const last = first.chain.back().get();
  certificate_pem_ = CertificateToPem(first.leaf());
  subject_ = SubjectOf(first.leaf());
  trust_anchor_pem_ = IsSelfSigned(last) ? CertificateToPem(last) : "";
  not_after_unix_s_ = first.not_after_unix_s;
  for (const auto& certificate : certificates_) {
    not_after_unix_s_ =
        std::min(not_after_unix_s_, certificate->not_after_unix_s);
  }
}

const ServerTlsContext::Group& ServerTlsContext::GroupOf(
    std::string_view server_name) const {
  auto found = groups_.find(server_name);
  const size_t dot = server_name.find('.');
  if (found == groups_.end() && dot != std::string_view::npos && dot != 0) {
    found = groups_.find("*" + std::string(server_name.substr(dot)));
  }
  return found != groups_.end() ? found->second : default_group_;
}

ServerCertificates ServerTlsContext::ShownTo(
    const std::string& server_name) const {
  ServerCertificates shown;
  for (const size_t member : GroupOf(NormalServerName(server_name)).members) {
    shown.push_back(certificates_[member]);
  }
  return shown;
}

std::string ServerTlsContext::SelfSignedPemFor(
    const std::string& server_name) const {
  std::string pem;
  for (const auto& certificate : ShownTo(server_name)) {
    pem += certificate->is_self_signed ? CertificateToPem(certificate->leaf())
                                       : "";
  }
  return pem;
}

// Runs on a worker for each handshake. The session id context keeps a session
// with its name: RFC 6066 forbids to resume it under another.
bool ServerTlsContext::Select(const SSL_CLIENT_HELLO& hello) const {
  const ClientOffer offer = ReadClientOffer(hello, options_.tls12_suites);
  const Group& group = GroupOf(offer.server_name);
  size_t chosen = group.members.front();
  for (const size_t member : group.members) {
    if (offer.Takes(certificates_[member]->kind)) {
      chosen = member;
      break;
    }
  }
  if (SSL_set_SSL_CTX(hello.ssl, ssl_contexts_[chosen].get()) == nullptr) {
    return false;
  }
  if (options_.ticket_keys == nullptr) {
    return true;
  }
  std::string bound_to = group.identity + '\n' + offer.server_name;
  if (!options_.application_protocol.empty()) {
    bound_to += '\n' + options_.application_protocol;
  }
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const uint8_t*>(bound_to.data()), bound_to.size(),
         digest.data());
  return SSL_set_session_id_context(hello.ssl, digest.data(), digest.size()) ==
         1;
}

}  // namespace spicegate
