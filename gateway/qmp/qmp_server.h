// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_QMP_QMP_SERVER_H_
#define SPICEGATE_GATEWAY_QMP_QMP_SERVER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "gateway/qmp/qmp_protocol.h"

namespace spicegate {

// Where a console's server listens, and what it lets in, for how long.
struct QmpServer {
  // An address or name that can be dialled from here; empty with `unix_path`.
  std::string host;
  uint16_t port = 0;      // plain SPICE; 0: none
  uint16_t tls_port = 0;  // SPICE in TLS; 0: none
  std::string unix_path;  // empty: TCP
  std::string password;   // secret
  // The server takes the password at least until then, MonotonicMs.
  int64_t armed_until_ms = 0;
};

// The server that query-spice tells of, without a password: a server that
// listens everywhere is dialled on loopback. FailedPrecondition where there is
// none, or where it lets everybody in: nobody is sent to a desktop that has no
// password.
absl::StatusOr<QmpServer> ServerOf(const QmpSpice& spice);

// Whether `server` is what `host` and `port` name. All names of this host
// (localhost, 127.0.0.0/8, ::1) are one; other names are compared without case.
bool ListensAt(const QmpServer& server, const std::string& host, uint16_t port);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_QMP_QMP_SERVER_H_
