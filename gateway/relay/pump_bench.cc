// SPDX-License-Identifier: Apache-2.0
//
// A channel on the real driver between two socket pairs, the peers played by
// the same thread: what the relay itself costs, without a network. Compare
// runs on one machine only.
#include <benchmark/benchmark.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <vector>

#include "gateway/base/check.h"
#include "gateway/io/uring_driver.h"
#include "gateway/relay/channel.h"

namespace spicegate {
namespace {

class BenchOwner final : public ChannelOwner {
 public:
  void OnMainInit(Channel*, uint32_t) override {}
  void OnChannelClosing(Channel*, CloseReason) override {}
  void OnChannelEnded(Channel*) override {}
  void OnChannelYielded(Channel* channel) override {
    yielded.push_back(channel);
  }

  std::vector<Channel*> yielded;
};

// Channels with both peers' descriptors.
class Relay {
 public:
  explicit Relay(size_t num_channels)
      : driver_(*UringDriver::Create()),
        timers_(driver_->NowMs()),
        buffers_(&counters_.relay_buffer_bytes),
        pipes_(driver_.get(), &counters_) {
    for (size_t i = 0; i < num_channels; ++i) {
      Add();
    }
    Turn();
  }

  ~Relay() {
    for (const auto& channel : channels_) {
      channel->Close(CloseReason::kShutdown);
    }
    while (driver_->OpsInFlight() > 0) {
      Turn();
    }
    for (const int fd : peers_) {
      close(fd);
    }
  }

  void Turn() {
    driver_->Wait(0);
    timers_.Advance(driver_->NowMs());
    driver_->Dispatch();
    for (Channel* channel : std::exchange(owner_.yielded, {})) {
      channel->RunAgain();
    }
  }

  int client(size_t i) const { return peers_[2 * i]; }
  int server(size_t i) const { return peers_[2 * i + 1]; }

 private:
  void Add() {
    std::array<int, 2> client;
    std::array<int, 2> server;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, client.data()) ==
          0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, server.data()) ==
          0);
    peers_.push_back(client[1]);
    peers_.push_back(server[1]);
    channels_.push_back(std::make_unique<Channel>(
        &context_, &owner_, proto::ChannelKey{proto::ChannelType::kInputs, 0},
        proto::HeaderKind::kMini, Leg::Plain(driver_.get(), client[0]),
        Leg::Plain(driver_.get(), server[0])));
    channels_.back()->Start(Handle{0, 1}, Handle{});
  }

  std::unique_ptr<UringDriver> driver_;
  TimerWheel timers_;
  WorkerCounters counters_;
  Limits limits_;
  BufferPool buffers_;
  PipePool pipes_;
  const RelayContext context_{
      &timers_, &limits_, {&buffers_, &pipes_, &counters_}};
  BenchOwner owner_;
  std::vector<int> peers_;
  std::vector<std::unique_ptr<Channel>> channels_;
};

// The server sends as much as goes, the client takes it.
void BM_Bulk(benchmark::State& state) {
  Relay relay(1);
  std::vector<uint8_t> bytes(static_cast<size_t>(state.range(0)));
  int64_t moved = 0;
  for (auto _ : state) {
    const ssize_t sent = write(relay.server(0), bytes.data(), bytes.size());
    benchmark::DoNotOptimize(sent);
    relay.Turn();
    for (ssize_t n = 0;
         (n = read(relay.client(0), bytes.data(), bytes.size())) > 0;) {
      moved += n;
    }
  }
  state.SetBytesProcessed(moved);
}
BENCHMARK(BM_Bulk)->Arg(4 * 1024)->Arg(64 * 1024);

// A small message from every client, each turn.
void BM_SmallMessages(benchmark::State& state) {
  const size_t num_channels = static_cast<size_t>(state.range(0));
  Relay relay(num_channels);
  std::array<uint8_t, 64> message{};
  int64_t num_messages = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < num_channels; ++i) {
      const ssize_t sent =
          write(relay.client(i), message.data(), message.size());
      benchmark::DoNotOptimize(sent);
    }
    relay.Turn();
    for (size_t i = 0; i < num_channels; ++i) {
      num_messages +=
          read(relay.server(i), message.data(), message.size()) > 0 ? 1 : 0;
    }
  }
  state.SetItemsProcessed(num_messages);
}
BENCHMARK(BM_SmallMessages)->Arg(1)->Arg(100)->Arg(1000);

}  // namespace
}  // namespace spicegate
