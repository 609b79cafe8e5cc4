// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud_check.h"

#include <sys/stat.h>

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "gateway/cloud/secret.h"
#include "gateway/cloud_targets.h"
#include "gateway/console/file_directory.h"
#include "gateway/console/file_reader.h"
#include "gateway/control/config_clouds.h"
#include "gateway/control/service_url.h"
#include "gateway/portal_tls.h"
#include "gateway/tls/client_context.h"
#include "gateway/tls/peer_identity.h"

namespace spicegate {
namespace {

absl::Status WithPath(const std::string& path, const absl::Status& status) {
  return status.ok() ? status
                     : absl::InvalidArgumentError(
                           path + ": " + std::string(status.message()));
}

// Looks through the files of one configuration; the first mistake stays.
class Check {
 public:
  explicit Check(CertificateFindings* findings) : findings_(findings) {}

  void Cloud(const CloudConfig& cloud);

  const absl::Status& status() const { return status_; }

 private:
  void SecretFile(const std::string& path);
  void CaFile(const std::string& path);
  void Servers(const CloudConfig& cloud);
  void Url(const CloudConfig& cloud, const char* key, const std::string& url);
  void Fail(absl::Status status) { status_.Update(std::move(status)); }

  CertificateFindings* const findings_;
  absl::Status status_;
};

void Check::Cloud(const CloudConfig& cloud) {
  if (cloud.kind == CloudKind::kHttp) {
    CaFile(cloud.broker.ca_path);
    SecretFile(cloud.broker.secret_path);
    Url(cloud, "url", cloud.broker.url);
  } else {
    CaFile(cloud.keystone.ca_path);
    CaFile(cloud.compute.ca_path);
    SecretFile(cloud.keystone.secret_path);
    Url(cloud, "keystone.url", cloud.keystone.url);
    Url(cloud, "compute.endpoint", cloud.compute.endpoint);
  }
  Servers(cloud);
}

void Check::SecretFile(const std::string& path) {
  if (path.empty()) {
    return;
  }
  Fail(ReadSecretFile(path).status());
  struct stat info;
  // A group is often the gateway's own, and systemd shows the ACL of a
  // credential as one.
  if (stat(path.c_str(), &info) == 0 &&
      (info.st_mode & (S_IRWXO | S_IWGRP)) != 0) {
    findings_->warnings.push_back(
        path + ": has a secret, and its mode lets others read or change it");
  }
}

void Check::CaFile(const std::string& path) {
  if (path.empty()) {
    return;
  }
  const auto file = ReadFile(path, kMaxCaBytes);
  Fail(file.status());
  if (file.ok()) {
    Fail(WithPath(
        path, ClientTlsContext::Create(file->text, "", "localhost").status()));
  }
}

// The servers' CA and the subject with it are CloudTargets' to try.
void Check::Servers(const CloudConfig& cloud) {
  const CloudServers& servers = cloud.servers;
  if (!servers.host_subject.empty()) {
    const std::string subject = HostSubjectFor(servers.host_subject, "host");
    Fail(WithPath("servers.host_subject of cloud " + cloud.name,
                  PeerSubject::Parse(subject).status()));
  }
  if (cloud.kind == CloudKind::kNova && servers.ca_path.empty()) {
    findings_->notes.push_back(
        "cloud " + cloud.name +
        " has no servers.ca_file: its desktops are dialled in plain, and "
        "nobody looks who answers");
  }
}

void Check::Url(const CloudConfig& cloud, const char* key,
                const std::string& url) {
  ServiceUrl parsed;
  if (ParseServiceUrl(url, &parsed) && !parsed.https &&
      !IsLoopbackService(parsed)) {
    findings_->notes.push_back("cloud " + cloud.name + ": " + key +
                               " is http, which shows the gateway's secret "
                               "and its tokens to whoever is on the way");
  }
}

}  // namespace

absl::Status CheckClouds(const Config& config, int64_t now_unix_s,
                         CertificateFindings* findings) {
  if (absl::Status status =
          CheckPortalTls(config, now_unix_s, &findings->warnings);
      !status.ok()) {
    return status;
  }
  Check check(findings);
  for (const CloudConfig& cloud : config.clouds) {
    check.Cloud(cloud);
  }
  if (!check.status().ok()) {
    return check.status();
  }
  return CloudTargets(config.clouds, &config.policies).Load();
}

}  // namespace spicegate
