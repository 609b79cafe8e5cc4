// SPDX-License-Identifier: Apache-2.0
//
// The configuration: one JSON file, checked whole before anything starts. With
// no file at all the defaults below serve a single host. docs/ has the table
// for operators; README.md of this directory has the schema.
#ifndef SPICEGATE_GATEWAY_CONTROL_CONFIG_H_
#define SPICEGATE_GATEWAY_CONTROL_CONFIG_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/base/counters.h"
#include "gateway/base/limits.h"
#include "gateway/base/log.h"
#include "gateway/console/destinations.h"
#include "gateway/console/policy.h"
#include "gateway/control/address.h"
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

struct ListenerConfig {
  BindAddress address;
  bool tls = false;
  // Plain listeners only: answer every link with NEED_SECURED, so that a
  // viewer comes back on the TLS port.
  bool need_secured = false;
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

// What .vv files say about us. See portal.h for what stands in for what is
// not given here.
struct PublicConfig {
  std::string host;          // empty: not given
  uint16_t port = 0;         // 0: not given
  uint16_t tls_port = 0;     // 0: not given
  std::string host_subject;  // empty: viewers check the host name
  std::string ca_path;       // PEM that viewers are to trust; empty: none
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
};

// Parses and checks a whole configuration. Errors are InvalidArgument with one
// line, "FILE: PATH.INSIDE: expected ..., got ...". Touches no file.
absl::StatusOr<Config> ParseConfig(const std::string& text,
                                   const std::string& file_name);

// Reads and parses the file `path`. NotFound when there is none.
absl::StatusOr<Config> LoadConfig(const std::string& path);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_CONFIG_H_
