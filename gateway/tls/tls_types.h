// SPDX-License-Identifier: Apache-2.0
//
// Words that the contexts and the stream share.
#ifndef SPICEGATE_GATEWAY_TLS_TLS_TYPES_H_
#define SPICEGATE_GATEWAY_TLS_TLS_TYPES_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace spicegate {

// The values index the version dimension of WorkerCounters::tls_connections.
enum class TlsVersion : uint8_t { kTls12 = 0, kTls13 = 1 };

// Whether the records of relayed connections are the kernel's business.
enum class TlsOffload : uint8_t {
  kAuto,      // where the kernel can, user space elsewhere
  kRequired,  // the gateway does not start where the kernel cannot
  kOff,       // always user space
};

// The directions of one leg that may be given to the kernel, seen from the
// gateway: sending is towards the leg's peer. A set of bits.
enum class OffloadDirections : uint8_t {
  kNone = 0,
  kSend = 1,
  kReceive = 2,
  kBoth = 3,
};

// Why a handshake did not complete.
enum class TlsFailure : uint8_t {
  kNone,
  kProtocol,  // not TLS, no common version or suite, a fatal alert, a bad MAC
  kChain,     // the peer's certificate does not lead to the CA, or is not valid
  kName,      // ... does not name the host we dialled
  kSubject,   // ... does not have the subject it must have
  kPeerGone,  // the connection ended or failed below TLS
};

// A lower-case word for logs. Static storage.
std::string_view TlsFailureName(TlsFailure failure);

// A failure and our own library's words for it, for logs; never the peer's.
struct TlsVerdict {
  TlsFailure failure = TlsFailure::kNone;
  std::string detail;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_TLS_TYPES_H_
