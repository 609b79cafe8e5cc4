// SPDX-License-Identifier: Apache-2.0
//
// splice() from a pipe to a socket with kernel TLS. On Linux 6.1 a call that
// fills the send buffer may leave all of it unsent: nothing is in flight, so
// nothing ever makes room. Calls of one record each do not.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/tls.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>

#include "tests/vm/ktls_pair.h"

namespace spicegate {
namespace {

constexpr int kNumRuns = 10;
constexpr size_t kTransferBytes = 4 << 20;
constexpr size_t kPipeBytes = 64 << 10;
// Far beyond the milliseconds that kernel TLS needs.
constexpr int kStallMs = 20'000;

struct Ends {
  int reader;
  int writer;
};

Ends MakePipe() {
  int fds[2];
  EXPECT_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
  EXPECT_GE(fcntl(fds[1], F_SETPIPE_SZ, kPipeBytes), int{kPipeBytes});
  return {fds[0], fds[1]};
}

// Moves all of `data` in splices of at most `chunk_bytes`. False when the
// socket did not take more for kStallMs.
bool SpliceAll(int socket, const Ends& pipe, std::string_view data,
               size_t chunk_bytes) {
  size_t in_pipe = 0;
  while (!data.empty() || in_pipe > 0) {
    const ssize_t put = write(pipe.writer, data.data(),
                              std::min(data.size(), kPipeBytes - in_pipe));
    if (put > 0) {
      data.remove_prefix(put);
      in_pipe += put;
    }
    const ssize_t moved =
        splice(pipe.reader, nullptr, socket, nullptr,
               std::min(in_pipe, chunk_bytes), SPLICE_F_NONBLOCK);
    if (moved > 0) {
      in_pipe -= moved;
      continue;
    }
    EXPECT_EQ(errno, EAGAIN);
    pollfd waiting = {socket, POLLOUT, 0};
    if (errno != EAGAIN || poll(&waiting, 1, kStallMs) != 1) {
      return false;
    }
  }
  return true;
}

class SpliceTest : public testing::TestWithParam<int> {};

TEST_P(SpliceTest, OneRecordACallNeverStalls) {
  const std::string data = Pattern(kTransferBytes);
  for (int run = 0; run < kNumRuns; ++run) {
    TcpPair pair;
    ASSERT_EQ(fcntl(pair.fd(), F_SETFL, O_NONBLOCK), 0);
    const int size = GetParam();
    if (size != 0) {
      ASSERT_EQ(
          setsockopt(pair.fd(), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    }
    const RecordKey key(kSuites[0]);
    ASSERT_EQ(SetTlsUlp(pair.fd()), 0);
    ASSERT_EQ(SetTlsUlp(pair.peer()), 0);
    ASSERT_EQ(key.Install(pair.fd(), TLS_TX), 0);
    ASSERT_EQ(key.Install(pair.peer(), TLS_RX), 0);
    const Ends pipe = MakePipe();
    std::string received;
    std::thread peer(
        [&] { received = ReadExactly(pair.peer(), kTransferBytes); });
    const bool moved = SpliceAll(pair.fd(), pipe, data, kMaxRecordBytes);
    peer.join();
    close(pipe.reader);
    close(pipe.writer);
    ASSERT_TRUE(moved) << "stalled in run " << run;
    ASSERT_TRUE(received == data) << "run " << run;
  }
}

// 0: the kernel's own, 46080 bytes. The kernel doubles the other.
INSTANTIATE_TEST_SUITE_P(SendBuffers, SpliceTest, testing::Values(0, 20'000));

}  // namespace
}  // namespace spicegate
