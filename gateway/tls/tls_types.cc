// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/tls_types.h"

namespace spicegate {

std::string_view TlsFailureName(TlsFailure failure) {
  switch (failure) {
    case TlsFailure::kNone:
      return "none";
    case TlsFailure::kProtocol:
      return "protocol";
    case TlsFailure::kChain:
      return "chain";
    case TlsFailure::kName:
      return "name";
    case TlsFailure::kSubject:
      return "subject";
    case TlsFailure::kPeerGone:
      return "peer_gone";
  }
  return "unknown";
}

}  // namespace spicegate
