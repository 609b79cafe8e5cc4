// SPDX-License-Identifier: Apache-2.0
//
// For tests: one direction in the simulator, its owner played by the test.
#ifndef SPICEGATE_GATEWAY_RELAY_PUMP_FIXTURE_H_
#define SPICEGATE_GATEWAY_RELAY_PUMP_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <utility>

#include "gateway/io/sim_driver.h"
#include "gateway/io/sim_network.h"
#include "gateway/relay/pump.h"

namespace spicegate {

class PumpTest : public testing::Test, protected PumpOwner {
 protected:
  explicit PumpTest(const SimOptions& options = {}) : network_(options) {}

  void Open(PipePool* pipes) {
    context_ = {&buffers_, pipes, &counters_};
    auto from = network_.Connection();
    auto to = network_.Connection();
    source_ = std::move(from.second);
    sink_ = std::move(to.second);
    pair_.context = &context_;
    pair_.owner = this;
    pair_.legs = {Leg::Plain(&driver_, from.first),
                  Leg::Plain(&driver_, to.first)};
    pair_.moved = {&moved_, nullptr};
    pump_ = std::make_unique<Pump>(&pair_, PumpPair::kClient);
    pump_->Run(kPumpQuantumBytes);
  }

  ~PumpTest() override {
    pump_.reset();
    for (Leg& leg : pair_.legs) {
      leg.Release(Socket::End::kFin);
    }
    Turn(5);
    EXPECT_EQ(counters_.pipes_in_use.value(), 0);
    EXPECT_EQ(counters_.relay_buffer_bytes.value(), 0);
  }

  void Turn(int times) {
    for (int i = 0; i < times; ++i) {
      driver_.RunOnce(0);
      if (pump_ != nullptr && std::exchange(due_, false)) {
        pump_->Run(kPumpQuantumBytes);
      }
    }
  }

  // Sends `count` pieces of `len` bytes, each read before the next one.
  void Flow(int count, size_t len) {
    for (int i = 0; i < count; ++i) {
      std::string piece(len, static_cast<char>('a' + sent_.size() % 23));
      ASSERT_EQ(source_.WriteString(piece), len);
      sent_ += piece;
      Turn(4);
      received_ += sink_.ReadAll();
      Turn(4);
    }
  }

  // PumpOwner.
  void OnPumpBytes(Pump*, std::span<const uint8_t> bytes) override {
    num_inspected_ += bytes.size();
  }
  void OnPumpSourceEnded(Pump*) override { source_ended_ = true; }
  void OnPumpFinished(Pump*) override { finished_ = true; }
  void OnPumpRefused(Pump*) override { ++num_refused_; }
  void OnPumpFailed(Pump*, bool, int error) override { error_ = error; }
  void OnPumpReady(Pump*) override { due_ = true; }
  void OnPumpYielded(Pump*) override { due_ = true; }

  int64_t copied() const { return counters_.bytes_copied.value(); }
  int64_t spliced() const { return counters_.bytes_spliced.value(); }

  SimNetwork network_;
  SimDriver driver_{&network_};
  WorkerCounters counters_;
  BufferPool buffers_{&counters_.relay_buffer_bytes};
  PipePool pipes_{&driver_, &counters_};
  PumpContext context_;
  Counter moved_;
  PumpPair pair_;
  SimPeer source_;
  SimPeer sink_;
  std::unique_ptr<Pump> pump_;
  std::string sent_;
  std::string received_;
  size_t num_inspected_ = 0;
  bool due_ = false;
  bool source_ended_ = false;
  bool finished_ = false;
  int num_refused_ = 0;
  int error_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_PUMP_FIXTURE_H_
