// SPDX-License-Identifier: Apache-2.0
//
// Flags, configuration, signals, run. No logic.
#include <signal.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "gateway/base/log.h"
#include "gateway/server.h"
#include "gateway/version.h"

// Described in kUsage.
ABSL_FLAG(std::string, config, "", "configuration file");
ABSL_FLAG(bool, check_config, false, "check the configuration and exit");

namespace spicegate {
namespace {

constexpr char kDefaultConfigPath[] = "/etc/spicegate/config.json";
constexpr int64_t kLogDeadlineMs = 2'000;

absl::StatusOr<Config> ReadConfig() {
  const std::string path = absl::GetFlag(FLAGS_config);
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

int Main() {
  absl::StatusOr<Config> config = ReadConfig();
  if (!config.ok()) {
    return Report(config.status(), EX_CONFIG);
  }
  if (absl::GetFlag(FLAGS_check_config)) {
    const absl::Status status = CheckConfig(*config);
    return status.ok() ? EX_OK : Report(status, EX_CONFIG);
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

// "--check-config" as well as "--check_config": flags are C++ identifiers.
void AcceptDashes(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (argv[i][0] != '-') {
      continue;
    }
    char* name = argv[i] + std::strspn(argv[i], "-");
    for (char* c = name; *c != '\0' && *c != '='; ++c) {
      if (*c == '-') {
        *c = '_';
      }
    }
  }
}

constexpr char kUsage[] =
    "spicegate: a SPICE gateway, carries viewers to virtual desktops.\n\n"
    "  spicegate [--config FILE] [--check-config]\n\n"
    "  --config FILE   configuration (JSON); without it\n"
    "                  /etc/spicegate/config.json where that exists, else\n"
    "                  every setting has its default\n"
    "  --check-config  read the configuration and all files it names, report\n"
    "                  the first mistake with its path; exits 0 or 78\n"
    "  --version       print the version\n"
    "  --help          print this\n\n"
    "SIGTERM and SIGINT end it once every channel has ended; SIGHUP reads the\n"
    "consoles file again.\n";

// absl ends --help with 1; everybody else expects 0.
bool WantsHelp(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--help" || argument == "-h") {
      return true;
    }
  }
  return false;
}

void DescribeUsage() {
  absl::SetProgramUsageMessage(kUsage);
  absl::FlagsUsageConfig usage;
  usage.version_string = [] {
    return std::string("spicegate ") + kVersion + "\n";
  };
  absl::SetFlagsUsageConfig(usage);
}

}  // namespace
}  // namespace spicegate

int main(int argc, char** argv) {
  if (spicegate::WantsHelp(argc, argv)) {
    std::fputs(spicegate::kUsage, stdout);
    return EX_OK;
  }
  spicegate::DescribeUsage();
  spicegate::AcceptDashes(argc, argv);
  absl::ParseCommandLine(argc, argv);
  return spicegate::Main();
}
