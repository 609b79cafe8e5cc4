// SPDX-License-Identifier: Apache-2.0
//
// The configuration: one JSON file, checked whole before anything starts. With
// no file at all the defaults below serve a single host. docs/ has the table
// for operators; README.md of this directory has the schema.
#ifndef SPICEGATE_GATEWAY_CONTROL_CONFIG_H_
#define SPICEGATE_GATEWAY_CONTROL_CONFIG_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/base/address.h"
#include "gateway/base/counters.h"
#include "gateway/base/limits.h"
#include "gateway/base/log.h"
#include "gateway/cloud/cloud_config.h"
#include "gateway/console/allow_list.h"
#include "gateway/console/destinations.h"
#include "gateway/console/host_patterns.h"
#include "gateway/console/policy.h"
#include "gateway/tls/tls_types.h"

namespace spicegate {

// The file of a large installation has 4 kB.
inline constexpr size_t kMaxConfigBytes = 1024 * 1024;

// Each listener costs every worker one socket.
inline constexpr size_t kMaxListeners = 16;

// Handshakes look a name up in an index; this is what an operator can mean.
inline constexpr size_t kMaxCertificates = 256;

// One ring and one pinned thread each.
inline constexpr int64_t kMaxWorkers = 256;

// One for each kind of user, or of desktop.
inline constexpr size_t kMaxPolicies = 1024;

// Hosts are looked at once for each migration.
inline constexpr size_t kMaxDestinations = 4096;

// Looked through for each connection from a balancer, and for each CONNECT.
inline constexpr size_t kMaxProxies = 256;
inline constexpr size_t kMaxConnectRules = 256;
inline constexpr size_t kMaxConnectHosts = 1024;  // of one rule
inline constexpr size_t kMaxConnectPorts = 64;    // likewise

// Of a Proxmox cluster.
inline constexpr size_t kMaxProxmoxNodes = 256;

// Of one cloud.
inline constexpr size_t kMaxCloudPaths = 8;
inline constexpr size_t kMaxCloudHosts = 64;

enum class ListenerProtocol : uint8_t {
  kSpice,
  kConnect,  // HTTP CONNECT, and SPICE or TLS inside
};

struct ListenerConfig {
  BindAddress address;
  bool tls = false;
  // Plain listeners of kSpice only: answer every link with NEED_SECURED, so
  // that a viewer comes back on the TLS port.
  bool need_secured = false;
  ListenerProtocol protocol = ListenerProtocol::kSpice;
  // Every connection begins with a PROXY header, in front of TLS too.
  bool proxy_protocol = false;
  // With proxy_protocol: who may connect at all. Addresses and networks only;
  // empty: everybody.
  HostPatterns proxy_from = {};
};

// Who may go where with HTTP CONNECT, besides Proxmox tickets.
struct ConnectConfig {
  bool tickets = true;  // tickets of ours open their console
  bool tunnels = true;  // ... to a TLS connection that we cannot look into too
  // Ask who shows nothing, or something wrong, for user and password.
  bool login = false;
  AllowList allow;  // who shows nothing may go here
};

// Tickets of a Proxmox cluster.
struct ProxmoxConfig {
  bool enabled = false;
  std::string key_path;  // set when enabled
  // The cluster's own list of its nodes' addresses; one that is not there is
  // no mistake.
  std::string members_path = "/etc/pve/.members";
  std::string node;  // lower case; empty: the machine's short name
  // Lower-case names of other nodes, and where their desktops are dialled
  // directly: a host name or an address without brackets.
  std::map<std::string, std::string> nodes;
  uint16_t proxy_port = 3128;   // of the nodes that are not among them
  uint16_t first_port = 61000;  // of desktops
  uint16_t last_port = 61999;
};

// Where users' browsers come with the links that their cloud gave them.
struct PortalConfig {
  bool enabled = false;
  BindAddress address;  // set when enabled
  bool tls = true;
  // Both or none. None: the certificates of TlsConfig, or the self-signed one.
  std::string certificate_path;
  std::string key_path;
  // Balancers. What they say of a user's address, and of HTTPS in front of
  // them, is believed. Addresses and networks only.
  HostPatterns trusted_proxies = {};
  // Every connection begins with a PROXY header, and comes from a trusted
  // proxy.
  bool proxy_protocol = false;
};

struct CertificatePaths {
  std::string certificate;
  std::string key;
};

struct TlsConfig {
  // The first is shown where a client asks for no name that one of them has.
  // None: a self-signed certificate kept in state_dir.
  std::vector<CertificatePaths> certificates;
  TlsVersion min_version = TlsVersion::kTls12;
  // In order of preference. Empty: all, as in TlsSuite.
  std::vector<TlsSuite> tls12_suites;
  // Keys of session tickets; empty: random ones of this process.
  std::string ticket_keys_path;
  TlsOffload offload = TlsOffload::kAuto;
  OffloadDirections client_offload = OffloadDirections::kBoth;
  OffloadDirections server_offload = OffloadDirections::kBoth;

  bool self_signed() const { return certificates.empty(); }
};

// HTTPS on the admin address.
struct AdminTlsConfig {
  // Both or none. None: plain HTTP.
  std::string certificate_path;
  std::string key_path;
  // PEM; a client must have a certificate that leads there. Empty: no client
  // is asked for one.
  std::string client_ca_path;
  // ... and that has one of these as common name, dNSName or URI. Empty: any.
  std::vector<std::string> client_names;

  bool enabled() const { return !certificate_path.empty(); }
};

struct AdminConfig {
  // Loopback, unless clients must show a certificate.
  BindAddress address{"127.0.0.1", 9480};
  std::string unix_path;  // instead, when not empty
  AdminTlsConfig tls = {};
};

// What `proxy=` says in .vv files.
struct PublicConnect {
  std::string host;   // empty: not given
  uint16_t port = 0;  // 0: not given
  // As the first "connect" listener has it where the configuration says
  // nothing.
  bool tls = false;
};

// What .vv files say about us. See connection_file.h for what stands in for
// what is not given here.
struct PublicConfig {
  std::string host;          // empty: not given
  uint16_t port = 0;         // 0: not given
  uint16_t tls_port = 0;     // 0: not given
  std::string host_subject;  // empty: viewers check the host name
  std::string ca_path;       // PEM that viewers are to trust; empty: none
  PublicConnect connect;
};

struct TicketConfig {
  int64_t first_use_s = 60;  // from issue to the first link that uses it
};

struct RelayConfig {
  // How long a worker looks for more interactive work before it sleeps; see
  // SpinPolicy. 0: never.
  int64_t spin_us = kDefaultSpinUs;
  // Bulk goes through pipes instead of buffers where it can.
  bool splice = true;
};

// Paths are absolute or, given relative, start at the configuration file's
// directory; they are stored resolved.
struct Config {
  int64_t workers = 0;  // 0: one for each CPU we may run on
  std::vector<ListenerConfig> listeners = {
      {{"", 5930}, /*tls=*/false, /*need_secured=*/true},
      {{"", 5931}, /*tls=*/true, /*need_secured=*/false},
  };
  ConnectConfig connect;
  ProxmoxConfig proxmox;
  PortalConfig portal;
  std::vector<CloudConfig> clouds;  // none without a portal, and some with one
  TlsConfig tls;
  AdminConfig admin;
  PublicConfig public_address;
  std::string consoles_path = "/etc/spicegate/consoles.json";
  GuardMode guard = GuardMode::kEnforce;  // where a console says nothing
  PolicySet policies;
  Destinations migration_destinations;
  std::string state_dir;  // empty: not given, the gateway chooses one
  TicketConfig tickets;
  LogLevel log_level = LogLevel::kInfo;
  RelayConfig relay;
  Limits limits;

  bool HasTlsListener() const;
  // The portal shows the listeners' certificates.
  bool PortalNeedsCertificate() const {
    return portal.enabled && portal.tls && portal.certificate_path.empty();
  }
  // Null when there is none.
  const ListenerConfig* FirstConnectListener() const;
};

// Parses and checks a whole configuration. Errors are InvalidArgument with one
// line, "FILE: PATH.INSIDE: expected ..., got ...". Touches no file.
absl::StatusOr<Config> ParseConfig(const std::string& text,
                                   const std::string& file_name);

// Reads and parses the file `path`. NotFound when there is none.
absl::StatusOr<Config> LoadConfig(const std::string& path);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_CONFIG_H_
