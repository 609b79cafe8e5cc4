// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_TLS_CLIENT_NAMES_H_
#define SPICEGATE_GATEWAY_TLS_CLIENT_NAMES_H_

#include <string>
#include <vector>

struct x509_st;

namespace spicegate {

// Whether one of `names` is a common name in the subject of `certificate`, one
// of its URIs (letter by letter) or one of its dNSNames (whatever the case).
// No wildcards: a client is one party. What the certificate's alternative
// names are is not believed when they do not parse. The chain is not looked
// at here.
bool HasClientName(const x509_st* certificate,
                   const std::vector<std::string>& names);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_CLIENT_NAMES_H_
