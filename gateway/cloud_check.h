// SPDX-License-Identifier: Apache-2.0
//
// What can be wrong with "portal" and "clouds" beyond their own text.
#ifndef SPICEGATE_GATEWAY_CLOUD_CHECK_H_
#define SPICEGATE_GATEWAY_CLOUD_CHECK_H_

#include <cstdint>

#include "absl/status/status.h"
#include "gateway/control/config.h"
#include "gateway/tls/certificate_check.h"

namespace spicegate {

// Reads the files that they name: certificate and key of the portal, secrets,
// CAs; and tries the subjects of servers. The first mistake, which names its
// file; or else OK, with what an operator should know added to `findings`. Asks
// no cloud and changes nothing. OK without a portal.
absl::Status CheckClouds(const Config& config, int64_t now_unix_s,
                         CertificateFindings* findings);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_CHECK_H_
