// SPDX-License-Identifier: Apache-2.0
//
// What a link costs in RSA: ten of each at the start of every session.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>

#include "gateway/auth/link_key.h"

namespace spicegate {
namespace {

void BM_GenerateLinkKey(benchmark::State& state) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(LinkKey::Generate());
  }
}
BENCHMARK(BM_GenerateLinkKey)->Unit(benchmark::kMicrosecond);

void BM_DecryptTicket(benchmark::State& state) {
  static const auto key = LinkKey::Generate();
  std::array<uint8_t, kEncryptedTicketLen> ciphertext;
  if (!EncryptTicket(key->public_key_der(), "secret", ciphertext)) {
    state.SkipWithError("no ticket");
  }
  for (auto _ : state) {
    benchmark::DoNotOptimize(key->Decrypt(ciphertext).view().size());
  }
}
BENCHMARK(BM_DecryptTicket)->Threads(1)->Threads(2)->UseRealTime();

// Must cost what a good one costs.
void BM_DecryptGarbage(benchmark::State& state) {
  const auto key = LinkKey::Generate();
  const std::array<uint8_t, kEncryptedTicketLen> garbage = {1, 2, 3};
  for (auto _ : state) {
    benchmark::DoNotOptimize(key->Decrypt(garbage).view().size());
  }
}
BENCHMARK(BM_DecryptGarbage);

void BM_EncryptTicket(benchmark::State& state) {
  const auto key = LinkKey::Generate();
  std::array<uint8_t, kEncryptedTicketLen> ciphertext;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        EncryptTicket(key->public_key_der(), "secret", ciphertext));
  }
}
BENCHMARK(BM_EncryptTicket);

}  // namespace
}  // namespace spicegate
