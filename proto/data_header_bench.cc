// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <algorithm>
#include <vector>

#include "proto/data_header.h"

namespace spicegate::proto {
namespace {

// 64 KiB of messages with bodies of `body_len` bytes.
std::vector<uint8_t> Stream(uint32_t body_len) {
  std::vector<uint8_t> stream;
  const DataHeader header = {.type = 101, .size = body_len};
  while (stream.size() < 65536) {
    const size_t at = stream.size();
    stream.resize(at + kMiniHeaderLen + body_len);
    EncodeDataHeader(HeaderKind::kMini, header,
                     MutableBytes(stream).subspan(at));
  }
  return stream;
}

void FeedAll(MessageFramer& framer, Bytes in) {
  for (;;) {
    const MessageFramer::Step step = framer.Feed(in);
    in = in.subspan(step.consumed);
    if (step.event == MessageFramer::Event::kNeedMore) {
      return;
    }
  }
}

// Arguments: length of a body, length of a read.
void BM_MessageFramer(benchmark::State& state) {
  const auto stream = Stream(static_cast<uint32_t>(state.range(0)));
  const size_t read_len = static_cast<size_t>(state.range(1));
  uint64_t num_messages = 0;
  for (auto _ : state) {
    MessageFramer framer(HeaderKind::kMini);
    for (Bytes in = stream; !in.empty();) {
      const size_t len = std::min(read_len, in.size());
      FeedAll(framer, in.first(len));
      in = in.subspan(len);
    }
    num_messages += framer.num_messages();
  }
  state.SetBytesProcessed(state.iterations() *
                          static_cast<int64_t>(stream.size()));
  state.SetItemsProcessed(static_cast<int64_t>(num_messages));
}
BENCHMARK(BM_MessageFramer)
    ->Args({4, 65536})
    ->Args({4, 1})
    ->Args({130, 65536})
    ->Args({130, 1460})
    ->Args({16384, 65536});

}  // namespace
}  // namespace spicegate::proto
