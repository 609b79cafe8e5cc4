// SPDX-License-Identifier: Apache-2.0
#include "tests/load/load_environment.h"

#include <sys/resource.h>

#include <cstdlib>

namespace spicegate {

uint64_t NumberFromEnv(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

void RaiseFileLimit() {
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace spicegate
