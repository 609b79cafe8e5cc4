// SPDX-License-Identifier: Apache-2.0
//
// The data stage of one channel at a SyntheticServer.
#ifndef SPICEGATE_TESTS_PEER_SYNTHETIC_CHANNEL_H_
#define SPICEGATE_TESTS_PEER_SYNTHETIC_CHANNEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "proto/channel.h"
#include "tests/peer/peer_stream.h"
#include "tests/peer/synthetic_server.h"
#include "tests/peer/traffic.h"

namespace spicegate {

// Lives in the frame of the task that serves the link.
class SyntheticChannel {
 public:
  SyntheticChannel(SyntheticServer* server, PeerStream* stream,
                   proto::ChannelKey key,
                   std::shared_ptr<SyntheticSession> session);
  ~SyntheticChannel();
  SyntheticChannel(const SyntheticChannel&) = delete;
  SyntheticChannel& operator=(const SyntheticChannel&) = delete;

  // From the link result to the end of the connection.
  PeerTask<void> Run();

 private:
  PeerTask<bool> Greet();
  PeerTask<bool> GreetMain();
  PeerTask<bool> GreetDisplay();
  PeerTask<bool> SendSetAck();
  PeerTask<bool> ReadUntil(std::function<bool()> reached);
  PeerTask<void> ReadToTheEnd();
  PeerTask<void> WriteTraffic(PeerJoin* join);
  PeerTask<bool> SendMessage(uint16_t type, std::span<const uint8_t> body);
  PeerTask<bool> Send(std::span<const uint8_t> bytes);
  void OnMessage(uint16_t type, std::span<const uint8_t> body);
  void CountBytes();
  void NoteStall();
  void EndSession();

  SyntheticServer* server_;
  PeerStream* stream_;
  proto::ChannelKey key_;
  std::shared_ptr<SyntheticSession> session_;
  TrafficWriter writer_;
  TrafficReader reader_;
  bool attached_ = false;         // Main: ATTACH_CHANNELS has come.
  bool display_ready_ = false;    // Display: INIT has come.
  PeerEnd end_ = PeerEnd::kOpen;  // Of the client's direction.
  uint64_t counted_read_ = 0;     // Bytes of the stream already in the totals.
  uint64_t counted_written_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_SYNTHETIC_CHANNEL_H_
