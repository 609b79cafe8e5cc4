// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/handshake.h"

#include <cerrno>

namespace spicegate {

Task<int> CompleteHandshake(TlsStream* stream, Socket* socket) {
  for (;;) {
    const int result = stream->Handshake();
    if (result != -EAGAIN) {
      co_return result;
    }
    const int error = co_await socket->Until(stream->HandshakeWait());
    if (error != 0) {
      co_return error;
    }
  }
}

void CountHandshake(const TlsStream& stream, int error, TlsLeg leg,
                    WorkerCounters* counters) {
  TlsHandshakeOutcome outcome = TlsHandshakeOutcome::kFailed;
  if (error == 0) {
    outcome = stream.resumed() ? TlsHandshakeOutcome::kResumed
                               : TlsHandshakeOutcome::kFull;
  }
  counters
      ->tls_handshakes[static_cast<size_t>(leg)][static_cast<size_t>(outcome)]
      .Add(1);
}

CloseReason ServerTlsReason(TlsFailure failure) {
  switch (failure) {
    case TlsFailure::kChain:
      return CloseReason::kServerTlsChain;
    case TlsFailure::kName:
      return CloseReason::kServerTlsName;
    case TlsFailure::kSubject:
      return CloseReason::kServerTlsSubject;
    case TlsFailure::kPeerGone:
      return CloseReason::kServerGone;
    case TlsFailure::kNone:
    case TlsFailure::kProtocol:
      break;
  }
  return CloseReason::kServerTls;
}

CloseReason ClientTlsReason(TlsFailure failure) {
  return failure == TlsFailure::kPeerGone ? CloseReason::kClientGone
                                          : CloseReason::kClientTls;
}

}  // namespace spicegate
