// SPDX-License-Identifier: Apache-2.0
//
// Small secret files that survive crashes. Control thread only: they block.
#ifndef SPICEGATE_GATEWAY_TLS_STATE_FILE_H_
#define SPICEGATE_GATEWAY_TLS_STATE_FILE_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace spicegate {

// More than any key with its certificate.
inline constexpr size_t kMaxStateFileBytes = 64 * 1024;

// The content. NotFound when there is no such file, FailedPrecondition, with
// the path and the reason, when it cannot be read or is too long.
absl::StatusOr<std::string> ReadStateFile(const std::string& path);

// Replaces `path`, mode 0600, so that after a crash either the old or the new
// content is there, whole. FailedPrecondition with the path and the reason.
absl::Status WriteStateFile(const std::string& path,
                            const std::string& content);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_STATE_FILE_H_
