// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_TLS_HANDSHAKE_H_
#define SPICEGATE_GATEWAY_TLS_HANDSHAKE_H_

#include "gateway/base/close_reason.h"
#include "gateway/base/task.h"
#include "gateway/io/socket.h"
#include "gateway/tls/tls_stream.h"

namespace spicegate {

// Runs `stream`'s handshake to its end. `socket` is the one at the bottom of
// the stream. 0, what TlsStream::Handshake failed with, or the error that the
// socket was interrupted with. Both must outlive the task.
Task<int> CompleteHandshake(TlsStream* stream, Socket* socket);

// Counts a handshake that ended with `error`, or 0.
void CountHandshake(const TlsStream& stream, int error, TlsLeg leg,
                    WorkerCounters* counters);

// The close reason of a hypervisor's leg whose handshake failed so.
CloseReason ServerTlsReason(TlsFailure failure);

// The close reason of a viewer's leg whose handshake failed so.
CloseReason ClientTlsReason(TlsFailure failure);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_TLS_HANDSHAKE_H_
