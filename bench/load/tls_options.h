// SPDX-License-Identifier: Apache-2.0
//
// What viewers ask of TLS. Apart from tls.h, which needs BoringSSL's headers.
#ifndef SPICEGATE_BENCH_LOAD_TLS_OPTIONS_H_
#define SPICEGATE_BENCH_LOAD_TLS_OPTIONS_H_

#include <cstdint>

namespace spicegate {

enum class TlsCipher : uint8_t {
  kAny,
  kAes128Gcm,
  kAes256Gcm,
  kChaCha20Poly1305,
};

struct TlsOptions {
  // As on the wire, 0x0303 or 0x0304; 0: what both sides prefer.
  uint16_t version = 0;
  // A connection with another one is an error of the run. TLS 1.2 offers no
  // other; TLS 1.3 offers all that BoringSSL has, and the server chooses.
  TlsCipher cipher = TlsCipher::kAny;
  // Each connection resumes the newest session that there is a ticket for.
  // Otherwise every handshake is a full one.
  bool resume = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_TLS_OPTIONS_H_
