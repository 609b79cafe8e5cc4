// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a configuration. What is accepted must keep its promises.
#include <cstddef>
#include <cstdint>
#include <string>

#include "gateway/base/check.h"
#include "gateway/base/limits.h"
#include "gateway/console/console.h"
#include "gateway/control/config.h"
#include "gateway/control/config_clouds.h"
#include "gateway/control/service_url.h"

namespace {

void CheckListener(const spicegate::ListenerConfig& listener) {
  CHECK(!listener.need_secured ||
        (!listener.tls &&
         listener.protocol == spicegate::ListenerProtocol::kSpice));
  CHECK(listener.proxy_protocol || listener.proxy_from.empty());
  spicegate::BindAddress again;
  CHECK(ParseBindAddress(FormatBindAddress(listener.address), &again));
  CHECK(again == listener.address);
}

void CheckConnect(const spicegate::Config& config) {
  const spicegate::ProxmoxConfig& proxmox = config.proxmox;
  CHECK(proxmox.enabled != proxmox.key_path.empty());
  CHECK(proxmox.first_port != 0 && proxmox.first_port <= proxmox.last_port);
  for (const auto& [name, host] : proxmox.nodes) {
    CHECK(!name.empty() && name != proxmox.node && !host.empty());
  }
  const bool lets_in = config.connect.tickets || proxmox.enabled ||
                       !config.connect.allow.empty();
  CHECK(lets_in || config.FirstConnectListener() == nullptr);
  const int64_t idle_ms = config.limits.tunnel_idle_ms;
  CHECK(idle_ms == 0 || idle_ms >= spicegate::kShortestTunnelIdleMs);
}

void CheckPortal(const spicegate::Config& config) {
  const spicegate::PortalConfig& portal = config.portal;
  CHECK(portal.enabled != config.clouds.empty());
  CHECK(portal.certificate_path.empty() == portal.key_path.empty());
  CHECK(portal.tls || portal.certificate_path.empty());
  CHECK(!portal.enabled || portal.tls || IsLoopback(portal.address) ||
        !portal.trusted_proxies.empty());
  CHECK(!portal.proxy_protocol || !portal.trusted_proxies.empty());
}

void CheckService(const std::string& url) {
  spicegate::ServiceUrl parsed;
  CHECK(spicegate::ParseServiceUrl(url, &parsed));
  CHECK(!parsed.host.empty() && parsed.port != 0);
  CHECK(parsed.host.find('@') == std::string::npos);
}

void CheckKeystone(const spicegate::KeystoneConfig& keystone) {
  CheckService(keystone.url);
  CHECK(!keystone.secret_path.empty());
  // Each identity and domain by name or by id, never by both.
  CHECK(keystone.user.empty() || keystone.user_id.empty());
  CHECK(keystone.user.empty() ==
        (keystone.user_domain.empty() && keystone.user_domain_id.empty()));
  if (keystone.credential) {
    CHECK(keystone.credential_id.empty() != keystone.credential_name.empty());
    CHECK(keystone.project.empty() && keystone.project_id.empty());
    return;
  }
  CHECK(keystone.user.empty() != keystone.user_id.empty());
  CHECK(keystone.project.empty() != keystone.project_id.empty());
}

void CheckCloud(const spicegate::CloudConfig& cloud,
                const spicegate::PolicySet& policies) {
  CHECK(!cloud.name.empty() &&
        cloud.name.size() <= spicegate::kMaxCloudNameLen);
  CHECK(spicegate::IsConsoleName(cloud.name + ".1"));
  CHECK(!cloud.paths.empty());
  CHECK(cloud.policy_name.empty() || policies.count(cloud.policy_name) == 1);
  const std::string& subject = cloud.servers.host_subject;
  CHECK(spicegate::HostSubjectFor(subject, "h").find('{') == std::string::npos);
  if (cloud.kind == spicegate::CloudKind::kHttp) {
    return CheckService(cloud.broker.url);
  }
  CheckKeystone(cloud.keystone);
  CHECK(!cloud.servers.require_secure || !cloud.servers.ca_path.empty());
  if (!cloud.compute.endpoint.empty()) {
    CheckService(cloud.compute.endpoint);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  const std::string text(reinterpret_cast<const char*>(data), len);
  const auto config = spicegate::ParseConfig(text, "f");
  if (!config.ok()) {
    CHECK(config.status().message().substr(0, 3) == "f: ");
    return 0;
  }
  CHECK(!config->listeners.empty());
  CHECK(config->listeners.size() <= spicegate::kMaxListeners);
  for (const spicegate::ListenerConfig& listener : config->listeners) {
    CheckListener(listener);
  }
  CheckConnect(*config);
  CheckPortal(*config);
  for (const spicegate::CloudConfig& cloud : config->clouds) {
    CheckCloud(cloud, config->policies);
  }
  CHECK(IsLoopback(config->admin.address) ||
        !config->admin.tls.client_ca_path.empty());
  for (const spicegate::CertificatePaths& pair : config->tls.certificates) {
    CHECK(!pair.certificate.empty() && !pair.key.empty());
  }
  CHECK(config->tls.tls12_suites.size() <= 3);
  for (const auto& [name, policy] : config->policies) {
    CHECK(spicegate::IsConsoleName(name));
    // Of main, display, inputs and cursor none.
    CHECK((policy.refused_channels & 0b1'1111) == 0);
  }
  CHECK(config->workers >= 0 && config->workers <= spicegate::kMaxWorkers);
  return 0;
}
