// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_NAME_LOOKUP_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_NAME_LOOKUP_H_

#include <cstdint>
#include <string>

#include "gateway/server_link/inquiry.h"
#include "gateway/server_link/resolver.h"

namespace spicegate {

struct HostPort {
  std::string host;
  uint16_t port = 0;
};

// A worker's side of the resolver. No addresses: the name does not resolve in
// time.
using NameLookup = Inquiry<HostPort, Addresses>;

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_NAME_LOOKUP_H_
