// SPDX-License-Identifier: Apache-2.0
#include "gateway/portal_tls.h"

#include <utility>

#include "gateway/base/check.h"
#include "gateway/base/log.h"
#include "gateway/tls/certificate_check.h"
#include "gateway/tls/polled_tls.h"

namespace spicegate {
namespace {

constexpr int64_t kDayS = 86'400;

// The address is open to the world, and scanners are many.
constexpr int64_t kRefusalLinesPerSecond = 1;

ServerTlsOptions OptionsOf(const TlsConfig& tls,
                           std::shared_ptr<const TicketKeyring> ticket_keys) {
  ServerTlsOptions options;
  options.min_version = tls.min_version;
  options.tls12_suites = tls.tls12_suites;
  options.ticket_keys = std::move(ticket_keys);
  options.application_protocol = "http/1.1";
  return options;
}

}  // namespace

PortalTls::PortalTls(const Config& config)
    : certificate_path_(config.portal.certificate_path),
      key_path_(config.portal.key_path),
      ticket_keys_(
          std::make_shared<TicketKeyring>(TicketKeys::Rotate(nullptr))),
      options_(OptionsOf(config.tls, ticket_keys_)),
      refusals_(LogLevel::kInfo, "portal_client_refused",
                kRefusalLinesPerSecond) {}

absl::Status PortalTls::Load(const Context& listeners, int64_t now_unix_s,
                             int64_t now_ms) {
  if (!has_files()) {
    CHECK(listeners != nullptr);
    return Follow(listeners);
  }
  absl::StatusOr<Loaded> loaded = Read();
  if (!loaded.ok()) {
    return loaded.status();
  }
  next_rotation_ms_ = now_ms + kTicketLifeS * 1000;
  Use(*std::move(loaded), now_unix_s);
  return absl::OkStatus();
}

void PortalTls::Refresh(const Context& listeners, int64_t now_unix_s,
                        int64_t now_ms) {
  if (has_files()) {
    RotateKeys(now_ms);
    RefreshFiles(now_unix_s);
    return;
  }
  if (listeners == listeners_) {
    return;
  }
  if (const absl::Status followed = Follow(listeners); !followed.ok()) {
    // Memory: those of before are kept, and the next call tries again.
    LogLine(LogLevel::kError, "portal_certificates_refused")
        .Str("error", std::string(followed.message()));
  }
}

absl::Status PortalTls::Follow(const Context& listeners) {
  absl::StatusOr<Context> context = listeners->ForHttp();
  if (!context.ok()) {
    return context.status();
  }
  listeners_ = listeners;
  loaded_ = {*std::move(context), nullptr};
  return absl::OkStatus();
}

void PortalTls::RefreshFiles(int64_t now_unix_s) {
  if (now_unix_s >= next_warnings_unix_s_) {
    LogWarnings(now_unix_s);
  }
  if (!files_.MayHaveChanged()) {
    return;
  }
  const size_t before = files_.content_hash();
  absl::StatusOr<Loaded> loaded = Read();
  if (files_.content_hash() == before) {
    return;
  }
  if (!loaded.ok()) {
    LogLine(LogLevel::kError, "portal_certificates_refused")
        .Str("error", std::string(loaded.status().message()));
    return;
  }
  Use(*std::move(loaded), now_unix_s);
}

void PortalTls::RotateKeys(int64_t now_ms) {
  if (now_ms >= next_rotation_ms_) {
    ticket_keys_->Replace(TicketKeys::Rotate(ticket_keys_->keys().get()));
    next_rotation_ms_ = now_ms + kTicketLifeS * 1000;
  }
}

absl::StatusOr<PortalTls::Loaded> PortalTls::Read() {
  files_.Clear();
  const auto certificate =
      ReadHttpCertificate(certificate_path_, key_path_, &files_);
  if (!certificate.ok()) {
    return certificate.status();
  }
  auto context = ServerTlsContext::Create({*certificate}, options_);
  if (!context.ok()) {
    return context.status();
  }
  return Loaded{*std::move(context), *certificate};
}

void PortalTls::Use(Loaded loaded, int64_t now_unix_s) {
  loaded_ = std::move(loaded);
  LogLine(LogLevel::kInfo, "portal_certificates_loaded")
      .Int("expires_in_s", loaded_.certificate->not_after_unix_s - now_unix_s);
  LogWarnings(now_unix_s);
}

void PortalTls::LogWarnings(int64_t now_unix_s) {
  next_warnings_unix_s_ = now_unix_s + kDayS;
  for (const std::string& warning :
       CertificateWarnings(*loaded_.certificate, now_unix_s)) {
    LogLine(LogLevel::kWarning, "certificate_warning").Str("warning", warning);
  }
}

std::unique_ptr<HttpStream> PortalTls::Open(int fd) {
  return MakeTlsHttpStream(
      PolledTls::Accept(loaded_.context, loaded_.context->ssl_context(), fd),
      fd, &refusals_);
}

absl::Status CheckPortalTls(const Config& config, int64_t now_unix_s,
                            std::vector<std::string>* warnings) {
  if (!config.portal.enabled || !config.portal.tls ||
      config.portal.certificate_path.empty()) {
    return absl::OkStatus();
  }
  PortalTls portal(config);
  const auto loaded = portal.Read();
  if (!loaded.ok()) {
    return loaded.status();
  }
  for (std::string& warning :
       CertificateWarnings(*loaded->certificate, now_unix_s)) {
    warnings->push_back(std::move(warning));
  }
  return absl::OkStatus();
}

}  // namespace spicegate
