// SPDX-License-Identifier: Apache-2.0
//
// Receives through the ring into provided buffers, which all directions share.
// What was received is sent inline, through the ring, without copying, or as a
// bundle: one operation for many buffers.
#ifndef SPICEGATE_BENCH_WAYS_RING_RELAY_H_
#define SPICEGATE_BENCH_WAYS_RING_RELAY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "bench/ways/ring.h"
#include "bench/ways/way.h"

namespace spicegate {

class RingRelay final : public Relay {
 public:
  explicit RingRelay(const Way& way);
  ~RingRelay() override;

  void Add(int client_fd, int server_fd) override;
  void Run() override;

 private:
  // What an operation was, in the low bits of its user_data. The buffer of a
  // zero-copy send is in the high ones.
  enum Kind : uint64_t { kRecv, kSend, kPoll, kCancel };

  struct Chunk {
    unsigned buffer;
    size_t begin;
    size_t end;
  };
  struct Pair;
  struct alignas(16) Direction {
    Pair* pair = nullptr;
    int from = -1;
    int to = -1;
    uint16_t send_group = 0;  // bundles only
    io_uring_buf_ring* send_ring = nullptr;
    std::deque<Chunk> chunks;  // received and not yet sent
    size_t bundle_bytes = 0;   // of them, what the bundle in flight has
    bool receiving = false;
    bool sending = false;  // or waiting for room
    bool stopping_receive = false;
    bool starved = false;  // waits for a free buffer
    bool ended = false;    // no more input
    bool finished = false;
  };
  struct Pair {
    std::array<Direction, 2> directions;
    int num_ops = 0;
    bool failed = false;
    bool closed = false;
  };

  void OnEvent(const RingEvent& event);
  void OnReceived(Direction* direction, const RingEvent& event);
  void OnSent(Direction* direction, int value);
  void TakeBuffers(Direction* direction, unsigned first, size_t num_bytes);
  void Push(Direction* direction);
  void SendInline(Direction* direction);
  void SendFront(Direction* direction);
  void SendBundle(Direction* direction);
  void ArmReceive(Direction* direction);
  void StopReceive(Direction* direction);
  void FeedStarved();
  void Consume(Direction* direction, size_t num_bytes);
  void Unref(unsigned buffer);
  void Fail(Pair* pair);
  void MaybeEnd(Pair* pair);
  void Submit(io_uring_sqe* sqe, Direction* direction, Kind kind,
              unsigned buffer);
  uint8_t* BufferAt(unsigned buffer) {
    return &memory_[buffer * way_.buffer_bytes];
  }

  const Way way_;
  Ring ring_;
  io_uring_buf_ring* buffers_ = nullptr;
  std::vector<uint8_t> memory_;
  // The order of the ring, which bundles take buffers in.
  std::vector<unsigned> buffer_at_;    // by position
  std::vector<unsigned> position_of_;  // by buffer
  std::vector<int> num_refs_;          // by buffer: sends that still use it
  unsigned next_position_ = 0;
  unsigned num_free_ = 0;
  std::deque<Pair> pairs_;
  std::vector<Direction*> starved_;
  size_t num_open_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_WAYS_RING_RELAY_H_
