// SPDX-License-Identifier: Apache-2.0
//
// For tests: what a console with a CA has, where no handshake is made.
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_TLS_FOR_TESTS_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_TLS_FOR_TESTS_H_

#include <memory>
#include <string>

#include "gateway/tls/client_context.h"
#include "gateway/tls/self_signed.h"

namespace spicegate {

// Any certificate will do; made once.
inline const std::string& TestCa() {
  static const auto* const pem =
      new std::string(MakeSelfSigned({"ca"}, 1'800'000'000)->certificate_pem);
  return *pem;
}

inline std::shared_ptr<const ClientTlsContext> TestTls(
    const std::string& subject) {
  return *ClientTlsContext::Create(TestCa(), subject, "localhost");
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_TLS_FOR_TESTS_H_
