// SPDX-License-Identifier: Apache-2.0
//
// One direction of a channel: reads from one leg what the other can take, and
// no more. Small explicit state, no allocation but a pooled buffer while bytes
// are in hand.
#ifndef SPICEGATE_GATEWAY_RELAY_PUMP_H_
#define SPICEGATE_GATEWAY_RELAY_PUMP_H_

#include <cstdint>
#include <memory>
#include <span>

#include "gateway/io/leg.h"
#include "gateway/relay/buffer_pool.h"

namespace spicegate {

class Pump;

// The channel, as its pumps see it.
class PumpOwner {
 public:
  // Bytes just read, before any of them is written. Not called once the pump
  // was told to stop inspecting.
  virtual void OnPumpBytes(Pump* pump, std::span<const uint8_t> bytes) = 0;
  // The source ended; its last bytes may still be in hand.
  virtual void OnPumpSourceEnded(Pump* pump) = 0;
  // The end was passed on: this direction is over.
  virtual void OnPumpFinished(Pump* pump) = 0;
  // A leg failed with `error` (a negated errno). `source` tells which one.
  virtual void OnPumpFailed(Pump* pump, bool source, int error) = 0;
  // The quantum is used up: call Run again in the next turn.
  virtual void OnPumpYielded(Pump* pump) = 0;

 protected:
  ~PumpOwner() = default;
};

class Pump final : private Waiter {
 public:
  // Everything is borrowed and outlives the pump, or the call of Stop. `moved`
  // counts bytes written.
  Pump(Leg* from, Leg* to, BufferPool* pool, Counter* moved, PumpOwner* owner)
      : from_(from), to_(to), pool_(pool), moved_(moved), owner_(owner) {}
  ~Pump() { Stop(); }
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  // Moves what can be moved now, up to the quantum. Called to start the pump
  // and after OnPumpYielded; readiness calls it from inside.
  void Run();

  // Keeps bytes and the end of the stream back (a buffer's worth is still
  // read, so that an end is noticed). Before the first Run.
  void Hold() { held_ = true; }
  // Lets them go, and runs.
  void Unhold();
  bool held() const { return held_; }
  // The quantum was used up: the owner owes a Run.
  bool yielded() const { return yielded_; }

  // Starts or ends the calls of OnPumpBytes.
  void set_inspecting(bool inspecting) { inspecting_ = inspecting; }

  // No more reads, writes or calls of the owner; bytes in hand are dropped.
  void Stop();

  // Adds bytes to the count that went this way before the pump did.
  void CountEarlier(size_t num_bytes);

  bool finished() const { return state_ == State::kFinished; }
  bool source_ended() const { return source_ended_; }
  int64_t bytes_moved() const { return bytes_moved_; }

 private:
  enum class State : uint8_t { kRunning, kFinished, kStopped };
  // What a step leads to.
  enum class Next : uint8_t { kGoOn, kWait, kOver };

  void OnReady(Ready ready, int error) override;
  Next Write();
  Next Read();
  Next PassEnd();
  Next Fail(bool source, int error);
  void WaitFor(Leg* leg, Ready ready);
  void GiveBuffer();

  Leg* const from_;
  Leg* const to_;
  BufferPool* const pool_;
  Counter* const moved_;
  PumpOwner* const owner_;
  std::unique_ptr<RelayBuffer> buffer_;  // only while bytes are in hand
  int64_t bytes_moved_ = 0;
  size_t turn_bytes_ = 0;
  State state_ = State::kRunning;
  bool source_ended_ = false;
  bool held_ = false;
  bool inspecting_ = false;
  bool yielded_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_PUMP_H_
