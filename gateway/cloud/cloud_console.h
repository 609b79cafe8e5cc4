// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_CLOUD_CLOUD_CONSOLE_H_
#define SPICEGATE_GATEWAY_CLOUD_CLOUD_CONSOLE_H_

#include <cstdint>
#include <string>

namespace spicegate {

// A desktop as its cloud describes it. Host and ports are checked: what can be
// dialled, and nothing else.
struct CloudConsole {
  // The instance, [A-Za-z0-9._-]: with the cloud's name in front a console's.
  std::string id;
  std::string title;      // UTF-8; empty: the cloud's, or the console's name
  std::string host;       // DNS name, IPv4, or IPv6 without brackets
  uint16_t port = 0;      // 0: none
  uint16_t tls_port = 0;  // 0: none. One of both is not 0
  // Of kHttp only:
  std::string ticket;        // the server's own password. Secret
  std::string ca_pem;        // in place of the cloud's servers.ca_path
  std::string host_subject;  // in place of the cloud's
  std::string policy_name;   // on top of the cloud's; checked by the caller
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CLOUD_CLOUD_CONSOLE_H_
