// SPDX-License-Identifier: Apache-2.0
//
// A relay of TCP connections, plain or TLS on the client's side, made of the
// gateway's own parts: acceptor, TlsStream, connect, Channel with its pumps,
// timers, counters. What a worker has and this has not: the SPICE link, the run
// queue's rounds, the spinner and kernel TLS; so it can stand beside relays
// that know no SPICE.
#ifndef SPICEGATE_BENCH_PLAIN_RELAY_PLAIN_RELAY_H_
#define SPICEGATE_BENCH_PLAIN_RELAY_PLAIN_RELAY_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/base/counters.h"
#include "gateway/base/limits.h"
#include "gateway/base/slab.h"
#include "gateway/base/task.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/base/unique_fd.h"
#include "gateway/io/acceptor.h"
#include "gateway/io/driver.h"
#include "gateway/io/listen.h"
#include "gateway/relay/buffer_pool.h"
#include "gateway/relay/channel.h"
#include "gateway/relay/pipe_pool.h"
#include "gateway/tls/server_context.h"

namespace spicegate {

// One thread's. Every connection accepted becomes a channel to `server`, of a
// type whose bytes nobody inspects.
class PlainRelay final : private ChannelOwner, private OpHandler {
 public:
  // The driver outlives the relay. With `tls` clients have to speak it.
  PlainRelay(IoDriver* driver, UniqueFd listener, const SocketAddress& server,
             std::shared_ptr<const ServerTlsContext> tls = nullptr);
  // After Run only.
  ~PlainRelay();

  // Relays until `stop_fd` is readable, then closes every channel and returns
  // when nothing is left in flight (at the latest when a handshake or a connect
  // gives up).
  void Run(int stop_fd);

  // One JSON object: connections, bytes each way, ends by reason.
  std::string Summary() const;

 private:
  // ChannelOwner.
  void OnMainInit(Channel*, uint32_t) override {}
  void OnChannelClosing(Channel* channel, CloseReason reason) override;
  void OnChannelEnded(Channel* channel) override;
  void OnChannelYielded(Channel* channel) override;

  // OpHandler: the descriptor that says stop.
  void OnOp(uint32_t tag, OpResult result) override;

  Task<void> Serve(int client_fd);
  // The handshake; false when it failed, and why is counted.
  Task<bool> Secure(Leg* client);
  // False when the server cannot be reached; counted too.
  Task<bool> Connect(Leg* server);
  Task<void> Open(Leg client);
  void Refuse(CloseReason reason);
  // The one place that knows how a channel is composed.
  void Join(Leg client, Leg server);
  // True when a channel still has something to do.
  bool RunTurn();
  int64_t SleepMs() const;
  bool finished() const;

  IoDriver* const driver_;
  const SocketAddress server_;
  const std::shared_ptr<const ServerTlsContext> tls_;  // null: plain
  const Limits limits_;
  WorkerCounters counters_;
  TimerWheel timers_;
  BufferPool buffers_;
  PipePool pipes_;
  const RelayContext context_;
  Slab<Channel> channels_;
  std::vector<Handle> yielded_;
  std::vector<Handle> ended_;
  Acceptor acceptor_;
  int64_t num_opening_ = 0;
  bool stopping_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_PLAIN_RELAY_PLAIN_RELAY_H_
