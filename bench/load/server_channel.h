// SPDX-License-Identifier: Apache-2.0
//
// One link at the synthetic server, from accept to its end.
#ifndef SPICEGATE_BENCH_LOAD_SERVER_CHANNEL_H_
#define SPICEGATE_BENCH_LOAD_SERVER_CHANNEL_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bench/load/command.h"
#include "bench/load/connection.h"
#include "proto/channel.h"
#include "proto/link.h"

namespace spicegate {

class Server;

class ServerChannel final : public Connection {
 public:
  // Of a raw connection the data stage begins at once.
  ServerChannel(Shared* shared, Server* server, int fd, bool raw)
      : Connection(shared, fd), server_(server), raw_(raw) {}

  // Its place in the server's table.
  size_t index = 0;

 private:
  enum class State : uint8_t { kMess, kTicket, kData };

  void OnConnected() override;
  bool OnLinkBytes(proto::Bytes bytes) override;
  bool OnMessage(uint16_t type, proto::Bytes body) override;
  void OnFloodBoundary() override;
  void OnEnd(int error) override;
  void OnDue(int64_t now_ns) override;

  bool TakeMess();
  bool TakeTicket();
  bool Admit(bool ticket_good);
  bool Refuse(proto::LinkError error);
  bool Greet();
  bool OnCommand(const Command& command);
  bool StartSending(const FloodPlan& plan);

  Server* const server_;
  const bool raw_;
  State state_ = State::kMess;
  std::vector<uint8_t> link_bytes_;  // Received, not yet used.
  proto::ChannelKey key_;
  uint32_t session_ = 0;
  size_t auth_prefix_len_ = 0;
  bool has_init_ = false;   // A display's.
  bool finishing_ = false;  // kFinish has come.
  uint64_t finish_expected_ = 0;
  int64_t period_ns_ = 0;  // Of a paced flood.
  int64_t next_ns_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_SERVER_CHANNEL_H_
