// SPDX-License-Identifier: Apache-2.0
//
// Several relays on threads of their own, as workers are, while another thread
// reads their counters, as the metrics do.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>

#include "tests/relay/relay_path.h"
#include "tests/relay/relay_rig.h"

namespace spicegate {
namespace {

constexpr int kNumWorkers = 3;
constexpr uint64_t kBurstBytes = kMib;

struct Worker {
  std::atomic<const WorkerCounters*> counters{nullptr};
  std::atomic<bool> watched{false};
  std::atomic<int64_t> heard{0};
  std::thread thread;
};

// Bursts and trickle by turns, so that both ways and the switches run.
int64_t PassAll(RelayRig* rig, std::array<Line*, 2>& lines) {
  uint64_t total = 0;
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 20; ++i) {
      total += i == 0 ? kBurstBytes : 100;
      EXPECT_TRUE(rig->RunUntil([&] {
        bool done = true;
        for (Line* line : lines) {
          line->client.SayUpTo(total, 256 * kKib);
          line->server.SayUpTo(total, 256 * kKib);
          done &= line->client.HearUpTo(total);
          done &= line->server.HearUpTo(total);
        }
        return done;
      }));
    }
  }
  int64_t heard = 0;
  for (const Line* line : lines) {
    EXPECT_TRUE(line->complete());
    heard += static_cast<int64_t>(line->client.heard() + line->server.heard());
  }
  return heard;
}

void RunWorker(Worker* worker) {
  RelayRig rig;
  std::array<Line*, 2> lines = {rig.Connect(Wire::kTcp),
                                rig.Connect(Wire::kTcpToUnix)};
  worker->counters = &rig.counters();
  const int64_t heard = PassAll(&rig, lines);
  EXPECT_GT(rig.copied(), 0);
  EXPECT_GT(rig.spliced(), 0);
  worker->heard = heard;
  while (!worker->watched) {
    std::this_thread::yield();
  }
}

int64_t Moved(const WorkerCounters& counters) {
  return counters.bytes_copied.value() + counters.bytes_spliced.value();
}

TEST(RelayWorkersTest, CountersAreReadMeanwhileAndRightInTheEnd) {
  std::array<Worker, kNumWorkers> workers;
  for (Worker& worker : workers) {
    worker.thread = std::thread(RunWorker, &worker);
  }
  for (Worker& worker : workers) {
    while (worker.counters == nullptr) {
      std::this_thread::yield();
    }
    const WorkerCounters& counters = *worker.counters;
    int64_t last = 0;
    while (worker.heard == 0) {
      const int64_t moved = Moved(counters);
      EXPECT_GE(moved, last);
      last = moved;
      std::this_thread::yield();
    }
    EXPECT_EQ(Moved(counters), worker.heard);
    worker.watched = true;
  }
  for (Worker& worker : workers) {
    worker.thread.join();
  }
}

}  // namespace
}  // namespace spicegate
