// SPDX-License-Identifier: Apache-2.0
#include "gateway/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace spicegate {

void CheckFailed(const char* file, int line, const char* what) {
  std::fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, what);
  std::abort();
}

}  // namespace spicegate
