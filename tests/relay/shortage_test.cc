// SPDX-License-Identifier: Apache-2.0
//
// When pipes, descriptors or kernel memory run out, every byte still arrives:
// bulk is copied meanwhile, and spliced again once it can be.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/relay/relay_path.h"
#include "tests/relay/relay_rig.h"

namespace spicegate {
namespace {

constexpr uint64_t kTotal = 3 * kMib;

// Bulk both ways, up to `total` bytes each.
void Pass(RelayRig* rig, Line* line, uint64_t total) {
  ASSERT_TRUE(rig->RunUntil([&] {
    line->client.SayUpTo(total, 256 * kKib);
    line->server.SayUpTo(total, 256 * kKib);
    const bool at_client = line->client.HearUpTo(total);
    return line->server.HearUpTo(total) && at_client;
  }));
}

void ExpectExact(const RelayRig& rig, const Line& line) {
  EXPECT_TRUE(line.complete());
  EXPECT_FALSE(line.ended);
  EXPECT_EQ(static_cast<uint64_t>(rig.to_server()), line.server.heard());
  EXPECT_EQ(static_cast<uint64_t>(rig.to_client()), line.client.heard());
  EXPECT_EQ(rig.copied() + rig.spliced(), rig.to_server() + rig.to_client());
}

// Goes on with bulk until some of it is spliced.
void PassUntilSpliced(RelayRig* rig, Line* line) {
  const int64_t before = rig->spliced();
  uint64_t total = line->client.said();
  const uint64_t enough = total + 1024 * kMib;
  ASSERT_TRUE(rig->RunUntil([&] {
    total += rig->spliced() == before && total < enough ? 256 * kKib : 0;
    line->client.SayUpTo(total, 256 * kKib);
    line->server.SayUpTo(total, 256 * kKib);
    const bool at_client = line->client.HearUpTo(total);
    return line->server.HearUpTo(total) && at_client && rig->spliced() > before;
  }));
}

TEST(RelayShortageTest, NoDescriptorsForAPipe) {
#ifdef __SANITIZE_UNDEFINED__
  GTEST_SKIP() << "UBSan needs descriptors itself";
#endif
  RelayRig rig;
  Line* const line = rig.Connect(Wire::kTcp);
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  // The lowest free number, and so the next to be given out. A pipe needs two.
  const int next = dup(line->client.fd());
  close(next);
  for (const int num_left : {0, 1}) {
    rlimit few = limit;
    few.rlim_cur = static_cast<rlim_t>(next + num_left);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    Pass(&rig, line, line->client.said() + kTotal);
  }
  EXPECT_EQ(rig.spliced(), 0);
  EXPECT_GT(rig.counters().pipe_shortages.value(), 0);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  PassUntilSpliced(&rig, line);
  ExpectExact(rig, *line);
}

TEST(RelayShortageTest, TheHostHasNoFilesLeft) {
  RelayRig rig;
  Line* const line = rig.Connect(Wire::kTcp);
  rig.driver()->set_pipe_error(-ENFILE);
  Pass(&rig, line, kTotal);
  EXPECT_EQ(rig.spliced(), 0);
  EXPECT_GT(rig.driver()->num_faults(), 0u);
  rig.driver()->set_pipe_error(0);
  PassUntilSpliced(&rig, line);
  ExpectExact(rig, *line);
}

// Every `period`th call finds no memory, over a plain connection or TLS.
void RunShortOfMemory(Wire wire, bool pipes, unsigned period, int error) {
  RigOptions options;
  options.pipes = pipes;
  RelayRig rig(options);
  Line* const line = rig.Connect(wire);
  rig.driver()->FailTransfers(period, error);
  Pass(&rig, line, kTotal);
  EXPECT_GT(rig.driver()->num_faults(), 5u);
  EXPECT_EQ(rig.spliced() > 0, pipes && wire == Wire::kTcp);
  ExpectExact(rig, *line);
}

TEST(RelayShortageTest, MemoryRunsOutNowAndThen) {
  for (const int error : {-ENOBUFS, -ENOMEM, -EAGAIN}) {
    for (const unsigned period : {2u, 3u, 7u}) {
      RunShortOfMemory(Wire::kTcp, /*pipes=*/false, period, error);
      RunShortOfMemory(Wire::kTcp, /*pipes=*/true, period, error);
    }
  }
}

TEST(RelayShortageTest, MemoryRunsOutUnderTls) {
  for (const int error : {-EAGAIN, -ENOBUFS, -ENOMEM}) {
    RunShortOfMemory(Wire::kTls, /*pipes=*/true, 3, error);
  }
}

// Some sockets and old kernels do not splice; it shows only when tried.
TEST(RelayShortageTest, TheSocketCannotSplice) {
  RelayRig rig;
  Line* const line = rig.Connect(Wire::kTcp);
  rig.driver()->set_splice_error(-EINVAL);
  Pass(&rig, line, kTotal);
  EXPECT_EQ(rig.spliced(), 0);
  EXPECT_EQ(rig.driver()->num_faults(), 2u);  // once for each direction
  ExpectExact(rig, *line);
}

TEST(RelayShortageTest, OthersHaveAllThePipes) {
  RigOptions options;
  options.pool.max_pipes = 2;
  options.socket_buffer_bytes = 256 * 1024;
  RelayRig rig(options);
  // Two viewers that stall, each with a full pipe.
  std::vector<Line*> stalled;
  for (int i = 0; i < 2; ++i) {
    Line* const line = rig.Connect(Wire::kTcp);
    stalled.push_back(line);
    ASSERT_TRUE(rig.RunUntil([&] {
      line->server.SayUpTo(kTotal, 256 * kKib);
      return line->client.HearUpTo(kTotal);
    }));
    rig.RunUntilStill([&] { line->server.SayUpTo(100 * kMib, 256 * kKib); });
  }
  EXPECT_EQ(rig.counters().pipes_in_use.value(), 2);
  Line* const line = rig.Connect(Wire::kTcp);
  const int64_t copied_before = rig.copied();
  Pass(&rig, line, kTotal);
  EXPECT_EQ(rig.copied() - copied_before, static_cast<int64_t>(2 * kTotal));
  EXPECT_GT(rig.counters().pipe_shortages.value(), 0);
  // They give them back when they go.
  for (Line* gone : stalled) {
    gone->client.Reset();
    ASSERT_TRUE(rig.RunUntil([&] { return gone->ended; }));
  }
  EXPECT_EQ(rig.counters().pipes_in_use.value(), 0);
  PassUntilSpliced(&rig, line);
  EXPECT_TRUE(line->complete());
}

// ---- fs.pipe-user-pages-soft

// Makes this thread, and no other, a user of its own: the quota is a user's,
// and binds nobody with root's rights.
bool BecomeSomebody() {
  const uid_t uid = 20'000 + static_cast<uid_t>(getpid()) % 40'000;
  return syscall(SYS_setresuid, uid, uid, uid) == 0;
}

size_t PipeQuotaBytes() {
  std::ifstream file("/proc/sys/fs/pipe-user-pages-soft");
  size_t pages = 0;
  file >> pages;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Takes the whole quota but for `left_bytes`.
class QuotaHog {
 public:
  QuotaHog(IoDriver* driver, size_t left_bytes) : driver_(driver) {
    Pipe left;
    if (left_bytes > 0) {
      EXPECT_EQ(driver_->OpenPipe(left_bytes, &left), 0);
    }
    for (size_t size = kMib; size > 8 * kKib; size /= 2) {
      while (pipes_.size() < 2'000 && Open(size)) {
      }
    }
    if (left.open()) {
      driver_->ClosePipe(&left);
    }
  }
  ~QuotaHog() {
    for (Pipe& pipe : pipes_) {
      driver_->ClosePipe(&pipe);
    }
  }

 private:
  // False when it became smaller than that.
  bool Open(size_t size_bytes) {
    Pipe pipe;
    if (driver_->OpenPipe(size_bytes, &pipe) != 0) {
      return false;
    }
    if (pipe.capacity_bytes < size_bytes) {
      driver_->ClosePipe(&pipe);
      return false;
    }
    pipes_.push_back(pipe);
    return true;
  }

  IoDriver* const driver_;
  std::vector<Pipe> pipes_;
};

// In CI nothing is left out silently.
void LeaveOut(const char* reason) {
  const char* const ci = std::getenv("SPICEGATE_CI");
  if (ci != nullptr && std::string_view(ci) == "1") {
    FAIL() << "left out in CI: " << reason;
  }
  GTEST_SKIP() << reason;
}

// Runs `test` on a thread that the quota binds, or says why it cannot.
void WithQuota(const std::function<void()>& test) {
  std::thread([&] {
    const size_t quota = PipeQuotaBytes();
    if (quota == 0 || quota > 1024 * kMib) {
      LeaveOut("fs.pipe-user-pages-soft is no limit here");
    } else if (!BecomeSomebody()) {
      LeaveOut("only root can become a user of its own");
    } else {
      test();
    }
  }).join();
}

TEST(RelayShortageTest, ThePipeQuotaIsUsedUp) {
  WithQuota([] {
    RelayRig rig;
    Line* const line = rig.Connect(Wire::kTcp);
    const auto hog_driver = UringDriver::Create();
    ASSERT_TRUE(hog_driver.ok());
    {
      const QuotaHog hog(hog_driver->get(), 0);
      Pass(&rig, line, kTotal);
      EXPECT_EQ(rig.spliced(), 0);
      EXPECT_GT(rig.counters().pipe_shortages.value(), 0);
      EXPECT_LT(rig.driver()->smallest_pipe_bytes(), kFewestPipeBytes);
      EXPECT_EQ(rig.driver()->open_pipes(), 0u);  // not worth keeping
    }
    PassUntilSpliced(&rig, line);
    ExpectExact(rig, *line);
  });
}

TEST(RelayShortageTest, ThePipeQuotaLeavesASmallPipe) {
  WithQuota([] {
    RelayRig rig;
    Line* const line = rig.Connect(Wire::kTcp);
    const auto hog_driver = UringDriver::Create();
    ASSERT_TRUE(hog_driver.ok());
    const QuotaHog hog(hog_driver->get(), 128 * kKib);
    Pass(&rig, line, 2 * kTotal);
    EXPECT_GT(rig.spliced(), 0);
    EXPECT_EQ(rig.driver()->smallest_pipe_bytes(), 64 * kKib);
    ExpectExact(rig, *line);
  });
}

}  // namespace
}  // namespace spicegate
