// SPDX-License-Identifier: Apache-2.0
#include "gateway/certificate.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/tls/client_context.h"
#include "gateway/tls/self_signed.h"

namespace spicegate {
namespace {

constexpr size_t kMaxPemBytes = 1024 * 1024;
constexpr size_t kMaxTicketKeyBytes = 64 * 1024;
constexpr char kDefaultStateDir[] = "/var/lib/spicegate";
constexpr int64_t kHourS = 3600;
constexpr int64_t kDayS = 24 * kHourS;

// The text of a file with a key in it, wiped at the end.
struct Secret {
  std::string text;
  explicit Secret(std::string taken) : text(std::move(taken)) {}
  ~Secret() { explicit_bzero(text.data(), text.size()); }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
};

// A file that the configuration names: whatever is wrong with it is a mistake
// in the configuration.
absl::Status Mistake(const absl::Status& status, const std::string& path = "") {
  return absl::InvalidArgumentError((path.empty() ? "" : path + ": ") +
                                    std::string(status.message()));
}

bool MakeWritable(const std::string& dir) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  return access(dir.c_str(), W_OK) == 0;
}

std::string Environment(const char* name) {
  const char* value = getenv(name);
  return value != nullptr ? value : "";
}

// The directory to keep the certificate in; empty when there is none. One that
// the operator named is used or refused, never replaced.
absl::StatusOr<std::string> StateDir(const std::string& configured) {
  if (!configured.empty()) {
    if (!MakeWritable(configured)) {
      return absl::InvalidArgumentError("state_dir " + configured +
                                        " cannot be written");
    }
    return configured;
  }
  std::vector<std::string> candidates = {Environment("STATE_DIRECTORY"),
                                         kDefaultStateDir};
  if (const std::string xdg = Environment("XDG_STATE_HOME"); !xdg.empty()) {
    candidates.push_back(xdg + "/spicegate");
  }
  if (const std::string home = Environment("HOME"); !home.empty()) {
    candidates.push_back(home + "/.local/state/spicegate");
  }
  for (const std::string& dir : candidates) {
    if (!dir.empty() && MakeWritable(dir)) {
      return dir;
    }
  }
  LogLine(LogLevel::kWarning, "certificate_not_kept")
      .Str("why",
           "no state directory can be written; the self-signed "
           "certificate changes with every start");
  return std::string();
}

void AddOnce(const std::string& name, std::vector<std::string>* names) {
  if (std::find(names->begin(), names->end(), name) == names->end()) {
    names->push_back(name);
  }
}

// What a viewer sends as server_name to get to `host`.
std::string ServerNameOf(const std::string& host) {
  return IsNumericHost(host) ? "" : host;
}

bool HasHttpsProxy(const Config& config) {
  return std::any_of(config.listeners.begin(), config.listeners.end(),
                     [](const ListenerConfig& listener) {
                       return listener.tls &&
                              listener.protocol == ListenerProtocol::kConnect;
                     });
}

}  // namespace

absl::StatusOr<CertificateFindings> CheckCertificateFiles(
    const Config& config, const std::string& viewer_host) {
  CertificateStore store(config);
  store.viewer_host_ = viewer_host;
  if (!config.tls.ticket_keys_path.empty()) {
    if (const auto keys = store.ReadTicketKeys(); !keys.ok()) {
      return keys.status();
    }
  }
  if (config.tls.self_signed()) {
    const auto ca = store.ReadPublicCa();
    return ca.ok() ? absl::StatusOr<CertificateFindings>(CertificateFindings())
                   : ca.status();
  }
  const int64_t now_unix_s = WallClockMs() / 1000;
  auto loaded = store.Read(now_unix_s);
  if (!loaded.ok()) {
    return loaded.status();
  }
  const absl::Status used = store.Use(*std::move(loaded));
  if (!used.ok()) {
    return used;
  }
  return store.Check(now_unix_s);
}

CertificateStore::CertificateStore(const Config& config)
    : tls_(config.tls),
      public_ca_path_(config.public_address.ca_path),
      state_dir_(config.state_dir),
      host_subject_(config.public_address.host_subject),
      is_https_proxy_(HasHttpsProxy(config)),
      connect_host_(config.public_address.connect.host) {}

// ---- Reading.

absl::StatusOr<CertificateStore::Loaded> CertificateStore::Read(
    int64_t now_unix_s) {
  files_.Clear();
  // All files, whatever is wrong with the first: each is watched.
  auto certificates = tls_.self_signed() ? SelfSigned(now_unix_s) : ReadPairs();
  auto ca = ReadPublicCa();
  if (!certificates.ok()) {
    return certificates.status();
  }
  if (!ca.ok()) {
    return ca.status();
  }
  return Loaded{*std::move(certificates), *std::move(ca)};
}

absl::StatusOr<ServerCertificates> CertificateStore::ReadPairs() {
  ServerCertificates certificates;
  absl::Status first_error;
  for (const CertificatePaths& paths : tls_.certificates) {
    const auto chain = files_.Read(paths.certificate, kMaxPemBytes);
    auto key = files_.Read(paths.key, kMaxPemBytes);
    absl::Status status = chain.ok() ? key.status() : chain.status();
    if (status.ok()) {
      const Secret secret(*std::move(key));
      auto certificate = ServerCertificate::Parse(
          *chain, secret.text, paths.certificate + ", " + paths.key);
      status = certificate.status();
      if (certificate.ok()) {
        certificates.push_back(*std::move(certificate));
      }
    }
    first_error.Update(status);
  }
  if (!first_error.ok()) {
    return Mistake(first_error);
  }
  return certificates;
}

// The one in use stays until it is time for another.
absl::StatusOr<ServerCertificates> CertificateStore::SelfSigned(
    int64_t now_unix_s) {
  if (context_ != nullptr && !RenewalIsDue(now_unix_s)) {
    return context_->certificates();
  }
  std::vector<std::string> all;
  for (const std::string& name : names_) {
    AddOnce(name, &all);
  }
  if (is_https_proxy_ && !connect_host_.empty()) {
    AddOnce(connect_host_, &all);
  }
  for (const char* name : {"localhost", "127.0.0.1", "::1"}) {
    AddOnce(name, &all);
  }
  const absl::StatusOr<std::string> dir = StateDir(state_dir_);
  if (!dir.ok()) {
    return dir.status();
  }
  auto pair = LoadOrCreateSelfSigned(*dir, all, now_unix_s);
  if (!pair.ok()) {
    return pair.status();
  }
  const Secret key(std::move(pair->key_pem));
  auto certificate =
      ServerCertificate::Parse(pair->certificate_pem, key.text, "");
  if (!certificate.ok()) {
    return certificate.status();
  }
  return ServerCertificates{*std::move(certificate)};
}

absl::StatusOr<std::string> CertificateStore::ReadPublicCa() {
  if (public_ca_path_.empty()) {
    return std::string();
  }
  absl::StatusOr<std::string> pem = files_.Read(public_ca_path_, kMaxPemBytes);
  if (!pem.ok()) {
    return Mistake(pem.status());
  }
  const absl::Status usable =
      ClientTlsContext::Create(*pem, "", "localhost").status();
  if (!usable.ok()) {
    return Mistake(usable, public_ca_path_);
  }
  return pem;
}

absl::StatusOr<std::shared_ptr<const TicketKeys>>
CertificateStore::ReadTicketKeys() {
  const std::string& path = tls_.ticket_keys_path;
  ticket_files_.Clear();
  absl::StatusOr<std::string> text =
      ticket_files_.Read(path, kMaxTicketKeyBytes);
  if (!text.ok()) {
    return Mistake(text.status());
  }
  const Secret secret(*std::move(text));
  auto keys = TicketKeys::Parse(secret.text);
  if (!keys.ok()) {
    return Mistake(keys.status(), path);
  }
  return keys;
}

// ---- Using what was read.

absl::Status CertificateStore::Use(Loaded loaded) {
  ServerTlsOptions options;
  options.min_version = tls_.min_version;
  options.tls12_suites = tls_.tls12_suites;
  options.ticket_keys = ticket_keys_;
  auto context = ServerTlsContext::Create(std::move(loaded.certificates),
                                          std::move(options));
  if (!context.ok()) {
    return context.status();
  }
  context_ = *std::move(context);
  next_renewal_unix_s_ = context_->not_after_unix_s() - kSelfSignedRenewalS;
  ca_for_viewers_ = loaded.public_ca.empty()
                        ? context_->SelfSignedPemFor(ServerNameOf(viewer_host_))
                        : std::move(loaded.public_ca);
  return absl::OkStatus();
}

absl::Status CertificateStore::Load(const std::vector<std::string>& names,
                                    const std::string& viewer_host,
                                    int64_t now_unix_s, int64_t now_ms) {
  names_ = names;
  viewer_host_ = viewer_host;
  const bool has_file = !tls_.ticket_keys_path.empty();
  auto ticket_keys = has_file ? ReadTicketKeys() : TicketKeys::Rotate(nullptr);
  if (!ticket_keys.ok()) {
    return ticket_keys.status();
  }
  ticket_keys_ = std::make_shared<TicketKeyring>(*std::move(ticket_keys));
  next_rotation_ms_ = now_ms + kTicketLifeS * 1000;
  auto loaded = Read(now_unix_s);
  if (!loaded.ok()) {
    return loaded.status();
  }
  const absl::Status used = Use(*std::move(loaded));
  if (used.ok()) {
    LogLoaded(now_unix_s);
    LogWarnings(now_unix_s);
  }
  return used;
}

// ---- Changes.

bool CertificateStore::Refresh(int64_t now_unix_s, int64_t now_ms) {
  const bool new_certificates = RefreshCertificates(now_unix_s);
  RefreshTicketKeys(now_ms);
  if (new_certificates || now_unix_s >= next_warnings_unix_s_) {
    LogWarnings(now_unix_s);
  }
  return new_certificates;
}

bool CertificateStore::RefreshCertificates(int64_t now_unix_s) {
  const bool renewal = RenewalIsDue(now_unix_s);
  if (!renewal && !files_.MayHaveChanged()) {
    return false;
  }
  const size_t hash_before = files_.content_hash();
  auto loaded = Read(now_unix_s);
  if (!renewal && files_.content_hash() == hash_before) {
    return false;
  }
  absl::Status status = loaded.status();
  if (loaded.ok()) {
    status = Use(*std::move(loaded));
  }
  if (!status.ok()) {
    next_renewal_unix_s_ = std::max(next_renewal_unix_s_, now_unix_s + kHourS);
    Refuse(status);
    return false;
  }
  ++values_.reloads;
  values_.refused = false;
  LogLoaded(now_unix_s);
  return true;
}

bool CertificateStore::RenewalIsDue(int64_t now_unix_s) const {
  return tls_.self_signed() && now_unix_s >= next_renewal_unix_s_;
}

void CertificateStore::Refuse(const absl::Status& status) {
  ++values_.reload_failures;
  values_.refused = true;
  LogLine(LogLevel::kError, "certificates_refused")
      .Str("error", std::string(status.message()))
      .Int("certificates_kept",
           static_cast<int64_t>(context_->certificates().size()));
}

void CertificateStore::RefreshTicketKeys(int64_t now_ms) {
  if (tls_.ticket_keys_path.empty()) {
    RotateTicketKeys(now_ms);
  } else if (ticket_files_.MayHaveChanged()) {
    ReloadTicketKeys();
  }
}

void CertificateStore::RotateTicketKeys(int64_t now_ms) {
  if (now_ms >= next_rotation_ms_) {
    ticket_keys_->Replace(TicketKeys::Rotate(ticket_keys().get()));
    next_rotation_ms_ = now_ms + kTicketLifeS * 1000;
  }
}

void CertificateStore::ReloadTicketKeys() {
  const size_t hash_before = ticket_files_.content_hash();
  auto keys = ReadTicketKeys();
  if (ticket_files_.content_hash() == hash_before) {
    return;
  }
  if (!keys.ok()) {
    RefuseTicketKeys(keys.status());
    return;
  }
  ticket_keys_->Replace(*std::move(keys));
  ++values_.ticket_key_reloads;
  values_.ticket_keys_refused = false;
  LogLine(LogLevel::kInfo, "ticket_keys_loaded")
      .Str("file", tls_.ticket_keys_path)
      .Int("keys", static_cast<int64_t>(ticket_keys()->size()));
}

void CertificateStore::RefuseTicketKeys(const absl::Status& status) {
  ++values_.ticket_key_reload_failures;
  values_.ticket_keys_refused = true;
  LogLine(LogLevel::kError, "ticket_keys_refused")
      .Str("error", std::string(status.message()))
      .Int("keys_kept", static_cast<int64_t>(ticket_keys()->size()));
}

// ---- Telling.

CertificateValues CertificateStore::values() const {
  CertificateValues values = values_;
  values.expiry_unix_s = context_ != nullptr ? context_->not_after_unix_s() : 0;
  return values;
}

CertificateFindings CertificateStore::Check(int64_t now_unix_s) const {
  ViewerExpectations viewers = {viewer_host_, host_subject_, ca_for_viewers_};
  if (is_https_proxy_) {
    viewers.proxy_host = connect_host_.empty() ? viewer_host_ : connect_host_;
  }
  return CheckCertificates(*context_, viewers, now_unix_s);
}

void CertificateStore::LogLoaded(int64_t now_unix_s) const {
  LogLine line(LogLevel::kInfo, "certificates_loaded");
  line.Int("certificates",
           static_cast<int64_t>(context_->certificates().size()))
      .Bool("self_signed", tls_.self_signed())
      .Int("expires_in_s", context_->not_after_unix_s() - now_unix_s);
}

void CertificateStore::LogWarnings(int64_t now_unix_s) {
  next_warnings_unix_s_ = now_unix_s + kDayS;
  for (const std::string& warning : Check(now_unix_s).warnings) {
    LogLine(LogLevel::kWarning, "certificate_warning").Str("warning", warning);
  }
}

}  // namespace spicegate
