// SPDX-License-Identifier: Apache-2.0
#include "gateway/relay/pipe_pool.h"

#include <utility>

#include "gateway/base/check.h"

namespace spicegate {
namespace {

// Free pipes kept for reuse: a few flows at once is what a core can carry.
constexpr size_t kMaxFree = 16;

}  // namespace

PipePool::~PipePool() {
  for (const auto& pipe : free_) {
    Close(pipe.get());
  }
  CHECK(num_open_ == 0);
}

std::unique_ptr<RelayPipe> PipePool::Take() {
  std::unique_ptr<RelayPipe> pipe;
  if (!free_.empty()) {
    pipe = std::move(free_.back());
    free_.pop_back();
  } else if (num_open_ < options_.max_pipes && driver_->NowMs() >= retry_ms_) {
    pipe = Open();
  }
  (pipe != nullptr ? counters_->pipes_in_use : counters_->pipe_shortages)
      .Add(1);
  return pipe;
}

std::unique_ptr<RelayPipe> PipePool::Open() {
  auto pipe = std::make_unique<RelayPipe>();
  if (driver_->OpenPipe(options_.pipe_bytes, &pipe->pipe) != 0) {
    retry_ms_ = driver_->NowMs() + kPipeRetryMs;
    return nullptr;
  }
  ++num_open_;
  if (pipe->pipe.capacity_bytes < kFewestPipeBytes) {
    Close(pipe.get());
    retry_ms_ = driver_->NowMs() + kPipeRetryMs;
    return nullptr;
  }
  return pipe;
}

void PipePool::Close(RelayPipe* pipe) {
  driver_->ClosePipe(&pipe->pipe);
  --num_open_;
}

void PipePool::Give(std::unique_ptr<RelayPipe> pipe) {
  counters_->pipes_in_use.Add(-1);
  if (pipe->bytes > 0 || free_.size() == kMaxFree) {
    Close(pipe.get());
  } else {
    free_.push_back(std::move(pipe));
  }
}

}  // namespace spicegate
