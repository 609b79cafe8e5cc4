// SPDX-License-Identifier: Apache-2.0
//
// Configuration, signals, run. No logic.
#include <signal.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "gateway/base/log.h"
#include "gateway/command_line.h"
#include "gateway/server.h"

namespace spicegate {
namespace {

constexpr char kDefaultConfigPath[] = "/etc/spicegate/config.json";
constexpr int64_t kLogDeadlineMs = 2'000;

absl::StatusOr<Config> ReadConfig(const std::string& path) {
  if (!path.empty()) {
    return LoadConfig(path);
  }
  if (access(kDefaultConfigPath, F_OK) == 0) {
    return LoadConfig(kDefaultConfigPath);
  }
  return Config();
}

int Report(const absl::Status& status, int exit_code) {
  const std::string message(status.message());
  std::fprintf(stderr, "spicegate: %s\n", message.c_str());
  return exit_code;
}

void Tell(const char* kind, const std::vector<std::string>& findings) {
  for (const std::string& finding : findings) {
    std::fprintf(stderr, "spicegate: %s: %s\n", kind, finding.c_str());
  }
}

// Signals are taken from a descriptor by the control loop; every thread made
// later inherits the mask. A second SIGTERM or SIGINT ends the process at once.
int BlockSignals() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int Main(const CommandLine& command_line) {
  absl::StatusOr<Config> config = ReadConfig(command_line.config_path);
  if (!config.ok()) {
    return Report(config.status(), EX_CONFIG);
  }
  if (command_line.check_config) {
    const auto findings = CheckConfig(*config);
    if (!findings.ok()) {
      return Report(findings.status(), EX_CONFIG);
    }
    Tell("warning", findings->warnings);
    Tell("note", findings->notes);
    return EX_OK;
  }
  const int signal_fd = BlockSignals();
  SetLogLevel(config->log_level);
  StartLogging(STDERR_FILENO);
  absl::Status started;
  {
    Server server(*std::move(config));
    started = server.Start();
    if (started.ok()) {
      server.Run(signal_fd);
    }
  }
  StopLogging(kLogDeadlineMs);
  if (started.ok()) {
    return EX_OK;
  }
  return Report(started, started.code() == absl::StatusCode::kInvalidArgument
                             ? EX_CONFIG
                             : EX_UNAVAILABLE);
}

}  // namespace
}  // namespace spicegate

int main(int argc, char** argv) {
  return spicegate::Main(spicegate::ParseCommandLine(argc, argv));
}
