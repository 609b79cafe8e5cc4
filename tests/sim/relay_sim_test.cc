// SPDX-License-Identifier: Apache-2.0
//
// The relay under ten thousand seeds of everything that can go wrong between
// two peers, and a hundred thousand of the switch between copying and splicing.
// SPICEGATE_SEED=N runs the one seed that a failure names, of both families.
#include <gtest/gtest.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "gateway/base/close_reason.h"
#include "gateway/base/counters.h"
#include "gateway/console/policy.h"
#include "tests/sim/relay_plan.h"
#include "tests/sim/relay_world.h"

namespace spicegate {
namespace {

constexpr uint64_t kNumSeeds = 10'000;
#ifdef __SANITIZE_ADDRESS__
constexpr uint64_t kNumSwitchingSeeds = 5'000;  // twenty times as slow
#else
constexpr uint64_t kNumSwitchingSeeds = 100'000;
#endif
constexpr uint64_t kSeedsPerTest = 500;

// What to print when an invariant breaks: a CHECK leaves no time for more.
std::array<char, 64> g_seed_line;
size_t g_seed_line_len = 0;

void PrintSeed(int) {
  const ssize_t n = write(STDERR_FILENO, g_seed_line.data(), g_seed_line_len);
  static_cast<void>(n);
}

// Once: abort() ends the process when the handler has returned.
bool PrintSeedOnAbort() {
  struct sigaction action {};
  action.sa_handler = &PrintSeed;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  return sigaction(SIGABRT, &action, nullptr) == 0;
}

// Worlds come and go by the thousand: asking the kernel for their memory each
// time takes longer than running them. A sanitizer's allocator refuses.
void KeepMemory() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
}

void RememberSeed(uint64_t seed) {
  static const bool installed = [] {
    KeepMemory();
    return PrintSeedOnAbort();
  }();
  EXPECT_TRUE(installed);
  constexpr std::string_view kIntro = "run again with SPICEGATE_SEED=";
  char* const text = g_seed_line.data();
  std::memcpy(text, kIntro.data(), kIntro.size());
  char* end =
      std::to_chars(text + kIntro.size(), text + g_seed_line.size() - 1, seed)
          .ptr;
  *end++ = '\n';
  g_seed_line_len = static_cast<size_t>(end - text);
}

std::optional<uint64_t> SeedFromEnvironment() {
  const char* const text = std::getenv("SPICEGATE_SEED");
  if (text == nullptr) {
    return std::nullopt;
  }
  return std::strtoull(text, nullptr, 10);
}

void RunSeed(uint64_t seed, PlanFamily family) {
  RememberSeed(seed);
  RelayWorld world(MakeRelayPlan(seed, family));
  world.Run();
  for (const std::string& problem : world.problems()) {
    ADD_FAILURE() << "SPICEGATE_SEED=" << seed << ": " << problem;
  }
}

void RunSeeds(uint64_t first, PlanFamily family) {
  const std::optional<uint64_t> only = SeedFromEnvironment();
  for (uint64_t seed = first; seed < first + kSeedsPerTest; ++seed) {
    if (!only.has_value() || *only == seed) {
      RunSeed(seed, family);
    }
  }
}

class RelaySimTest : public testing::TestWithParam<uint64_t> {};

TEST_P(RelaySimTest, KeepsItsPromises) {
  RunSeeds(GetParam(), PlanFamily::kEverything);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RelaySimTest,
                         testing::Range(uint64_t{0}, kNumSeeds, kSeedsPerTest));

class RelaySwitchSimTest : public testing::TestWithParam<uint64_t> {};

TEST_P(RelaySwitchSimTest, KeepsItsPromises) {
  RunSeeds(GetParam(), PlanFamily::kSwitching);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RelaySwitchSimTest,
                         testing::Range(uint64_t{0}, kNumSwitchingSeeds,
                                        kSeedsPerTest));

// The net must not be a hole: the seeds reach every way to end.
TEST(RelaySimCoverageTest, SeedsReachEveryEnd) {
  std::set<CloseReason> reasons;
  std::array<int64_t, kNumSafeEnds> safe_ends{};
  int64_t full_turns = 0;
  for (uint64_t seed = 0; seed < 1'000; ++seed) {
    RememberSeed(seed);
    const RelayPlan plan = MakeRelayPlan(seed);
    RelayWorld world(plan);
    world.Run();
    for (size_t i = 0; i < plan.channels.size(); ++i) {
      reasons.insert(world.reason(i));
    }
    for (size_t i = 0; i < kNumSafeEnds; ++i) {
      safe_ends[i] += world.counters().display_safe_end[i].value();
    }
    full_turns += world.num_full_turns();
  }
  for (const CloseReason reason :
       {CloseReason::kClientClosed, CloseReason::kServerClosed,
        CloseReason::kClientReset, CloseReason::kServerReset,
        CloseReason::kSessionOver, CloseReason::kShutdown,
        CloseReason::kHalfCloseTimeout}) {
    EXPECT_TRUE(reasons.contains(reason)) << CloseReasonName(reason);
  }
  for (size_t i = 0; i < kNumSafeEnds; ++i) {
    EXPECT_GT(safe_ends[i], 0) << i;
  }
  EXPECT_GT(full_turns, 0);
}

// Most of the switching seeds go over to splicing and back again, and each
// reason to copy after all is among them.
TEST(RelaySimCoverageTest, SeedsSwitchBothWays) {
  constexpr uint64_t kSome = 1'000;
  uint64_t to_splice = 0;
  uint64_t to_copy = 0;
  uint64_t short_of_pipes = 0;
  uint64_t clean = 0;
  std::set<CloseReason> reasons;
  for (uint64_t seed = 0; seed < kSome; ++seed) {
    RememberSeed(seed);
    const RelayPlan plan = MakeRelayPlan(seed, PlanFamily::kSwitching);
    RelayWorld world(plan);
    world.Run();
    to_splice += world.num_switches_to_splice() > 0 ? 1 : 0;
    to_copy += world.num_switches_to_copy() > 0 ? 1 : 0;
    short_of_pipes += world.counters().pipe_shortages.value() > 0 ? 1 : 0;
    clean += plan.clean && world.num_switches_to_copy() > 0 ? 1 : 0;
    if (world.num_switches_to_splice() > 0) {
      reasons.insert(world.reason(0));
    }
  }
  EXPECT_GT(to_splice, kSome / 2);
  EXPECT_GT(to_copy, kSome / 3);
  EXPECT_GT(clean, kSome / 5);
  EXPECT_GT(short_of_pipes, kSome / 50);
  EXPECT_LT(short_of_pipes, kSome / 2);
  for (const CloseReason reason :
       {CloseReason::kClientClosed, CloseReason::kServerClosed,
        CloseReason::kClientReset, CloseReason::kServerReset,
        CloseReason::kSessionOver, CloseReason::kShutdown,
        CloseReason::kHalfCloseTimeout}) {
    EXPECT_TRUE(reasons.contains(reason)) << CloseReasonName(reason);
  }
}

// A good part of them has guards that let all pass, and some that do not.
TEST(RelaySimCoverageTest, SeedsAreGuarded) {
  uint64_t guarded_bytes = 0;
  uint64_t guarded_and_clean = 0;
  uint64_t spliced_in_migrations = 0;
  std::set<CloseReason> reasons;
  for (uint64_t seed = 0; seed < 1'000; ++seed) {
    RememberSeed(seed);
    const PlanFamily family =
        seed % 2 == 0 ? PlanFamily::kEverything : PlanFamily::kSwitching;
    const RelayPlan plan = MakeRelayPlan(seed, family);
    if (plan.channels[0].guard != GuardMode::kEnforce) {
      continue;
    }
    RelayWorld world(plan);
    world.Run();
    guarded_and_clean += plan.clean ? 1 : 0;
    for (size_t i = 0; i < plan.channels.size(); ++i) {
      reasons.insert(world.reason(i));
    }
    for (const Counter& bytes : world.counters().bytes_client_to_server) {
      guarded_bytes += static_cast<uint64_t>(bytes.value());
    }
    spliced_in_migrations += plan.migration_turn < world.num_turns() &&
                                     world.num_switches_to_copy() > 0
                                 ? 1
                                 : 0;
  }
  EXPECT_GT(guarded_and_clean, 50u);
  EXPECT_GT(guarded_bytes, 1'000'000u);
  EXPECT_GT(spliced_in_migrations, 5u);
  EXPECT_TRUE(reasons.contains(CloseReason::kClientGuard));
  EXPECT_TRUE(reasons.contains(CloseReason::kServerGuard));
  EXPECT_TRUE(reasons.contains(CloseReason::kClientClosed));
}

TEST(RelaySimCoverageTest, SameSeedSameRun) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    RememberSeed(seed);
    const RelayPlan plan = MakeRelayPlan(seed);
    RelayWorld first(plan);
    RelayWorld second(plan);
    first.Run();
    second.Run();
    for (size_t i = 0; i < plan.channels.size(); ++i) {
      EXPECT_EQ(first.reason(i), second.reason(i));
    }
    const auto moved = [](const RelayWorld& world) {
      int64_t sum = 0;
      for (size_t type = 0; type < kNumChannelTypes; ++type) {
        sum += world.counters().bytes_client_to_server[type].value() * 3 +
               world.counters().bytes_server_to_client[type].value();
      }
      return sum;
    };
    EXPECT_EQ(moved(first), moved(second));
  }
}

}  // namespace
}  // namespace spicegate
