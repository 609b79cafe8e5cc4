// SPDX-License-Identifier: Apache-2.0
//
// What only the real kernel shows; the rest is driver_conformance_test.cc.
#include "gateway/io/uring_driver.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iostream>
#include <thread>
#include <vector>

#include "gateway/io/driver.h"
#include "gateway/io/driver_conformance.h"

namespace spicegate {
namespace {

constexpr size_t kPipeBytes = 256 * 1024;

// Leaves `num_left` descriptors to the process until it is destroyed.
class FewDescriptors {
 public:
  explicit FewDescriptors(int num_left) {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    // The lowest free number, and so the next to be given out.
    const int next = dup(STDERR_FILENO);
    close(next);
    rlimit few = before_;
    few.rlim_cur = static_cast<rlim_t>(next + num_left);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  }
  ~FewDescriptors() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  rlimit before_{};
};

// The rights that lift the quota of pipe memory, taken from this thread alone.
bool DropQuotaRights() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  if (syscall(SYS_capget, &header, data) != 0) {
    return false;
  }
  for (const unsigned right : {CAP_SYS_RESOURCE, CAP_SYS_ADMIN}) {
    data[right / 32].effective &= ~(1u << (right % 32));
  }
  return syscall(SYS_capset, &header, data) == 0;
}

// How many bytes a user's pipes may hold before new ones are smaller; 0: any.
size_t PipeQuotaBytes() {
  std::ifstream file("/proc/sys/fs/pipe-user-pages-soft");
  size_t pages = 0;
  file >> pages;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Opens pipes of `kPipeBytes` until one is smaller; its capacity.
size_t OpenPipesUntilSmaller(IoDriver* driver, std::vector<Pipe>* pipes) {
  const size_t most = PipeQuotaBytes() / kPipeBytes + 1;
  while (pipes->size() < most) {
    Pipe pipe;
    EXPECT_EQ(driver->OpenPipe(kPipeBytes, &pipe), 0);
    if (!pipe.open()) {
      break;
    }
    pipes->push_back(pipe);
    if (pipe.capacity_bytes < kPipeBytes) {
      return pipe.capacity_bytes;
    }
  }
  return kPipeBytes;
}

// Bytes through the smallest pipe there is.
void ExpectThatItPasses(UringHost* host, const Pipe& pipe) {
  IoDriver& driver = *host->driver();
  const auto [a, b] = host->Connection();
  const auto [c, d] = host->Connection();
  const std::vector<uint8_t> in(5'000, 's');
  ASSERT_EQ(driver.Send(a, in), 5'000);
  const ssize_t held = driver.SpliceIn(b, pipe, in.size());
  ASSERT_GT(held, 0);
  EXPECT_EQ(driver.SpliceOut(pipe, c, static_cast<size_t>(held)), held);
  std::vector<uint8_t> out(in.size());
  EXPECT_EQ(driver.Recv(d, out), held);
  for (const int fd : {a, b, c, d}) {
    driver.Close(fd, false);
  }
}

void ExhaustPipeQuota() {
  if (!DropQuotaRights()) {
    std::cout << "no exhausted quota: the thread keeps its capabilities\n";
    return;
  }
  if (PipeQuotaBytes() == 0 || PipeQuotaBytes() > (size_t{1} << 30)) {
    std::cout << "no exhausted quota: fs.pipe-user-pages-soft is "
              << PipeQuotaBytes() << " bytes\n";
    return;
  }
  UringHost host{UringOptions{}, AF_UNIX};
  IoDriver& driver = *host.driver();
  std::vector<Pipe> pipes;
  const size_t smaller = OpenPipesUntilSmaller(&driver, &pipes);
  EXPECT_LT(smaller, kPipeBytes);
  EXPECT_GE(smaller, 4096u);
  ASSERT_FALSE(pipes.empty());
  ExpectThatItPasses(&host, pipes.back());
  for (Pipe& pipe : pipes) {
    driver.ClosePipe(&pipe);
  }
}

TEST(UringDriverTest, AcceptEndsWhenDescriptorsRunOut) {
  UringHost host{UringOptions{}};
  IoDriver& driver = *host.driver();
  sockaddr_in address{};
  const int listener = host.Listen(&address);
  const int client = driver.OpenSocket(AF_INET);
  Recorder connected;
  driver.Connect(client, reinterpret_cast<sockaddr*>(&address), sizeof(address),
                 &connected, 1);

  for (int turn = 0; turn < 100 && connected.events.empty(); ++turn) {
    driver.RunOnce(100);
  }
  ASSERT_EQ(connected.events.size(), 1u);

  Recorder accepted;
  {
    const FewDescriptors none_left(0);
    driver.Accept(listener, &accepted, 2);
    for (int turn = 0; turn < 100 && accepted.events.empty(); ++turn) {
      driver.RunOnce(100);
    }
  }
  ASSERT_EQ(accepted.events.size(), 1u);
  EXPECT_EQ(accepted.events[0].result.value, -EMFILE);
  EXPECT_FALSE(accepted.events[0].result.more);
  EXPECT_EQ(driver.OpsInFlight(), 0u);
  driver.Close(client, false);
  driver.Close(listener, false);
}

TEST(UringDriverTest, NoPipeWhenDescriptorsRunOut) {
#ifdef __SANITIZE_UNDEFINED__
  GTEST_SKIP() << "UBSan needs descriptors itself";
#endif
  UringHost host{UringOptions{}};
  Pipe pipe;
  for (const int num_left : {0, 1}) {  // a pipe needs two
    const FewDescriptors few(num_left);
    EXPECT_EQ(host.driver()->OpenPipe(kPipeBytes, &pipe), -EMFILE);
    EXPECT_FALSE(pipe.open());
  }
  const FewDescriptors enough(2);
  EXPECT_EQ(host.driver()->OpenPipe(kPipeBytes, &pipe), 0);
  EXPECT_TRUE(pipe.open());
  host.driver()->ClosePipe(&pipe);
}

TEST(UringDriverTest, PipesAreSmallerWhenTheQuotaIsUsedUp) {
  std::thread(ExhaustPipeQuota).join();
}

}  // namespace
}  // namespace spicegate
