// SPDX-License-Identifier: Apache-2.0
//
// Copying, splicing and the hybrid: readiness from somewhere, bytes inline.
#ifndef SPICEGATE_BENCH_WAYS_INLINE_RELAY_H_
#define SPICEGATE_BENCH_WAYS_INLINE_RELAY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "bench/ways/readiness.h"
#include "bench/ways/way.h"

namespace spicegate {

class InlineRelay final : public Relay, private ReadinessHandler {
 public:
  explicit InlineRelay(const Way& way);
  ~InlineRelay() override;

  void Add(int client_fd, int server_fd) override;
  void Run() override;

 private:
  struct Pipe {
    int read_fd;
    int write_fd;
  };
  using Buffer = std::vector<uint8_t>;
  struct Pair;

  // One direction. Holds a buffer or a pipe only while bytes are in it.
  struct Direction {
    enum class Waits : uint8_t { kNothing, kInput, kRoom };

    Pair* pair = nullptr;
    End* from = nullptr;
    End* to = nullptr;
    std::unique_ptr<Buffer> buffer;
    std::unique_ptr<Pipe> pipe;
    size_t begin = 0;  // bytes in hand: [begin, end), of either
    size_t end = 0;
    int num_small = 0;  // spliced reads below the threshold in a row
    Waits waits = Waits::kNothing;
    bool splices = false;
    bool filled = false;   // the last read took all that was asked for
    bool blocked = false;  // a write did not go through since the last read
    bool queued = false;
    bool finished = false;
  };
  struct Pair {
    std::array<End, 2> ends;
    std::array<Direction, 2> directions;
    bool ended = false;
  };
  enum class Step : uint8_t { kGoOn, kStop };

  void OnReady(End* end, bool readable, bool writable) override;
  void RunDirection(Direction* direction);
  Step Write(Direction* direction);
  Step Read(Direction* direction);
  ssize_t ReadInto(Direction* direction);
  ssize_t WriteFrom(Direction* direction);
  void ChooseMover(Direction* direction, size_t num_read);
  bool MaySkipRead(const Direction& direction) const;
  Step WaitForInput(Direction* direction);
  void Finish(Direction* direction);
  void EndPair(Pair* pair);
  void TakeStore(Direction* direction);
  void GiveStore(Direction* direction);
  std::unique_ptr<Pipe> NewPipe() const;

  const Way way_;
  std::unique_ptr<ReadinessSource> source_;
  std::deque<Pair> pairs_;  // freed with the relay: stale events find them
  std::vector<std::unique_ptr<Buffer>> free_buffers_;
  std::vector<std::unique_ptr<Pipe>> free_pipes_;
  std::vector<Direction*> yielded_;
  size_t num_open_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_WAYS_INLINE_RELAY_H_
