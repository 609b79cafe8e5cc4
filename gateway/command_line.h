// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_COMMAND_LINE_H_
#define SPICEGATE_GATEWAY_COMMAND_LINE_H_

#include <string>

namespace spicegate {

struct CommandLine {
  std::string config_path;  // empty: not given
  bool check_config = false;
};

// Ends the process after --help and --version (0) and after a flag that does
// not exist (1). For main alone, once.
CommandLine ParseCommandLine(int argc, char** argv);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_COMMAND_LINE_H_
