// SPDX-License-Identifier: Apache-2.0
//
// A worker's relay in a simulated network, with scripted peers on both sides,
// run from one seed. It checks as it goes; what it finds is in problems().
#ifndef SPICEGATE_TESTS_SIM_RELAY_WORLD_H_
#define SPICEGATE_TESTS_SIM_RELAY_WORLD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/base/counters.h"
#include "gateway/base/limits.h"
#include "gateway/base/slab.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"
#include "gateway/relay/buffer_pool.h"
#include "gateway/relay/channel.h"
#include "gateway/relay/migration.h"
#include "gateway/relay/pipe_pool.h"
#include "tests/sim/relay_plan.h"
#include "tests/sim/scripted_peer.h"

namespace spicegate {

class RelayWorld final : private ChannelOwner {
 public:
  explicit RelayWorld(RelayPlan plan);
  ~RelayWorld();
  RelayWorld(const RelayWorld&) = delete;
  RelayWorld& operator=(const RelayWorld&) = delete;

  // Until every channel has ended and the kernel has let go of everything.
  void Run();

  // Broken promises in words, none when all is well.
  const std::vector<std::string>& problems() const { return problems_; }

  // What happened, for a test that the seeds reach it all.
  CloseReason reason(size_t channel) const { return lives_[channel]->reason; }
  const WorkerCounters& counters() const { return counters_; }
  unsigned num_turns() const { return turn_; }
  // Turns of a channel that used up its quantum.
  int64_t num_full_turns() const { return num_full_turns_; }
  // Pumps that went over to the other way in mid-stream.
  uint64_t num_switches_to_splice() const {
    return network_.num_switches_to_splice();
  }
  uint64_t num_switches_to_copy() const {
    return network_.num_switches_to_recv();
  }

 private:
  // A channel's peers and what was told about it.
  struct Life {
    Life(const ChannelPlan& plan, SimPeer client_end, SimPeer server_end)
        : plan(plan),
          client(plan.client, std::move(client_end)),
          server(plan.server, std::move(server_end)) {}

    const ChannelPlan& plan;
    ScriptedPeer client;
    ScriptedPeer server;
    Handle handle;
    int num_closing = 0;
    int num_ended = 0;
    int num_inits = 0;
    CloseReason reason = CloseReason::kInternal;
    int64_t bytes_to_server = 0;
    int64_t bytes_to_client = 0;
    int64_t end_wished_ms = -1;      // the first cause to end the channel
    bool server_leg_ended = false;   // seen by the server
    bool server_left_first = false;  // by itself, or its connection broke
    bool client_broke = false;
  };

  // ChannelOwner.
  void OnMainInit(Channel* channel, uint32_t session_id) override;
  void OnChannelClosing(Channel* channel, CloseReason reason) override;
  void OnChannelEnded(Channel* channel) override;
  void OnChannelYielded(Channel* channel) override;

  void Open(const ChannelPlan& plan);
  Life* LifeOf(const Channel* channel);
  void Turn();
  void RunGateway();
  void CloseAll();
  void Migrate(const std::shared_ptr<Migration>& migration);
  void Observe(Life* life);
  void CheckServerLegEnd(Life* life);
  void CheckMemory();
  void CheckEnd();
  void CheckBytes(Life* life);
  void CheckReason(Life* life);
  void CheckResets(Life* life);
  void CheckAccounts();
  void CheckCounters();
  void Problem(const Life* life, const std::string& what);

  const RelayPlan plan_;
  SimNetwork network_;
  SimDriver driver_;
  Limits limits_;
  WorkerCounters counters_;
  const int64_t start_ms_;
  TimerWheel timers_;
  BufferPool buffers_;
  std::optional<PipePool> pipes_;  // gone before leaks are looked for
  const RelayContext context_;
  Slab<Channel> channels_;
  std::vector<std::unique_ptr<Life>> lives_;
  std::vector<Handle> yielded_;
  std::vector<Handle> ended_;
  std::vector<std::string> problems_;
  unsigned turn_ = 0;
  unsigned idle_turns_ = 0;
  int64_t num_full_turns_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_SIM_RELAY_WORLD_H_
