// SPDX-License-Identifier: Apache-2.0
#include "gateway/certificate.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "gateway/base/clock.h"
#include "gateway/base/log.h"
#include "gateway/console/file_reader.h"
#include "gateway/tls/self_signed.h"

namespace spicegate {
namespace {

constexpr size_t kMaxPemBytes = 1024 * 1024;

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
absl::StatusOr<std::string> StateDir(const Config& config) {
  if (config.state_dir != Config().state_dir) {
    if (!MakeWritable(config.state_dir)) {
      return absl::InvalidArgumentError("state_dir " + config.state_dir +
                                        " cannot be written");
    }
    return config.state_dir;
  }
  std::vector<std::string> candidates = {Environment("STATE_DIRECTORY"),
                                         config.state_dir};
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

}  // namespace

absl::StatusOr<Certificate> LoadCertificateFiles(const TlsConfig& config) {
  const auto chain = ReadFile(config.certificate_path, kMaxPemBytes);
  if (!chain.ok()) {
    return chain.status();
  }
  const auto key = ReadFile(config.key_path, kMaxPemBytes);
  if (!key.ok()) {
    return key.status();
  }
  auto context =
      ServerTlsContext::Create(chain->text, key->text, config.min_version);
  if (!context.ok()) {
    return absl::InvalidArgumentError(config.certificate_path + ", " +
                                      config.key_path + ": " +
                                      std::string(context.status().message()));
  }
  Certificate certificate;
  certificate.context = *std::move(context);
  if (certificate.context->is_self_signed()) {
    certificate.ca_for_viewers = certificate.context->trust_anchor_pem();
  }
  return certificate;
}

absl::StatusOr<Certificate> LoadOrMakeCertificate(
    const Config& config, const std::vector<std::string>& names) {
  absl::StatusOr<Certificate> certificate;
  if (!config.tls.self_signed()) {
    certificate = LoadCertificateFiles(config.tls);
  } else {
    std::vector<std::string> all;
    for (const std::string& name : names) {
      AddOnce(name, &all);
    }
    for (const char* name : {"localhost", "127.0.0.1", "::1"}) {
      AddOnce(name, &all);
    }
    const absl::StatusOr<std::string> dir = StateDir(config);
    if (!dir.ok()) {
      return dir.status();
    }
    const auto pair = LoadOrCreateSelfSigned(*dir, all, WallClockMs() / 1000);
    if (!pair.ok()) {
      return pair.status();
    }
    auto context = ServerTlsContext::Create(
        pair->certificate_pem, pair->key_pem, config.tls.min_version);
    if (!context.ok()) {
      return context.status();
    }
    certificate = Certificate{*context, (*context)->trust_anchor_pem()};
  }
  if (certificate.ok() && !config.public_address.ca_path.empty()) {
    const auto ca = ReadFile(config.public_address.ca_path, kMaxPemBytes);
    if (!ca.ok()) {
      return ca.status();
    }
    certificate->ca_for_viewers = ca->text;
  }
  return certificate;
}

}  // namespace spicegate
