// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_BENCH_WAYS_RING_SPLICE_H_
#define SPICEGATE_BENCH_WAYS_RING_SPLICE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "bench/ways/ring.h"
#include "bench/ways/way.h"

namespace spicegate {

// IORING_OP_SPLICE into a pipe and out of it. The kernel has a thread of its
// own wait for each of them, which is what there is to see.
class RingSpliceRelay final : public Relay {
 public:
  explicit RingSpliceRelay(const Way& way) : way_(way) {}
  ~RingSpliceRelay() override;

  void Add(int client_fd, int server_fd) override;
  void Run() override;

 private:
  struct Pair;
  struct Direction {
    Pair* pair = nullptr;
    int from = -1;
    int to = -1;
    int pipe_read = -1;
    int pipe_write = -1;
    size_t in_pipe = 0;
    bool finished = false;
  };
  struct Pair {
    std::array<Direction, 2> directions;
    int num_ops = 0;
    bool failed = false;
  };

  void Start(Direction* direction);
  void OnSpliced(Direction* direction, int value);
  void MaybeEnd(Pair* pair);

  const Way way_;
  Ring ring_;
  std::deque<Pair> pairs_;
  size_t num_open_ = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_WAYS_RING_SPLICE_H_
