// SPDX-License-Identifier: Apache-2.0
#include <sys/resource.h>

#include <cstdio>
#include <string>
#include <vector>

#include "bench/load/options.h"
#include "bench/load/report.h"
#include "bench/load/run.h"

namespace spicegate {
namespace {

// As in the gateway: sysexits.h.
constexpr int kUsage = 64;
// The loop's, the log's, listeners and what libraries open.
constexpr int64_t kOtherDescriptors = 64;

// As many descriptors as this process may have, less its own.
int64_t RaiseDescriptors() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int64_t>(limit.rlim_cur) - kOtherDescriptors;
}

int Main(const std::vector<std::string>& args) {
  if (!args.empty() && args[0] == "--help") {
    std::fputs(UsageText(), stdout);
    return 0;
  }
  const ParsedOptions parsed = ParseOptions(args);
  if (!parsed.error.empty()) {
    std::fprintf(stderr, "spicegate-load: %s\n", parsed.error.c_str());
    return kUsage;
  }
  Run run(parsed.options, RaiseDescriptors());
  const std::string error = run.Execute();
  if (!error.empty()) {
    std::fprintf(stderr, "spicegate-load: %s\n", error.c_str());
    return 1;
  }
  Say(ResultJson(run.options(), run.meter(), run.result()));
  return run.good() ? 0 : 1;
}

}  // namespace
}  // namespace spicegate

int main(int argc, char** argv) {
  return spicegate::Main(std::vector<std::string>(argv + 1, argv + argc));
}
