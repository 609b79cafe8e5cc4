// SPDX-License-Identifier: Apache-2.0
#include "gateway/admin_tls.h"

#include <string>
#include <utility>

#include "gateway/base/log.h"
#include "gateway/tls/certificate_check.h"

namespace spicegate {
namespace {

constexpr int64_t kDayS = 86'400;

// Anybody who reaches the address can cause one.
constexpr int64_t kRefusalLinesPerSecond = 10;

// The same error as one about the configuration.
absl::Status Mistake(const std::string& where, const absl::Status& status) {
  return absl::InvalidArgumentError((where.empty() ? "" : where + ": ") +
                                    std::string(status.message()));
}

}  // namespace

AdminTls::AdminTls(AdminTlsConfig config)
    : config_(std::move(config)),
      refusals_(LogLevel::kWarning, "admin_client_refused",
                kRefusalLinesPerSecond) {}

absl::Status AdminTls::Load(int64_t now_unix_s) {
  absl::StatusOr<Loaded> loaded = Read();
  if (loaded.ok()) {
    Use(*std::move(loaded), now_unix_s);
  }
  return loaded.status();
}

bool AdminTls::Refresh(int64_t now_unix_s) {
  if (now_unix_s >= next_warnings_unix_s_) {
    LogWarnings(now_unix_s);
  }
  if (!files_.MayHaveChanged()) {
    return false;
  }
  const size_t before = files_.content_hash();
  absl::StatusOr<Loaded> loaded = Read();
  if (files_.content_hash() == before) {
    return false;
  }
  if (!loaded.ok()) {
    LogLine(LogLevel::kError, "admin_certificates_refused")
        .Str("error", std::string(loaded.status().message()));
    return false;
  }
  Use(*std::move(loaded), now_unix_s);
  return true;
}

absl::StatusOr<AdminTls::Loaded> AdminTls::Read() {
  files_.Clear();
  // All of them, whatever is wrong with the first: each is watched.
  const auto certificate =
      ReadHttpCertificate(config_.certificate_path, config_.key_path, &files_);
  const bool asks = !config_.client_ca_path.empty();
  const auto ca = asks ? files_.Read(config_.client_ca_path, kMaxHttpPemBytes)
                       : absl::StatusOr<std::string>("");
  if (!certificate.ok()) {
    return certificate.status();
  }
  if (!ca.ok()) {
    return Mistake("", ca.status());
  }
  auto context = AdminTlsContext::Create(**certificate);
  if (!context.ok()) {
    return context.status();
  }
  if (asks) {
    const absl::Status required =
        (*context)->RequireClients(*ca, config_.client_names);
    if (!required.ok()) {
      return Mistake(config_.client_ca_path, required);
    }
  }
  return Loaded{*std::move(context), *certificate};
}

std::vector<std::string> AdminTls::Warnings(const Loaded& loaded,
                                            int64_t now_unix_s) const {
  std::vector<std::string> warnings =
      CertificateWarnings(*loaded.certificate, now_unix_s);
  const int64_t until_unix_s = loaded.context->clients_until_unix_s();
  if (until_unix_s != 0 && until_unix_s <= now_unix_s) {
    warnings.push_back(config_.client_ca_path +
                       ": every CA has expired, no client is let in");
  }
  return warnings;
}

void AdminTls::Use(Loaded loaded, int64_t now_unix_s) {
  loaded_ = std::move(loaded);
  LogLine(LogLevel::kInfo, "admin_certificates_loaded")
      .Bool("client_certificates", !config_.client_ca_path.empty())
      .Int("expires_in_s", loaded_.certificate->not_after_unix_s - now_unix_s);
  LogWarnings(now_unix_s);
}

void AdminTls::LogWarnings(int64_t now_unix_s) {
  next_warnings_unix_s_ = now_unix_s + kDayS;
  for (const std::string& warning : Warnings(loaded_, now_unix_s)) {
    LogLine(LogLevel::kWarning, "certificate_warning").Str("warning", warning);
  }
}

std::unique_ptr<HttpStream> AdminTls::Open(int fd) {
  return MakeTlsHttpStream(
      PolledTls::Accept(loaded_.context, loaded_.context->ssl_context(), fd),
      fd, &refusals_);
}

absl::Status CheckAdminTls(const AdminTlsConfig& config, int64_t now_unix_s,
                           std::vector<std::string>* warnings) {
  if (!config.enabled()) {
    return absl::OkStatus();
  }
  AdminTls admin(config);
  const auto loaded = admin.Read();
  if (!loaded.ok()) {
    return loaded.status();
  }
  for (std::string& warning : admin.Warnings(*loaded, now_unix_s)) {
    warnings->push_back(std::move(warning));
  }
  return absl::OkStatus();
}

}  // namespace spicegate
