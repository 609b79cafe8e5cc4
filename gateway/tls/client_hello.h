// SPDX-License-Identifier: Apache-2.0
//
// What a ClientHello says about the certificates that its sender can use.
#ifndef SPICEGATE_GATEWAY_TLS_CLIENT_HELLO_H_
#define SPICEGATE_GATEWAY_TLS_CLIENT_HELLO_H_

#include <string>
#include <string_view>
#include <vector>

#include "gateway/base/counters.h"
#include "gateway/tls/server_certificate.h"

struct ssl_early_callback_ctx;

namespace spicegate {

// A name as two of them compare: in lower case, without a trailing dot.
std::string NormalServerName(std::string_view name);

struct ClientOffer {
  // Of server_name (RFC 6066), as NormalServerName has it. Empty without one;
  // an extension that does not parse counts as none, BoringSSL refuses it
  // afterwards.
  std::string server_name;

  // Whether the client verifies signatures of such keys in the version that
  // BoringSSL is going to choose. SHA-1 does not count. Without
  // signature_algorithms nothing does (RFC 5246 means SHA-1 by that).
  bool p256 = false;
  bool p384 = false;
  bool rsa = false;

  bool Takes(KeyKind kind) const {
    return kind == KeyKind::kRsa ? rsa : kind == KeyKind::kP256 ? p256 : p384;
  }
};

// Reads the hello in BoringSSL's early callback. `tls12_suites`: what we accept
// of TLS 1.2, whose suites name the kind of key. Linear in the hello's length.
ClientOffer ReadClientOffer(const ssl_early_callback_ctx& hello,
                            const std::vector<TlsSuite>& tls12_suites);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_CLIENT_HELLO_H_
