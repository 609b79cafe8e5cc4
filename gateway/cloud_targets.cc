// SPDX-License-Identifier: Apache-2.0
#include "gateway/cloud_targets.h"

#include <utility>

#include "gateway/base/log.h"
#include "gateway/console/file_directory.h"
#include "gateway/control/config_clouds.h"

namespace spicegate {
namespace {

// Hosts remembered at most before those that nobody uses are forgotten.
constexpr size_t kMaxIdleServers = 1024;

absl::Status NotDiallable() {
  return absl::FailedPreconditionError(
      "this desktop cannot be reached over an encrypted connection, which is "
      "required here");
}

}  // namespace

CloudTargets::CloudTargets(const std::vector<CloudConfig>& clouds,
                           const PolicySet* policies)
    : policies_(policies) {
  for (const CloudConfig& config : clouds) {
    clouds_.emplace(config.name, Cloud{config, {}, "", nullptr, {}});
  }
}

absl::Status CloudTargets::Load() {
  for (auto& [name, cloud] : clouds_) {
    const std::string& path = cloud.config.servers.ca_path;
    if (path.empty()) {
      continue;
    }
    if (absl::Status status = Use(cloud.files.Read(path, kMaxCaBytes), &cloud);
        !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

absl::Status CloudTargets::Use(const absl::StatusOr<std::string>& pem,
                               Cloud* cloud) {
  if (!pem.ok()) {
    return absl::InvalidArgumentError(pem.status().message());
  }
  const CloudServers& servers = cloud->config.servers;
  // Any host does: it is the anchors and the subject's form that are tried.
  auto anchors = ClientTlsContext::Create(
      *pem, HostSubjectFor(servers.host_subject, "localhost"), "localhost");
  if (!anchors.ok()) {
    return absl::InvalidArgumentError(servers.ca_path + ": " +
                                      std::string(anchors.status().message()));
  }
  cloud->ca_pem = *pem;
  cloud->anchors = *std::move(anchors);
  cloud->servers.clear();
  return absl::OkStatus();
}

void CloudTargets::Refresh() {
  for (auto& [name, cloud] : clouds_) {
    if (!cloud.files.MayHaveChanged()) {
      continue;
    }
    const std::string& path = cloud.config.servers.ca_path;
    const size_t before = cloud.files.content_hash();
    cloud.files.Clear();
    const auto pem = cloud.files.Read(path, kMaxCaBytes);
    if (cloud.files.content_hash() == before) {
      continue;
    }
    const absl::Status status = Use(pem, &cloud);
    LogLine(status.ok() ? LogLevel::kInfo : LogLevel::kError,
            status.ok() ? "cloud_ca_loaded" : "cloud_ca_refused")
        .Str("cloud", name)
        .Str("file", path)
        .Str("error", std::string(status.message()));
  }
}

absl::StatusOr<std::shared_ptr<const ConsoleTarget>> CloudTargets::Make(
    const std::string& cloud_name, const CloudConsole& found) {
  Cloud& cloud = clouds_.at(cloud_name);
  auto tls = TlsFor(&cloud, found);
  if (!tls.ok()) {
    return tls.status();
  }
  const CloudConfig& config = cloud.config;
  auto console = std::make_shared<Console>();
  console->name = config.name + "." + found.id;
  console->title = found.title.empty() ? config.title : found.title;
  console->host = found.host;
  console->port = found.port;
  console->ticket = found.ticket;
  console->guard = config.guard;
  console->policy_name = config.policy_name;
  if (!config.policy_name.empty()) {
    console->policy = policies_->at(config.policy_name);
  }
  auto target = std::make_shared<ConsoleTarget>();
  if (*tls != nullptr) {
    console->tls_port = found.tls_port;
    console->ca_pem = found.ca_pem.empty() ? cloud.ca_pem : found.ca_pem;
    console->host_subject =
        found.host_subject.empty()
            ? HostSubjectFor(config.servers.host_subject, found.host)
            : found.host_subject;
    target->tls = *std::move(tls);
  }
  target->console = std::move(console);
  return std::shared_ptr<const ConsoleTarget>(std::move(target));
}

absl::StatusOr<CloudTargets::TlsContext> CloudTargets::TlsFor(
    Cloud* cloud, const CloudConsole& found) {
  const bool trusted = cloud->anchors != nullptr || !found.ca_pem.empty();
  if (!trusted || found.tls_port == 0) {
    if (cloud->config.servers.require_secure || found.port == 0) {
      return NotDiallable();
    }
    return TlsContext();
  }
  const bool own = !found.ca_pem.empty() || !found.host_subject.empty();
  auto tls = own ? OwnTls(*cloud, found) : SharedTls(cloud, found.host);
  if (!tls.ok()) {
    LogLine(LogLevel::kError, "cloud_console_refused")
        .Str("cloud", cloud->config.name)
        .Str("console", found.id)
        .Str("error", std::string(tls.status().message()));
    return NotDiallable();
  }
  return tls;
}

absl::StatusOr<CloudTargets::TlsContext> CloudTargets::OwnTls(
    const Cloud& cloud, const CloudConsole& found) {
  const std::string subject =
      found.host_subject.empty()
          ? HostSubjectFor(cloud.config.servers.host_subject, found.host)
          : found.host_subject;
  return found.ca_pem.empty()
             ? cloud.anchors->ForServer(subject, found.host)
             : ClientTlsContext::Create(found.ca_pem, subject, found.host);
}

absl::StatusOr<CloudTargets::TlsContext> CloudTargets::SharedTls(
    Cloud* cloud, const std::string& host) {
  if (cloud->servers.size() >= kMaxIdleServers) {
    std::erase_if(cloud->servers,
                  [](const auto& entry) { return entry.second.expired(); });
  }
  std::weak_ptr<const ClientTlsContext>& known = cloud->servers[host];
  if (TlsContext shared = known.lock()) {
    return shared;
  }
  auto tls = cloud->anchors->ForServer(
      HostSubjectFor(cloud->config.servers.host_subject, host), host);
  if (tls.ok()) {
    known = *tls;
  }
  return tls;
}

}  // namespace spicegate
