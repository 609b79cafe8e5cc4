// SPDX-License-Identifier: Apache-2.0
//
// What people at the portal are told, by CloudService::Resolve's codes. No
// address, name or secret is in it; operators find those in the log.
#ifndef SPICEGATE_GATEWAY_CLOUD_CLOUD_ERRORS_H_
#define SPICEGATE_GATEWAY_CLOUD_CLOUD_ERRORS_H_

#include "absl/status/status.h"

namespace spicegate {

inline absl::Status UnknownLinkError() {
  return absl::NotFoundError(
      "this link is unknown or has expired; ask your cloud for a new one");
}

inline absl::Status OtherConsoleError() {
  return absl::NotFoundError(
      "this link is for another kind of console; ask your cloud for one for "
      "SPICE");
}

inline absl::Status NoWayInError() {
  return absl::FailedPreconditionError(
      "this desktop cannot be reached in the way that is required here; tell "
      "your administrator");
}

inline absl::Status GatewayRefusedError() {
  return absl::PermissionDeniedError(
      "the cloud does not let this gateway look for desktops; tell your "
      "administrator");
}

inline absl::Status CloudBrokenError() {
  return absl::UnavailableError(
      "the cloud does not answer as it should; try again in a few seconds");
}

inline absl::Status CloudSlowError() {
  return absl::DeadlineExceededError(
      "the cloud takes too long to answer; try again in a few seconds");
}

inline absl::Status TooManyError() {
  return absl::ResourceExhaustedError(
      "too many people ask for desktops at this moment; try again in a few "
      "seconds");
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_CLOUD_ERRORS_H_
