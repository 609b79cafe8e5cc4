// SPDX-License-Identifier: Apache-2.0
//
// What this kernel and these limits allow, asked once at start. Nothing is
// concluded from a version number.
#ifndef SPICEGATE_GATEWAY_IO_PROBE_H_
#define SPICEGATE_GATEWAY_IO_PROBE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace spicegate {

struct IoFeatures {
  bool single_issuer = false;
  bool defer_taskrun = false;
  bool multishot_accept = false;
  bool recvsend_bundle = false;
  bool ext_arg = false;     // a wait with a timeout in one call
  bool kernel_tls = false;  // the "tls" protocol can be put on a socket
};

// What the process is going to use; the limits are checked against it.
struct IoNeeds {
  int64_t num_workers = 1;
  int64_t max_links = 0;          // two descriptors each; 0: as many as fit
  int64_t other_connections = 0;  // of the control thread; one descriptor each
};

struct ProbeReport {
  IoFeatures features;
  int64_t max_links = 0;            // as asked for, or what fits
  int64_t max_pipes = 0;            // of each worker, for what is left
  int64_t nofile_limit = 0;         // soft limit after raising it
  int64_t nofile_needed = 0;        // descriptors
  int64_t memlock_limit_bytes = 0;  // -1: no limit
  int64_t memlock_needed_bytes = 0;
};

// Descriptors the process may have open with `needs`.
int64_t DescriptorsNeeded(const IoNeeds& needs);

// The number of links a limit of `nofile_limit` descriptors (-1: none) has
// room for, between kFewestAutomaticLinks and kMostAutomaticLinks.
int64_t LinksThatFit(const IoNeeds& needs, int64_t nofile_limit);

// Pipes that each worker may have beside those links; `nofile_limit` as above.
int64_t PipesThatFit(const IoNeeds& needs, int64_t nofile_limit);

// Memory the kernel may charge to RLIMIT_MEMLOCK for the rings. It charges per
// user, and an old and a new process overlap in a restart, hence twice.
int64_t LockedBytesNeeded(const IoNeeds& needs);

// Raises RLIMIT_NOFILE and RLIMIT_MEMLOCK to their hard limits, then asks the
// kernel. An error names the limit and the value needed, in one line fit for
// an operator: RLIMIT_NOFILE, RLIMIT_MEMLOCK, or why io_uring is refused.
absl::Status ProbeIo(const IoNeeds& needs, ProbeReport* report);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_PROBE_H_
