// SPDX-License-Identifier: Apache-2.0
#include "gateway/door/client_leg.h"

#include <array>
#include <cerrno>
#include <memory>
#include <utility>

#include "gateway/base/limits.h"
#include "gateway/io/deadline.h"
#include "gateway/tls/handshake.h"
#include "gateway/tls/tls_stream.h"

namespace spicegate {

CloseReason ClientReasonOf(int error) {
  switch (error) {
    case -ETIMEDOUT:
      return CloseReason::kPreauthTimeout;
    case -ECANCELED:
      return CloseReason::kShutdown;
    default:
      return CloseReason::kClientGone;
  }
}

Task<std::optional<CloseReason>> SecureClient(Leg* leg,
                                              const DoorContext* context) {
  auto stream =
      TlsStream::Server(context->tls, std::move(leg->stream), context->offload);
  if (stream == nullptr) {
    co_return CloseReason::kInternal;
  }
  TlsStream* tls = stream.get();
  leg->stream = std::move(stream);
  const int error = co_await CompleteHandshake(tls, leg->socket.get());
  CountHandshake(*tls, error, TlsLeg::kClient, context->counters);
  if (error == 0) {
    co_return std::nullopt;
  }
  if (error == -ETIMEDOUT || error == -ECANCELED) {
    co_return ClientReasonOf(error);
  }
  co_return ClientTlsReason(tls->failure());
}

Task<void> SayGoodbye(Leg* leg, TimerWheel* timers) {
  Deadline deadline(timers, leg->socket.get(),
                    timers->now_ms() + kRefusalLingerMs);
  leg->stream->ShutdownWrite();
  std::array<uint8_t, 1024> dropped;
  // Bounded in bytes as well: a refused client may not keep us reading.
  for (size_t total = 0; total < kPumpBufferBytes;) {
    const ssize_t n = leg->stream->Read(dropped);
    if (n == 0 || (n < 0 && n != -EAGAIN)) {
      co_return;
    }
    if (n > 0) {
      total += static_cast<size_t>(n);
      continue;
    }
    if (co_await leg->socket->Until(leg->stream->ReadWait()) != 0) {
      co_return;
    }
  }
}

}  // namespace spicegate
