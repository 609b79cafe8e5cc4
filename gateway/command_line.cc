// SPDX-License-Identifier: Apache-2.0
#include "gateway/command_line.h"

#include <sysexits.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "gateway/version.h"

// Described in kUsage.
ABSL_FLAG(std::string, config, "", "configuration file");
ABSL_FLAG(bool, check_config, false, "check the configuration and exit");

namespace spicegate {
namespace {

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
    "                  the first mistake with its path, or what viewers will\n"
    "                  find wrong with the certificates; exits 78 for a\n"
    "                  mistake, else 0\n"
    "  --version       print the version\n"
    "  --help          print this\n\n"
    "SIGTERM and SIGINT end it once every channel has ended; SIGHUP reads the\n"
    "consoles file, certificates, keys and ticket keys again where they have\n"
    "changed, which it does by itself every second too.\n";

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

CommandLine ParseCommandLine(int argc, char** argv) {
  if (WantsHelp(argc, argv)) {
    std::fputs(kUsage, stdout);
    std::exit(EX_OK);
  }
  DescribeUsage();
  AcceptDashes(argc, argv);
  absl::ParseCommandLine(argc, argv);
  return {absl::GetFlag(FLAGS_config), absl::GetFlag(FLAGS_check_config)};
}

}  // namespace spicegate
