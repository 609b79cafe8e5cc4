// SPDX-License-Identifier: Apache-2.0
//
// What the configuration says of the clouds ("clouds") whose console tokens
// users show at the portal. Plain data.
#ifndef SPICEGATE_GATEWAY_CLOUD_CLOUD_CONFIG_H_
#define SPICEGATE_GATEWAY_CLOUD_CLOUD_CONFIG_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gateway/console/policy.h"

namespace spicegate {

// What a cloud's console names begin with: "prod" in "prod.UUID", and a label
// of metrics.
inline constexpr size_t kMaxCloudNameLen = 32;

// Each has its own token and connections.
inline constexpr size_t kMaxClouds = 64;

enum class CloudKind : uint8_t {
  kNova,  // OpenStack: Keystone and Nova's spice-direct consoles
  kHttp,  // any broker that answers POST {"token": ...}
};

// How the gateway shows Keystone who it is.
struct KeystoneConfig {
  std::string url;      // "https://keystone.example.org:5000/v3"
  std::string ca_path;  // empty: the system's trust store
  // A password (user or user_id, in a project) where `credential` is false;
  // else an application credential: by id, or by name with user or user_id.
  bool credential = false;
  std::string user;  // empty: user_id
  std::string user_id;
  std::string user_domain;  // a name; with `user` one of both
  std::string user_domain_id;
  std::string project;  // empty: project_id
  std::string project_id;
  std::string project_domain;
  std::string project_domain_id;
  std::string credential_id;  // empty: credential_name
  std::string credential_name;
  std::string secret_path;  // the password or the secret, one line. Read anew
                            // for each authentication
};

// Where Nova is.
struct ComputeConfig {
  std::string endpoint;  // "http://nova:8774/v2.1"; empty: the catalog's
  std::string interface = "public";  // of the catalog, or "internal", "admin"
  std::string region;                // of the catalog; empty: its first
  std::string ca_path;               // empty: as Keystone's
};

// Where a kHttp broker is.
struct BrokerConfig {
  std::string url;
  std::string ca_path;      // empty: the system's trust store
  std::string secret_path;  // of the bearer token, one line; empty: none
};

// How the cloud's hypervisors are dialled.
struct CloudServers {
  bool require_secure = false;  // never without TLS
  // Trust anchors of their TLS ports; without one only plain ports are dialled.
  std::string ca_path;
  // Replaces the host name check; "{host}" in it is the server's host. Empty:
  // the host name check.
  std::string host_subject;
};

struct CloudConfig {
  std::string name;
  CloudKind kind = CloudKind::kNova;
  // The portal's paths and Host names whose tokens are of this cloud; no host
  // names: any. The first cloud that fits has it, those with hosts first.
  std::vector<std::string> paths = {"/nova", "/nova-console.vv"};
  std::vector<std::string> hosts;  // lower case, without ports
  KeystoneConfig keystone;         // of kNova
  ComputeConfig compute;           // of kNova
  BrokerConfig broker;             // of kHttp
  CloudServers servers;
  std::string title;  // of viewers' windows; empty: the console's name
  std::string policy_name;
  GuardMode guard = GuardMode::kEnforce;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_CLOUD_CONFIG_H_
