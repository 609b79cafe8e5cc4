// SPDX-License-Identifier: Apache-2.0
//
// What a link costs in the vault, on a worker's thread: the digest of what the
// client sent, a claim, and its release. Issuing happens off the workers.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gateway/auth/vault.h"

namespace spicegate {
namespace {

constexpr int64_t kNowMs = 1'000;
constexpr int64_t kMaxTickets = 200'000;
constexpr int64_t kManyTickets = 20'000;

// A vault with tickets alive, and those tickets.
struct Filled {
  explicit Filled(int64_t num_tickets) {
    for (int64_t i = 0; i < num_tickets; ++i) {
      tickets.push_back(
          *vault.Issue("console-" + std::to_string(i), "", kNowMs));
    }
  }

  TicketVault vault{{.first_use_ms = 60'000, .max_tickets = kMaxTickets}};
  std::vector<std::string> tickets;
};

void BM_DigestOf(benchmark::State& state) {
  const std::string ticket(kTicketLen, 'x');
  for (auto _ : state) {
    benchmark::DoNotOptimize(TicketVault::DigestOf(ticket));
  }
}
BENCHMARK(BM_DigestOf);

// Arguments: tickets alive. With two threads the shards show.
void BM_ClaimAndRelease(benchmark::State& state) {
  static std::unique_ptr<Filled> filled;
  if (state.thread_index() == 0) {
    filled = std::make_unique<Filled>(state.range(0));
  }
  size_t next = static_cast<size_t>(state.thread_index());
  for (auto _ : state) {
    const std::string& ticket = filled->tickets[next % filled->tickets.size()];
    next += 7919;
    benchmark::DoNotOptimize(
        filled->vault.Claim(TicketVault::DigestOf(ticket), kNowMs));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_ClaimAndRelease)
    ->Arg(100)
    ->Arg(kManyTickets)
    ->Threads(1)
    ->Threads(2)
    ->UseRealTime();

// Must cost what a good one costs: nobody learns by the time it takes.
void BM_ClaimUnknown(benchmark::State& state) {
  static const auto filled = std::make_unique<Filled>(kManyTickets);
  const std::string guess(kTicketLen, 'x');
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        filled->vault.Claim(TicketVault::DigestOf(guess), kNowMs));
  }
}
BENCHMARK(BM_ClaimUnknown);

void BM_Issue(benchmark::State& state) {
  auto filled = std::make_unique<Filled>(0);
  for (auto _ : state) {
    if (filled->vault.size() + 1 >= kMaxTickets) {
      state.PauseTiming();
      filled = std::make_unique<Filled>(0);
      state.ResumeTiming();
    }
    benchmark::DoNotOptimize(filled->vault.Issue("console", "", kNowMs));
  }
}
BENCHMARK(BM_Issue);

}  // namespace
}  // namespace spicegate
