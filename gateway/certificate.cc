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
#include "gateway/tls/client_context.h"
#include "gateway/tls/self_signed.h"

namespace spicegate {
namespace {

constexpr size_t kMaxPemBytes = 1024 * 1024;
constexpr char kDefaultStateDir[] = "/var/lib/spicegate";

// A file that the configuration names: whatever is wrong with it is a mistake
// in the configuration.
absl::StatusOr<std::string> ReadPem(const std::string& path) {
  auto content = ReadFile(path, kMaxPemBytes);
  if (!content.ok()) {
    return absl::InvalidArgumentError(content.status().message());
  }
  return std::move(content->text);
}

// What public.ca_file gives to viewers; empty without one.
absl::StatusOr<std::string> ReadPublicCa(const Config& config) {
  const std::string& path = config.public_address.ca_path;
  if (path.empty()) {
    return std::string();
  }
  absl::StatusOr<std::string> pem = ReadPem(path);
  if (pem.ok()) {
    const absl::Status usable =
        ClientTlsContext::Create(*pem, "", "localhost").status();
    if (!usable.ok()) {
      return absl::InvalidArgumentError(path + ": " +
                                        std::string(usable.message()));
    }
  }
  return pem;
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
absl::StatusOr<std::string> StateDir(const Config& config) {
  if (!config.state_dir.empty()) {
    if (!MakeWritable(config.state_dir)) {
      return absl::InvalidArgumentError("state_dir " + config.state_dir +
                                        " cannot be written");
    }
    return config.state_dir;
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

}  // namespace

absl::StatusOr<Certificate> LoadCertificateFiles(const TlsConfig& config) {
  const absl::StatusOr<std::string> chain = ReadPem(config.certificate_path);
  if (!chain.ok()) {
    return chain.status();
  }
  const absl::StatusOr<std::string> key = ReadPem(config.key_path);
  if (!key.ok()) {
    return key.status();
  }
  auto context = ServerTlsContext::Create(*chain, *key, config.min_version);
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

absl::Status CheckCertificateFiles(const Config& config) {
  if (!config.tls.self_signed()) {
    const auto certificate = LoadCertificateFiles(config.tls);
    if (!certificate.ok()) {
      return certificate.status();
    }
  }
  return ReadPublicCa(config).status();
}

namespace {

absl::StatusOr<Certificate> LoadOrMakeSelfSigned(
    const Config& config, const std::vector<std::string>& names) {
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
  auto context = ServerTlsContext::Create(pair->certificate_pem, pair->key_pem,
                                          config.tls.min_version);
  if (!context.ok()) {
    return context.status();
  }
  return Certificate{*context, (*context)->trust_anchor_pem()};
}

}  // namespace

absl::StatusOr<Certificate> LoadOrMakeCertificate(
    const Config& config, const std::vector<std::string>& names) {
  auto certificate = config.tls.self_signed()
                         ? LoadOrMakeSelfSigned(config, names)
                         : LoadCertificateFiles(config.tls);
  if (!certificate.ok()) {
    return certificate.status();
  }
  absl::StatusOr<std::string> ca = ReadPublicCa(config);
  if (!ca.ok()) {
    return ca.status();
  }
  if (!ca->empty()) {
    certificate->ca_for_viewers = *std::move(ca);
  }
  return certificate;
}

}  // namespace spicegate
