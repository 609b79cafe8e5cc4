// SPDX-License-Identifier: Apache-2.0
//
// For tests: one channel between a simulated client and a simulated server,
// its owner played by the test.
#ifndef SPICEGATE_GATEWAY_RELAY_CHANNEL_FIXTURE_H_
#define SPICEGATE_GATEWAY_RELAY_CHANNEL_FIXTURE_H_

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"
#include "gateway/relay/channel.h"

namespace spicegate {

// A message with a mini header.
inline std::string Message(uint16_t type, const std::string& body) {
  std::array<uint8_t, proto::kMiniHeaderLen> header;
  proto::DataHeader fields;
  fields.type = type;
  fields.size = static_cast<uint32_t>(body.size());
  proto::EncodeDataHeader(proto::HeaderKind::kMini, fields, header);
  return std::string(header.begin(), header.end()) + body;
}

// A plain stream that reads `error` once that is set, as TLS fails.
class FailingStream final : public Stream {
 public:
  FailingStream(Stream* plain, const int* error)
      : plain_(plain), error_(error) {}

  ssize_t Read(std::span<uint8_t> out) override {
    return *error_ != 0 ? *error_ : plain_->Read(out);
  }
  ssize_t Write(std::span<const uint8_t> in) override {
    return plain_->Write(in);
  }
  int ShutdownWrite() override { return plain_->ShutdownWrite(); }

 private:
  Stream* const plain_;
  const int* const error_;
};

class ChannelTest : public testing::Test, protected ChannelOwner {
 protected:
  ChannelTest()
      : driver_(&network_),
        timers_(driver_.NowMs()),
        buffers_(&counters_.relay_buffer_bytes) {}

  ~ChannelTest() override {
    if (channel_ != nullptr && !ended_) {
      channel_->Close(CloseReason::kShutdown);
      server_.WriteString(Message(3, "ack"));
      Run();
    }
    channel_.reset();
    Run();
    EXPECT_EQ(driver_.OpsInFlight(), 0u);
    EXPECT_EQ(network_.OpenSockets(), 0u);
    EXPECT_EQ(counters_.relay_buffer_bytes.value(), 0);
  }

  void Open(proto::ChannelType type, const ChannelRules& rules = {}) {
    auto client = network_.Connection();
    auto server = network_.Connection();
    client_ = std::move(client.second);
    server_ = std::move(server.second);
    Leg server_leg = Leg::Plain(&driver_, server.first);
    if (server_may_fail_) {
      server_leg.stream = std::make_unique<FailingStream>(
          server_leg.socket->plain(), &server_error_);
    }
    channel_ = std::make_unique<Channel>(
        &context_, static_cast<ChannelOwner*>(this), proto::ChannelKey{type, 0},
        proto::HeaderKind::kMini, Leg::Plain(&driver_, client.first),
        std::move(server_leg), rules);
    channel_->Start(Handle{0, 1}, Handle{0, 1});
  }

  void Run(int turns = 50) {
    for (int i = 0; i < turns; ++i) {
      driver_.Wait(0);
      timers_.Advance(driver_.NowMs());
      driver_.Dispatch();
      if (std::exchange(yielded_, false)) {
        channel_->RunAgain();
      }
    }
  }

  void RunFor(int64_t ms) {
    network_.AdvanceMs(ms);
    Run();
  }

  int64_t SafeEnds(SafeEnd outcome) const {
    return counters_.display_safe_end[static_cast<size_t>(outcome)].value();
  }

  // ChannelOwner.
  void OnMainInit(Channel*, uint32_t session_id) override {
    session_id_ = session_id;
  }
  void OnChannelClosing(Channel*, CloseReason reason) override {
    EXPECT_FALSE(closing_.has_value());
    closing_ = reason;
  }
  void OnChannelEnded(Channel*) override {
    EXPECT_TRUE(closing_.has_value());
    EXPECT_FALSE(ended_);
    ended_ = true;
  }
  void OnChannelYielded(Channel*) override {
    yielded_ = true;
    ++num_yields_;
  }
  void OnGuardRefusal(Channel*, std::optional<GuardRule> rule,
                      const proto::DataHeader& header) override {
    refusals_.push_back({rule, header.type});
  }
  void OnDestinationTaken(Channel*) override { ++num_taken_; }

  SimNetwork network_{SimOptions{}};
  SimDriver driver_;
  TimerWheel timers_;
  WorkerCounters counters_;
  Limits limits_;
  BufferPool buffers_;
  PipePool pipes_{&driver_, &counters_};
  RelayContext context_{&timers_, &limits_, {&buffers_, &pipes_, &counters_}};
  SimPeer client_;
  SimPeer server_;
  bool server_may_fail_ = false;
  int server_error_ = 0;
  std::unique_ptr<Channel> channel_;
  std::optional<uint32_t> session_id_;
  std::optional<CloseReason> closing_;
  bool ended_ = false;
  bool yielded_ = false;
  int num_yields_ = 0;
  // The rule, none for a server's message, and the message's type.
  std::vector<std::pair<std::optional<GuardRule>, uint16_t>> refusals_;
  int num_taken_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_CHANNEL_FIXTURE_H_
