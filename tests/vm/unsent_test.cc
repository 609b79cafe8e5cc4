// SPDX-License-Identifier: Apache-2.0
//
// What kernel TLS accepted is not yet TCP's: a record that found the send
// buffer full is kept, and pushed later by a kernel thread. shutdown() does not
// wait for it. The peer then sees an ordinary end, one record too early.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <functional>
#include <string>
#include <thread>

#include "tests/vm/ktls_pair.h"

namespace spicegate {
namespace {

// TLS 1.3 without padding: header, type and tag.
constexpr size_t kOverheadBytes = 5 + 1 + 16;
constexpr int kPatienceMs = 20'000;

using SendChunk = std::function<ssize_t(int fd, std::string_view chunk)>;

ssize_t BySend(int fd, std::string_view chunk) {
  return send(fd, chunk.data(), chunk.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t BySplice(int fd, std::string_view chunk) {
  int pipe[2];
  EXPECT_EQ(pipe2(pipe, O_NONBLOCK | O_CLOEXEC), 0);
  EXPECT_EQ(write(pipe[1], chunk.data(), chunk.size()),
            static_cast<ssize_t>(chunk.size()));
  const ssize_t moved =
      splice(pipe[0], nullptr, fd, nullptr, chunk.size(), SPLICE_F_NONBLOCK);
  close(pipe[0]);
  close(pipe[1]);
  return moved;
}

// A connection whose sender is full because its peer did not read yet.
class FullSender {
 public:
  FullSender(int send_buffer, const SendChunk& send_chunk) {
    const int small = 4096;
    const int fd = pair_.fd();
    EXPECT_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    EXPECT_EQ(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer,
                         sizeof(send_buffer)),
              0);
    EXPECT_EQ(
        setsockopt(pair_.peer(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)),
        0);
    const RecordKey key(kSuites[0]);
    EXPECT_EQ(SetTlsUlp(fd), 0);
    EXPECT_EQ(SetTlsUlp(pair_.peer()), 0);
    EXPECT_EQ(key.Install(fd, TLS_TX), 0);
    EXPECT_EQ(key.Install(pair_.peer(), TLS_RX), 0);
    wire_before_ = WireBytes();
    const std::string chunk = Pattern(kMaxRecordBytes);
    ssize_t sent;
    while ((sent = send_chunk(fd, chunk)) > 0) {
      accepted_ += sent;
    }
    EXPECT_EQ(errno, EAGAIN);
  }

  // Bytes that TCP has taken in all: acknowledged ones and queued ones.
  size_t WireBytes() const {
    tcp_info info = {};
    socklen_t len = sizeof(info);
    EXPECT_EQ(getsockopt(pair_.fd(), IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    return info.tcpi_bytes_acked + Unacknowledged();
  }

  int Unacknowledged() const {
    int num_bytes = 0;
    EXPECT_EQ(ioctl(pair_.fd(), SIOCOUTQ, &num_bytes), 0);
    return num_bytes;
  }

  // Whether TLS keeps nothing back: TCP has a whole record for each that the
  // kernel numbered.
  bool AllInTcp() const {
    tls12_crypto_info_aes_gcm_128 info = {};
    socklen_t len = sizeof(info);
    EXPECT_EQ(getsockopt(pair_.fd(), SOL_TLS, TLS_TX, &info, &len), 0);
    const size_t num_records = info.rec_seq[6] * 256 + info.rec_seq[7];
    return WireBytes() - wire_before_ ==
           accepted_ + num_records * kOverheadBytes;
  }

  // The peer reads until `done`, at most kPatienceMs.
  bool ReadUntil(const std::function<bool()>& done) {
    for (int i = 0; i < kPatienceMs; ++i) {
      while (ReadSome() > 0) {
      }
      if (done()) {
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  // Ends the sending; how much the peer lacks when it has read to the end.
  size_t Lost() {
    EXPECT_EQ(shutdown(pair_.fd(), SHUT_WR), 0);
    EXPECT_TRUE(ReadUntil([this] { return at_end_; }));
    return accepted_ - received_;
  }

 private:
  ssize_t ReadSome() {
    char buffer[65536];
    const ssize_t got =
        recv(pair_.peer(), buffer, sizeof(buffer), MSG_DONTWAIT);
    received_ += got > 0 ? got : 0;
    at_end_ = got == 0;
    return got;
  }

  TcpPair pair_;
  size_t wire_before_ = 0;
  size_t accepted_ = 0;
  size_t received_ = 0;
  bool at_end_ = false;
};

struct Way {
  const char* name;
  SendChunk send_chunk;
};

class UnsentTest : public testing::TestWithParam<Way> {
 protected:
  // What is kept back is tried once more by close(), behind the FIN.
  static void SetUpTestSuite() { std::signal(SIGPIPE, SIG_IGN); }

  // Where a record meets the end of the buffer depends on its size.
  static constexpr int kSendBuffers[] = {4608, 11'608, 32'608, 46'608};
};

TEST_P(UnsentTest, ShutdownAtOnceLosesIt) {
  size_t lost = 0;
  for (const int send_buffer : kSendBuffers) {
    lost += FullSender(send_buffer, GetParam().send_chunk).Lost();
  }
  EXPECT_GT(lost, 0u);
}

// Exact: counts what TCP has taken.
TEST_P(UnsentTest, ShutdownWhenTcpHasItAllLosesNothing) {
  for (const int send_buffer : kSendBuffers) {
    FullSender sender(send_buffer, GetParam().send_chunk);
    EXPECT_TRUE(sender.ReadUntil([&] { return sender.AllInTcp(); }));
    EXPECT_EQ(sender.Lost(), 0u) << send_buffer;
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, UnsentTest,
                         testing::Values(Way{"Send", BySend},
                                         Way{"Splice", BySplice}),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

}  // namespace
}  // namespace spicegate
