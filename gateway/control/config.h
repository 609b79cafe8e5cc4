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
#include "gateway/base/limits.h"
#include "gateway/base/log.h"
#include "gateway/control/address.h"
#include "gateway/tls/tls_types.h"

namespace spicegate {

// The file of a large installation has 4 kB.
inline constexpr size_t kMaxConfigBytes = 1024 * 1024;

// Each listener costs every worker one socket.
inline constexpr size_t kMaxListeners = 16;

// One ring and one pinned thread each.
inline constexpr int64_t kMaxWorkers = 256;

struct ListenerConfig {
  BindAddress address;
  bool tls = false;
  // Plain listeners only: answer every link with NEED_SECURED, so that a
  // viewer comes back on the TLS port.
  bool need_secured = false;
};

struct TlsConfig {
  // Both or none. None: a self-signed certificate kept in state_dir.
  std::string certificate_path;
  std::string key_path;
  TlsVersion min_version = TlsVersion::kTls12;

  bool self_signed() const { return certificate_path.empty(); }
};

struct AdminConfig {
  BindAddress address{"127.0.0.1", 9480};  // loopback
  std::string unix_path;                   // instead, when not empty
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
