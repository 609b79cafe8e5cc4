// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_CERTIFICATE_H_
#define SPICEGATE_GATEWAY_CERTIFICATE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gateway/control/config.h"
#include "gateway/tls/server_context.h"

namespace spicegate {

struct Certificate {
  std::shared_ptr<const ServerTlsContext> context;
  // What .vv files carry as `ca`; empty when viewers' own trust store is to
  // decide.
  std::string ca_for_viewers;
};

// The configured pair. The error names the file.
absl::StatusOr<Certificate> LoadCertificateFiles(const TlsConfig& config);

// Reads the files that LoadOrMakeCertificate would, and makes none.
absl::Status CheckCertificateFiles(const Config& config);

// The configured pair or, without one, a self-signed certificate for `names`
// (the first is its CN; localhost and its addresses are added), kept in the
// state directory. When the directory was not configured and cannot be written,
// it lives in memory and a warning says so. Control thread, before the workers
// start.
absl::StatusOr<Certificate> LoadOrMakeCertificate(
    const Config& config, const std::vector<std::string>& names);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CERTIFICATE_H_
