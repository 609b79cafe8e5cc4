// SPDX-License-Identifier: Apache-2.0
//
// A plain connection to a server: name, addresses in turn, unix sockets.
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_DIALER_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_DIALER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "gateway/base/close_reason.h"
#include "gateway/base/task.h"
#include "gateway/io/leg.h"
#include "gateway/io/listen.h"
#include "gateway/server_link/link_context.h"

namespace spicegate {

// Why a wait on a server's leg ended with `error` (a negated errno).
CloseReason ServerReasonOf(int error);

// One connection. Dials into a leg that is its owner's, so that whoever has to
// stop can interrupt it.
class Dialer {
 public:
  // Nothing, or why it could not be.
  using Failure = std::optional<CloseReason>;
  using Filter = AddressFilter;

  Dialer(const ServerLinkContext& context, Leg* leg)
      : context_(context), leg_(leg) {}
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;

  // All of it by `deadline_ms` (monotonic). With a filter that allows none of
  // the addresses: kConnectForbidden.
  Task<Failure> Dial(const HostPort* place, int64_t deadline_ms,
                     const Filter* filter = nullptr);
  Task<Failure> DialUnix(const std::string* path, int64_t deadline_ms);

  // Makes what is under way, or yet to begin, end soon with kShutdown.
  void Abandon();

 private:
  Task<Failure> Connect(SocketAddress address, int64_t deadline_ms);

  const ServerLinkContext& context_;
  Leg* const leg_;
  bool abandoned_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_DIALER_H_
