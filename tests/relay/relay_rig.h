// SPDX-License-Identifier: Apache-2.0
//
// A worker's relay on the real kernel, between peers that the test moves: one
// thread turns it all, so that what a test stalls stays stalled. It checks as
// it goes that memory stays bounded and that nothing is left at the end.
#ifndef SPICEGATE_TESTS_RELAY_RELAY_RIG_H_
#define SPICEGATE_TESTS_RELAY_RELAY_RIG_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "gateway/base/close_reason.h"
#include "gateway/base/counters.h"
#include "gateway/base/limits.h"
#include "gateway/base/slab.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/io/uring_driver.h"
#include "gateway/relay/buffer_pool.h"
#include "gateway/relay/channel.h"
#include "gateway/relay/pipe_pool.h"
#include "proto/channel.h"
#include "tests/relay/faulty_driver.h"
#include "tests/relay/relay_peer.h"

namespace spicegate {

// What the two connections of a channel are made of.
enum class Wire : uint8_t {
  kTcp,
  kUnix,
  kTcpToUnix,  // client on TCP, server on a unix socket
  kTls,        // client on TLS over TCP, server on TCP
};

struct RigOptions {
  bool pipes = true;  // false: everything is copied
  PipePool::Options pool;
  // Of each end of each connection, as SO_SNDBUF and SO_RCVBUF; 0: the
  // kernel's own.
  int socket_buffer_bytes = 0;
  // The channels' type: a kind that runs in turns, or as soon as it is ready.
  proto::ChannelType type = proto::ChannelType::kUsbredir;
};

// One channel and its peers.
struct Line {
  RelayPeer client;
  RelayPeer server;
  Handle channel = {};
  int num_closing = 0;
  bool ended = false;
  CloseReason reason = CloseReason::kInternal;
  uint64_t bytes_to_client = 0;  // as the channel counted, once it ended
  uint64_t bytes_to_server = 0;

  // Everything said was heard, byte for byte, by those who still listen.
  bool complete() const {
    return client.exact() && server.exact() &&
           client.said() == server.heard() && server.said() == client.heard();
  }
};

class RelayRig final : private ChannelOwner {
 public:
  explicit RelayRig(const RigOptions& options = {});
  // Ends what still lives and expects that everything was given back.
  ~RelayRig();
  RelayRig(const RelayRig&) = delete;
  RelayRig& operator=(const RelayRig&) = delete;

  // A channel that relays from now on. Lives as long as the rig.
  Line* Connect(Wire wire);

  // Lets the relay do what it can now.
  void Turn(int64_t timeout_ms = 0);
  // Calls `step`, which moves the peers, and the relay in turn until `step`
  // says true. False when that takes too many turns.
  bool RunUntil(const std::function<bool()>& step);
  // Runs until turn after turn nothing moves any more, in the kernel either.
  void RunUntilStill(const std::function<void()>& step);

  FaultyDriver* driver() { return &driver_; }
  const WorkerCounters& counters() const { return counters_; }
  int64_t copied() const { return counters_.bytes_copied.value(); }
  int64_t spliced() const { return counters_.bytes_spliced.value(); }
  // The worker's counters for both directions of the rig's channel type.
  int64_t to_client() const;
  int64_t to_server() const;

 private:
  // ChannelOwner.
  void OnMainInit(Channel*, uint32_t) override {}
  void OnChannelClosing(Channel* channel, CloseReason reason) override;
  void OnChannelEnded(Channel* channel) override;
  void OnChannelYielded(Channel* channel) override;

  Line* LineOf(const Channel* channel);
  // Both ends of a connection: the relay's first.
  std::pair<Leg, Leg> Join(bool tcp);
  std::pair<Leg, Leg> JoinTls();
  void CheckMemory();
  uint64_t NumMoved() const;

  const RigOptions options_;
  const std::unique_ptr<UringDriver> real_;
  FaultyDriver driver_;
  WorkerCounters counters_;
  const Limits limits_;
  TimerWheel timers_;
  BufferPool buffers_;
  PipePool pipes_;
  const RelayContext context_;
  Slab<Channel> channels_;
  std::vector<std::unique_ptr<Line>> lines_;
  std::vector<Handle> yielded_;
  std::vector<Handle> ended_;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_RELAY_RELAY_RIG_H_
