// SPDX-License-Identifier: Apache-2.0
#include <benchmark/benchmark.h>

#include <array>

#include "proto/link.h"

namespace spicegate::proto {
namespace {

constexpr uint32_t kCommon[] = {0x0D};
constexpr uint32_t kChannel[] = {0x0F};

void BM_ParseLinkMess(benchmark::State& state) {
  std::array<uint8_t, 64> wire;
  const size_t len =
      EncodeLinkMess({.common_caps = kCommon, .channel_caps = kChannel}, wire);
  for (auto _ : state) {
    benchmark::DoNotOptimize(wire.data());
    const LinkHeader header =
        ParseLinkHeader(Bytes(wire).first<kLinkHeaderLen>());
    benchmark::DoNotOptimize(JudgeLinkHeader(header));
    benchmark::DoNotOptimize(
        ParseLinkMess(Bytes(wire).first(len).subspan(kLinkHeaderLen)));
  }
}
BENCHMARK(BM_ParseLinkMess);

void BM_EncodeLinkReply(benchmark::State& state) {
  const std::array<uint8_t, kPubKeyLen> key{};
  std::array<uint8_t, 256> wire;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        EncodeLinkReply(key, ReplyCapsFor(ChannelType::kDisplay), wire));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_EncodeLinkReply);

void BM_EncodeLinkErrorReply(benchmark::State& state) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(EncodeLinkErrorReply(LinkError::kInvalidData));
  }
}
BENCHMARK(BM_EncodeLinkErrorReply);

}  // namespace
}  // namespace spicegate::proto
