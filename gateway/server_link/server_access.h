// SPDX-License-Identifier: Apache-2.0
//
// Servers whose place and password are not written down anywhere: they are
// asked, and set, over QMP, which is the control thread's business.
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_SERVER_ACCESS_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_SERVER_ACCESS_H_

#include <cstdint>
#include <string>

#include "gateway/server_link/inquiry.h"

namespace spicegate {

struct AccessQuestion {
  std::string console;
  // Where the console's desktop has migrated to; empty: its own server.
  std::string host;
  uint16_t port = 0;
};

struct ServerAccess {
  enum class Result : uint8_t {
    kFailed,  // no answer, or the password could not be set
    // A destination that is no console of ours. Only `ticket` is set: the
    // source's, which whoever started the migration has taken along.
    kUnknown,
    kOk,
  };
  Result result = Result::kFailed;
  std::string host;
  uint16_t port = 0;
  uint16_t tls_port = 0;
  std::string unix_path;
  std::string ticket;  // secret; good for some seconds
};

using AccessLookup = Inquiry<AccessQuestion, ServerAccess>;

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_SERVER_ACCESS_H_
