// SPDX-License-Identifier: Apache-2.0
//
// The way to a console's SPICE server: TCP or unix, TLS when the console has a
// tls_port, then the SPICE link as a client (proto/README.md). What
// comes back is parsed as hostile: a guest can own its QEMU.
//
// Two steps, because a display must not be linked before its client's INIT is
// here (docs/architecture.md): Open ends with the server's link reply, which
// proves that it lives and has the channel; Authenticate commits.
#ifndef SPICEGATE_GATEWAY_SERVER_LINK_SERVER_LINK_H_
#define SPICEGATE_GATEWAY_SERVER_LINK_SERVER_LINK_H_

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>

#include "gateway/base/close_reason.h"
#include "gateway/base/task.h"
#include "gateway/io/leg.h"
#include "gateway/server_link/dialer.h"
#include "gateway/server_link/link_context.h"
#include "gateway/server_link/own_sockets.h"
#include "proto/caps.h"
#include "proto/channel.h"
#include "proto/link.h"

namespace spicegate {

// What the server is asked for.
struct ServerLinkRequest {
  uint32_t connection_id = 0;
  proto::ChannelKey channel;
  proto::CapsWords common_caps;   // the client's
  proto::CapsWords channel_caps;  // the client's
};

class ServerLink {
 public:
  // Nothing, or why it could not be.
  using Failure = std::optional<CloseReason>;

  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  // Open ends by `give_up_ms` (monotonic), whatever its own limits are.
  ServerLink(const ServerLinkContext& context, ConsoleTarget target,
             int64_t give_up_ms = kNever)
      : context_(context),
        target_(std::move(target)),
        give_up_ms_(give_up_ms) {}
  ServerLink(const ServerLink&) = delete;
  ServerLink& operator=(const ServerLink&) = delete;

  // Links over a plain connection that is there already, where a new one would
  // lead to the same server. Before Open.
  void Adopt(Leg leg) { leg_ = std::move(leg); }

  // Connects and links, up to the server's reply. Once.
  Task<Failure> Open(ServerLinkRequest request);

  // Makes Open, under way or yet to begin, end soon with kShutdown.
  void Abandon();

  // Presents the console's ticket and reads the result, then sends
  // `first_message`, all within `timeout_ms`. After a refusal result() tells
  // the server's code.
  Task<Failure> Authenticate(int64_t timeout_ms,
                             std::span<const uint8_t> first_message);

  proto::LinkError result() const { return result_; }
  // Where it leads: what it was made with, or after Open the place that the
  // server has named over QMP.
  const ConsoleTarget& target() const { return target_; }
  int64_t give_up_ms() const { return give_up_ms_; }

  // The leg, once authenticated; earlier it is closed with the object, which
  // hurts no server.
  Leg TakeLeg() { return std::move(leg_); }
  Leg* leg() { return &leg_; }
  // What says that the connection is ours; goes with the leg.
  OwnSocketMark TakeMark() { return std::move(mark_); }

 private:
  // In so many milliseconds, or earlier when it has to give up.
  int64_t DeadlineIn(int64_t timeout_ms) const;
  Task<Failure> Connect();
  Task<Failure> Secure();
  Task<Failure> Link(const ServerLinkRequest* request);
  // Waits for the answer to what was just sent: a read would find nothing yet.
  // 0 or -errno.
  Task<int> UntilAnswered();
  Task<Failure> ReadReply();
  Task<Failure> ReadResult();

  const ServerLinkContext context_;
  ConsoleTarget target_;
  const int64_t give_up_ms_;
  Leg leg_;
  OwnSocketMark mark_;
  Dialer dialer_{context_, &leg_};
  std::array<uint8_t, proto::kPubKeyLen> server_key_{};
  proto::LinkError result_ = proto::LinkError::kOk;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SERVER_LINK_SERVER_LINK_H_
