// SPDX-License-Identifier: Apache-2.0
//
// The worker's pipes for splicing. A pump takes one only while bytes flow
// through it; what is free is reused last in, first out. There may be none to
// have: the process is out of descriptors, the user's quota of pipe memory
// (fs.pipe-user-pages-soft) is used up, or too many viewers stall with a full
// one. Pumps then copy, which is slower and always works.
#ifndef SPICEGATE_GATEWAY_RELAY_PIPE_POOL_H_
#define SPICEGATE_GATEWAY_RELAY_PIPE_POOL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "gateway/base/counters.h"
#include "gateway/base/limits.h"
#include "gateway/io/driver.h"

namespace spicegate {

struct RelayPipe {
  Pipe pipe;
  size_t bytes = 0;  // inside
};

// One thread's, on that thread's driver, which outlives it.
class PipePool {
 public:
  struct Options {
    size_t pipe_bytes = kPipeBytes;
    size_t max_pipes = kMaxPipes;  // open at once; 0: splice nothing
  };

  // `counters` outlives the pool.
  PipePool(IoDriver* driver, WorkerCounters* counters)
      : PipePool(driver, counters, Options{}) {}
  PipePool(IoDriver* driver, WorkerCounters* counters, const Options& options)
      : driver_(driver), counters_(counters), options_(options) {}
  ~PipePool();
  PipePool(const PipePool&) = delete;
  PipePool& operator=(const PipePool&) = delete;

  // An empty pipe, or null.
  std::unique_ptr<RelayPipe> Take();

  // Takes a pipe back. One with bytes inside is closed, and they are lost.
  void Give(std::unique_ptr<RelayPipe> pipe);

 private:
  std::unique_ptr<RelayPipe> Open();
  void Close(RelayPipe* pipe);

  IoDriver* const driver_;
  WorkerCounters* const counters_;
  const Options options_;
  std::vector<std::unique_ptr<RelayPipe>> free_;
  size_t num_open_ = 0;
  int64_t retry_ms_ = 0;  // no new pipe before, after one could not be made
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_PIPE_POOL_H_
