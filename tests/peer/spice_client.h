// SPDX-License-Identifier: Apache-2.0
//
// One channel of a SPICE client. Every operation exists as a task, for many
// channels on one loop, and in a blocking form for tests that have one.
#ifndef SPICEGATE_TESTS_PEER_SPICE_CLIENT_H_
#define SPICEGATE_TESTS_PEER_SPICE_CLIENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "proto/channel.h"
#include "proto/main_channel.h"
#include "tests/peer/link_client.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/peer_stream.h"
#include "tests/peer/peer_tls.h"

namespace spicegate {

// Where a client goes and how.
struct PeerEndpoint {
  PeerAddress address = {};
  const PeerTlsContext* tls = nullptr;  // Plain without one.
  std::string server_name = {};         // SNI; may be empty.
};

struct PeerMessage {
  uint16_t type = 0;
  std::vector<uint8_t> body;
};

class SpiceClient {
 public:
  SpiceClient(PeerLoop* loop, PeerEndpoint endpoint)
      : loop_(loop), endpoint_(std::move(endpoint)) {}

  // Applies to every operation from the next connect on.
  void set_timeout_ms(int64_t timeout_ms) { timeout_ms_ = timeout_ms; }

  // Connects, with TLS if the endpoint says so: 0 or -errno.
  PeerTask<int> ConnectTask();
  // Connects unless that has been done, then runs the link stage. A failed
  // connect is an outcome with end kReset and nothing read.
  PeerTask<LinkOutcome> LinkTask(const LinkRequest& request);
  // The next data message (mini header); nothing at the end of the stream or
  // on an error, which end() then tells.
  PeerTask<std::optional<PeerMessage>> ReadTask();
  // 0 or -errno.
  PeerTask<int> WriteTask(uint16_t type, std::span<const uint8_t> body);

  // Reads messages up to one of `type`, which is returned.
  PeerTask<std::optional<PeerMessage>> ReadUntilTask(uint16_t type);

  int Connect() { return loop_->Run(ConnectTask()); }
  LinkOutcome Link(const LinkRequest& request) {
    return loop_->Run(LinkTask(request));
  }
  std::optional<PeerMessage> Read() { return loop_->Run(ReadTask()); }
  std::optional<PeerMessage> ReadUntil(uint16_t type) {
    return loop_->Run(ReadUntilTask(type));
  }
  bool Write(uint16_t type, std::span<const uint8_t> body = {}) {
    return loop_->Run(WriteTask(type, body)) == 0;
  }
  // Reads and drops until the server ends the connection.
  PeerEnd WaitForEnd();

  void HalfClose() { stream_->ShutdownWrite(); }
  void Reset() { stream_->Reset(); }
  void Close() { stream_.reset(); }

  PeerEnd end() const { return end_; }
  // Null before a connect.
  PeerStream* stream() { return stream_.get(); }
  PeerLoop* loop() { return loop_; }

 private:
  PeerLoop* loop_;
  PeerEndpoint endpoint_;
  int64_t timeout_ms_ = 30'000;
  std::unique_ptr<PeerStream> stream_;
  PeerEnd end_ = PeerEnd::kOpen;
};

// What the main channel says at the start.
struct MainGreeting {
  proto::MainInit init;
  std::vector<proto::ChannelKey> channels;
};

// INIT, ATTACH_CHANNELS, CHANNELS_LIST on a main channel that has just been
// opened; PINGs on the way are answered. Nothing when main ends before.
PeerTask<std::optional<MainGreeting>> GreetMain(SpiceClient* main);

// Sends the INIT that every display channel starts with: 0 or -errno.
PeerTask<int> SendDisplayInit(SpiceClient* display);

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_SPICE_CLIENT_H_
