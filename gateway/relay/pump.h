// SPDX-License-Identifier: Apache-2.0
//
// One direction of a channel: reads from one leg what the other can take, and
// no more. Small explicit state, and no memory but a pooled buffer or pipe
// while bytes are in hand.
//
// Two ways, chosen by what flows: small messages are copied through a buffer,
// bulk is spliced through a pipe (docs/decisions/0003). Bytes that somebody
// looks at or judges, and legs whose bytes are not their socket's (TLS in user
// space), are always copied.
#ifndef SPICEGATE_GATEWAY_RELAY_PUMP_H_
#define SPICEGATE_GATEWAY_RELAY_PUMP_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "gateway/base/counters.h"
#include "gateway/io/leg.h"
#include "gateway/relay/buffer_pool.h"
#include "gateway/relay/pipe_pool.h"
#include "gateway/relay/pump_filter.h"

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
  // This direction is over, and its end was passed on: with both over, by
  // closing the legs with FIN, which the owner does now.
  virtual void OnPumpFinished(Pump* pump) = 0;
  // The filter refused what came. The pump has stopped.
  virtual void OnPumpRefused(Pump* pump) = 0;
  // A leg failed with `error` (a negated errno). `source` tells which one.
  virtual void OnPumpFailed(Pump* pump, bool source, int error) = 0;
  // A leg is ready: call Run, now or later.
  virtual void OnPumpReady(Pump* pump) = 0;
  // The quantum is used up: call Run again, after others had their turn.
  virtual void OnPumpYielded(Pump* pump) = 0;

 protected:
  ~PumpOwner() = default;
};

// What the pumps of a worker share; outlives them.
struct PumpContext {
  BufferPool* buffers = nullptr;
  PipePool* pipes = nullptr;  // null: everything is copied
  WorkerCounters* counters = nullptr;
};

// Two legs and what the pumps between them share; outlives them.
struct PumpPair {
  enum Side : uint8_t { kClient, kServer };

  const PumpContext* context = nullptr;
  PumpOwner* owner = nullptr;
  std::array<Leg, 2> legs;          // by Side
  std::array<Counter*, 2> moved{};  // bytes written, by the side they came from
  uint8_t num_finished = 0;         // directions that are over
};

class Pump final : private Waiter {
 public:
  // Moves bytes from the leg of that side to the other one.
  Pump(PumpPair* pair, PumpPair::Side from) : pair_(pair), from_(from) {}
  ~Pump() { Stop(); }
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  // Moves what can be moved now, up to about `quantum_bytes`; returns how much
  // it was. Called to start the pump, and after OnPumpReady or OnPumpYielded.
  size_t Run(size_t quantum_bytes);

  // Keeps bytes and the end of the stream back (a buffer's worth is still
  // read, so that an end is noticed). Before the first Run.
  void Hold() { held_ = true; }
  // Keeps only the end of the stream back, at any time before it was passed on.
  void HoldEnd() { end_held_ = true; }
  // Lets them go: the owner owes a Run.
  void Unhold() {
    held_ = false;
    end_held_ = false;
  }
  bool held() const { return held_; }
  bool end_held() const { return end_held_; }
  // The owner owes a Run.
  bool due() const { return due_; }
  void MakeDue() { due_ = true; }

  // Everything from the source goes through `filter`, from the next byte read
  // on; nothing with null. What a filter that goes has not yet inserted or
  // skipped is lost, so only one that passes everything may go. It outlives
  // the pump, or goes first.
  void set_filter(PumpFilter* filter);

  // Starts or ends the calls of OnPumpBytes.
  void set_inspecting(bool inspecting) { inspecting_ = inspecting; }

  // No more reads, writes or calls of the owner; bytes in hand are dropped.
  void Stop();

  // Adds bytes to the count that went this way before the pump did.
  void CountEarlier(size_t num_bytes);

  bool finished() const { return state_ == State::kFinished; }
  bool source_ended() const { return source_ended_; }
  bool splicing() const { return splicing_; }
  int64_t bytes_moved() const { return bytes_moved_; }

 private:
  enum class State : uint8_t { kRunning, kFinished, kStopped };
  // What a step leads to.
  enum class Next : uint8_t { kGoOn, kWait, kOver };

  void OnReady(Ready ready, int error) override;
  Next Step();
  Next Write();
  Next WriteFiltered();
  Next WriteInsert();
  // Asks the filter about what is in the buffer.
  Next Filter();
  Next SpliceOut();
  Next Read();
  Next SpliceIn();
  // What became of a read that returned `n` <= 0.
  Next NothingRead(ssize_t n);
  Next PassEnd();
  Next Fail(bool source, int error);
  Next WaitFor(Leg* leg, Ready ready);
  // Bytes are to be judged or written, or something is to be inserted.
  bool HasOutput() const;
  // True when this read is to be spliced; a pipe is in hand then.
  bool PreparePipe();
  void ChooseWay(size_t num_read);
  void Count(size_t num_written, Counter* way);
  void GiveBuffer();
  void GivePipe();

  Leg* from() const { return &pair_->legs[from_]; }
  Leg* to() const { return &pair_->legs[1 - from_]; }
  const PumpContext& context() const { return *pair_->context; }
  PumpOwner* owner() const { return pair_->owner; }

  PumpPair* const pair_;
  std::unique_ptr<RelayBuffer> buffer_;  // only while bytes are in hand
  std::unique_ptr<RelayPipe> pipe_;      // likewise
  PumpFilter* filter_ = nullptr;
  int64_t bytes_moved_ = 0;
  uint32_t run_bytes_ = 0;
  const PumpPair::Side from_;
  State state_ = State::kRunning;
  uint8_t streak_ = 0;  // reads that speak for the other way
  bool splicing_ : 1 = false;
  bool cannot_splice_ : 1 = false;
  bool drained_ : 1 = false;   // the last read found all there was
  bool woken_ : 1 = false;     // the source was ready, and not yet tried
  bool ask_recv_ : 1 = false;  // the next read is not to be spliced
  bool source_ended_ : 1 = false;
  bool held_ : 1 = false;
  bool end_held_ : 1 = false;
  bool inspecting_ : 1 = false;
  bool due_ : 1 = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_PUMP_H_
