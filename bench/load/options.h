// SPDX-License-Identifier: Apache-2.0
//
// The command line of spicegate-load.
#ifndef SPICEGATE_BENCH_LOAD_OPTIONS_H_
#define SPICEGATE_BENCH_LOAD_OPTIONS_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/load/address.h"
#include "bench/load/pattern.h"
#include "bench/load/tls_options.h"

namespace spicegate {

enum class ScenarioKind : uint8_t {
  kBulk,
  kPingpong,
  kMixed,
  kStorm,
  kChurn,
  kIdle,
  kSession,
  kTunnels,
};

enum class Role : uint8_t { kBoth, kServer, kClient };

struct LoadOptions {
  ScenarioKind scenario = ScenarioKind::kBulk;
  Role role = Role::kBoth;
  std::optional<Address> serve;
  std::optional<Address> serve_raw;
  std::optional<Address> target;  // None: the server itself.
  std::optional<Address> admin;
  bool tls = false;
  bool serve_tls = false;
  TlsOptions tls_options;
  bool raw = false;
  bool upload = false;  // --direction c2s
  bool spin = true;
  Verify verify = Verify::kStamps;
  std::string connect;
  std::string ticket = "bench-ticket";
  int64_t consoles = 1;
  int64_t tickets = 0;  // To mint; 0: as many as the run may need.
  double seconds = 5;
  double warmup = 1;
  double hold = -1;  // Negative: until a line on stdin.
  int64_t seed = 1;
  std::vector<pid_t> watch_pids;

  // Of the scenarios. Defaults that differ are set by ParseOptions().
  int64_t streams = 1;
  int64_t write_bytes = 262'144;
  int64_t connections = 1;
  int64_t message_bytes = 64;
  int64_t rate = 0;  // Per second and connection; 0: closed loop.
  int64_t sessions = 200;
  int64_t floods = 4;
  int64_t channels = 10;
  int64_t burst = 600;      // Of channels, within one second.
  int64_t stalled = 0;      // Of channels, not reading what they are sent.
  int64_t concurrency = 0;  // 0: the scenario's own choice.
};

struct ParsedOptions {
  LoadOptions options;
  std::string error;  // "" when the options are good.
};

// `args` without the program's name. Flags are "--name value" or
// "--name=value"; all values are checked.
ParsedOptions ParseOptions(const std::vector<std::string>& args);

const char* ScenarioName(ScenarioKind scenario);

// What --help prints.
const char* UsageText();

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_OPTIONS_H_
