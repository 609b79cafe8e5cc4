// SPDX-License-Identifier: Apache-2.0
//
// What a request at the portal asks for: of which cloud, with which token, and
// in which form the answer is wanted. Pure.
#ifndef SPICEGATE_GATEWAY_PORTAL_PORTAL_REQUEST_H_
#define SPICEGATE_GATEWAY_PORTAL_PORTAL_REQUEST_H_

#include <string>
#include <string_view>
#include <vector>

#include "gateway/http/http.h"

namespace spicegate {

// Of "clouds", what the portal tells them apart by.
struct PortalCloud {
  std::string name;
  std::vector<std::string> paths;
  std::vector<std::string> hosts;  // lower case, without ports; empty: any
};

// Which of `clouds` has a path and a host: the first that names both, else the
// first that names the path and takes any host. Null: none. `host` is a Host
// header as it came; null (HTTP/1.0): one that nobody names.
const PortalCloud* FindPortalCloud(const std::vector<PortalCloud>& clouds,
                                   std::string_view path,
                                   const std::string* host);

struct PortalQuery {
  // Empty: there was no token, there were several, or its percent-encoding is
  // broken.
  std::string token;
  // The file is wanted ("file=1"), whatever Accept says.
  bool file = false;
};

// NAME=VALUE, separated by '&'; names and values percent-decoded, a '+' left
// as it is. Other parameters are not looked at.
PortalQuery ParsePortalQuery(std::string_view query);

// Whether a person is to have a page: Accept (RFC 9110, 12.5.1) names text/html
// itself and rates neither JSON nor a connection file higher. What browsers
// send does, what curl and scripts send does not.
bool WantsPage(const HttpRequest& request);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_PORTAL_PORTAL_REQUEST_H_
