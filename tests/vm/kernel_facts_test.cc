// SPDX-License-Identifier: Apache-2.0
//
// What kernel TLS answers where the gateway has to know it. Each of these held
// on Linux 6.1 and 6.12; one that fails on another kernel is a reason to look
// at gateway/tls again.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/tls.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "tests/vm/ktls_pair.h"

namespace spicegate {
namespace {

constexpr int kPatienceMs = 20'000;
constexpr char kTlsModule[] = "/lib/modules/tls.ko";

void WaitFor(int fd, short events) {
  pollfd waiting = {fd, events, 0};
  ASSERT_EQ(poll(&waiting, 1, kPatienceMs), 1);
}

// A record's plaintext as recvmsg reports it; type 0 where it tells none.
struct Record {
  int result;  // the length or -errno
  uint8_t type;
  std::string data;
};

Record ReceiveRecord(int fd) {
  char data[kMaxRecordBytes];
  alignas(cmsghdr) char control[CMSG_SPACE(1)];
  iovec span = {data, sizeof(data)};
  msghdr message = {};
  message.msg_iov = &span;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT);
  if (got < 0) {
    return {-errno, 0, ""};
  }
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  const uint8_t type = header == nullptr ? 0 : *CMSG_DATA(header);
  return {static_cast<int>(got), type, std::string(data, got)};
}

int SendRecord(int fd, uint8_t type, std::string_view text) {
  alignas(cmsghdr) char control[CMSG_SPACE(1)] = {};
  iovec span = {const_cast<char*>(text.data()), text.size()};
  msghdr message = {};
  message.msg_iov = &span;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_LEN(1);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_TLS;
  header->cmsg_type = TLS_SET_RECORD_TYPE;
  header->cmsg_len = CMSG_LEN(1);
  *CMSG_DATA(header) = type;
  return static_cast<int>(sendmsg(fd, &message, MSG_NOSIGNAL));
}

// The next whole record that arrives at a raw socket.
std::string ReadRecord(int fd) {
  const std::string header = ReadExactly(fd, 5);
  const size_t len =
      static_cast<uint8_t>(header[3]) << 8 | static_cast<uint8_t>(header[4]);
  return header + ReadExactly(fd, len);
}

// The length or -errno.
int Receive(int fd, size_t max_len = 65536) {
  std::string buffer(max_len, '\0');
  const ssize_t got = recv(fd, buffer.data(), max_len, MSG_DONTWAIT);
  return got < 0 ? -errno : static_cast<int>(got);
}

class Pipe {
 public:
  Pipe() { EXPECT_EQ(pipe2(fds_, O_NONBLOCK | O_CLOEXEC), 0); }
  ~Pipe() {
    close(fds_[0]);
    close(fds_[1]);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int reader() const { return fds_[0]; }
  int writer() const { return fds_[1]; }

  // splice() from a socket, the length or -errno.
  int FillFrom(int fd) {
    const ssize_t got = splice(fd, nullptr, fds_[1], nullptr, 65536,
                               SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    return got < 0 ? -errno : static_cast<int>(got);
  }

 private:
  int fds_[2] = {-1, -1};
};

void ExpectPlainBytesBothWays(const TcpPair& pair) {
  SendAll(pair.fd(), "down");
  EXPECT_EQ(ReadExactly(pair.peer(), 4), "down");
  SendAll(pair.peer(), "up");
  EXPECT_EQ(ReadExactly(pair.fd(), 2), "up");
}

TEST(UlpTest, NotAfterThePeersFin) {
  TcpPair pair;
  SendAll(pair.peer(), "last");
  ASSERT_EQ(shutdown(pair.peer(), SHUT_WR), 0);
  WaitFor(pair.fd(), POLLRDHUP);
  EXPECT_EQ(SetTlsUlp(pair.fd()), ENOTCONN);
  EXPECT_EQ(ReadExactly(pair.fd(), 4), "last");
  SendAll(pair.fd(), "still");
  EXPECT_EQ(ReadExactly(pair.peer(), 5), "still");
}

TEST(UlpTest, WithoutKeysBytesPassThrough) {
  TcpPair pair;
  ASSERT_EQ(SetTlsUlp(pair.fd()), 0);
  ExpectPlainBytesBothWays(pair);
  EXPECT_EQ(SetTlsUlp(pair.fd()), EEXIST);
}

// The module goes when the last socket that used it is gone for good.
bool RemoveTlsModule() {
  for (int i = 0; i < kPatienceMs; ++i) {
    if (syscall(SYS_delete_module, "tls", O_NONBLOCK) == 0) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

TEST(UlpTest, WithoutTheModule) {
  const int module = open(kTlsModule, O_RDONLY | O_CLOEXEC);
  ASSERT_GE(module, 0) << "outside of tests/vm/run?";
  ASSERT_TRUE(RemoveTlsModule()) << std::strerror(errno);
  TcpPair pair;
  EXPECT_EQ(SetTlsUlp(pair.fd()), ENOENT);
  ExpectPlainBytesBothWays(pair);
  ASSERT_EQ(syscall(SYS_finit_module, module, "", 0), 0);
  close(module);
  EXPECT_EQ(SetTlsUlp(pair.fd()), 0);
}

class SuiteTest : public testing::TestWithParam<Suite> {
 protected:
  void SetUp() override { ASSERT_EQ(SetTlsUlp(pair_.fd()), 0); }

  void ReceiveInKernel() { ASSERT_EQ(rx_.Install(pair_.fd(), TLS_RX), 0); }
  void SendInKernel() { ASSERT_EQ(tx_.Install(pair_.fd(), TLS_TX), 0); }

  void Arrive(std::string_view wire) { pair_.Deliver(wire); }

  // What the peer decrypts of the next record.
  std::string PeerOpens(uint8_t* type) {
    std::string plaintext;
    EXPECT_TRUE(tx_.Open(ReadRecord(pair_.peer()), type, &plaintext));
    return plaintext;
  }

  TcpPair pair_;
  RecordKey rx_{GetParam(), 1};
  RecordKey tx_{GetParam(), 2};
};

TEST_P(SuiteTest, SendKeyAloneLeavesReceivingAlone) {
  SendInKernel();
  const std::string sealed = rx_.SealData("not for the kernel");
  SendAll(pair_.peer(), sealed);
  EXPECT_EQ(ReadExactly(pair_.fd(), sealed.size()), sealed);
  SendAll(pair_.fd(), "secret");
  uint8_t type = 0;
  EXPECT_EQ(PeerOpens(&type), "secret");
  EXPECT_EQ(type, kDataRecord);
}

TEST_P(SuiteTest, ReceiveKeyAloneLeavesSendingAlone) {
  ReceiveInKernel();
  SendAll(pair_.peer(), rx_.SealData("secret"));
  EXPECT_EQ(ReadExactly(pair_.fd(), 6), "secret");
  SendAll(pair_.fd(), "raw");
  EXPECT_EQ(ReadExactly(pair_.peer(), 3), "raw");
}

// Records that came before the key, whole or in part, are not lost.
TEST_P(SuiteTest, ReceiveKeyAfterTheFirstRecords) {
  std::string wire = rx_.SealData("one");
  wire += rx_.SealData("two");
  Arrive(wire.substr(0, wire.size() - 4));
  RecordKey first(GetParam(), 1);
  ASSERT_EQ(first.Install(pair_.fd(), TLS_RX), 0);
  SendAll(pair_.peer(), wire.substr(wire.size() - 4));
  EXPECT_EQ(ReadExactly(pair_.fd(), 6), "onetwo");
}

TEST_P(SuiteTest, KeysCannotBeSetTwice) {
  SendInKernel();
  ReceiveInKernel();
  EXPECT_EQ(tx_.Install(pair_.fd(), TLS_TX), EBUSY);
  EXPECT_EQ(rx_.Install(pair_.fd(), TLS_RX), EBUSY);
}

TEST_P(SuiteTest, ControlRecordWaitsForRecvmsg) {
  ReceiveInKernel();
  std::string wire = rx_.SealData("before");
  wire += rx_.Seal(kAlertRecord, {"\1\0", 2});
  wire += rx_.SealData("after");
  Arrive(wire);
  Pipe pipe;
  EXPECT_EQ(Receive(pair_.fd()), 6);
  EXPECT_EQ(Receive(pair_.fd()), -EIO);
  EXPECT_EQ(pipe.FillFrom(pair_.fd()), -EINVAL);
  WaitFor(pair_.fd(), POLLIN);
  const Record alert = ReceiveRecord(pair_.fd());
  EXPECT_EQ(alert.type, kAlertRecord);
  EXPECT_EQ(alert.data, std::string("\1\0", 2));
  EXPECT_EQ(pipe.FillFrom(pair_.fd()), 5);
}

TEST_P(SuiteTest, SendsControlRecords) {
  SendInKernel();
  EXPECT_EQ(SendRecord(pair_.fd(), kAlertRecord, {"\1\0", 2}), 2);
  uint8_t type = 0;
  EXPECT_EQ(PeerOpens(&type), std::string("\1\0", 2));
  EXPECT_EQ(type, kAlertRecord);
}

// splice() returns 0 though it is not the end.
TEST_P(SuiteTest, EmptyRecordLooksLikeTheEndToSplice) {
  ReceiveInKernel();
  std::string wire = rx_.SealData("");
  wire += rx_.SealData("data");
  Arrive(wire);
  Pipe pipe;
  EXPECT_EQ(pipe.FillFrom(pair_.fd()), 0);
  EXPECT_EQ(pipe.FillFrom(pair_.fd()), 4);
  wire = rx_.SealData("");
  wire += rx_.SealData("data");
  Arrive(wire);
  EXPECT_EQ(Receive(pair_.fd()), 4);
}

// The kernel calls both an ordinary end; close_notify is for us to miss.
TEST_P(SuiteTest, TruncationIsAnOrdinaryEnd) {
  ReceiveInKernel();
  const std::string sealed = rx_.SealData("data");
  SendAll(pair_.peer(), sealed + sealed.substr(0, 7));
  EXPECT_EQ(ReadExactly(pair_.fd(), 4), "data");
  pair_.ClosePeer();
  WaitFor(pair_.fd(), POLLRDHUP);
  EXPECT_EQ(Receive(pair_.fd()), 0);
  EXPECT_EQ(ReceiveRecord(pair_.fd()).result, 0);
}

TEST_P(SuiteTest, ForgedRecordEndsBothDirections) {
  SendInKernel();
  ReceiveInKernel();
  std::string sealed = rx_.SealData("data");
  sealed.back() ^= 1;
  Arrive(sealed);
  EXPECT_EQ(Receive(pair_.fd()), -EBADMSG);
  EXPECT_EQ(Receive(pair_.fd()), -EBADMSG);
  EXPECT_EQ(send(pair_.fd(), "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EBADMSG);
}

TEST_P(SuiteTest, OversizeRecord) {
  ReceiveInKernel();
  Arrive(std::string("\x17\x03\x03\x60\x00", 5) + Pattern(100));
  EXPECT_EQ(Receive(pair_.fd()), -EMSGSIZE);
}

TEST_P(SuiteTest, NotTls) {
  ReceiveInKernel();
  Arrive("GET / HTTP/1.1\r\n\r\n");
  EXPECT_EQ(Receive(pair_.fd()), -EINVAL);
}

TEST_P(SuiteTest, WrongVersion) {
  ReceiveInKernel();
  std::string sealed = rx_.SealData("data");
  sealed[2] = 1;
  Arrive(sealed);
  EXPECT_EQ(Receive(pair_.fd()), -EINVAL);
}

// The kernel neither follows nor minds; a key cannot be changed.
TEST_P(SuiteTest, KeyUpdateCannotBeFollowed) {
  ReceiveInKernel();
  const std::string key_update("\x18\0\0\1\0", 5);
  Arrive(rx_.Seal(kHandshakeRecord, key_update));
  EXPECT_EQ(Receive(pair_.fd()), -EIO);
  const Record record = ReceiveRecord(pair_.fd());
  EXPECT_EQ(record.type, kHandshakeRecord);
  EXPECT_EQ(record.data, key_update);
  RecordKey next(GetParam(), 3);
  EXPECT_EQ(next.Install(pair_.fd(), TLS_RX), EBUSY);
  Arrive(next.SealData("under the next key"));
  EXPECT_EQ(Receive(pair_.fd()), -EBADMSG);
}

INSTANTIATE_TEST_SUITE_P(Suites, SuiteTest, testing::ValuesIn(kSuites),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST(SequenceTest, CanBeReadBack) {
  TcpPair pair;
  ASSERT_EQ(SetTlsUlp(pair.fd()), 0);
  ASSERT_EQ(RecordKey(kSuites[0]).Install(pair.fd(), TLS_TX), 0);
  for (int i = 0; i < 3; ++i) {
    SendAll(pair.fd(), "x");
  }
  tls12_crypto_info_aes_gcm_128 info = {};
  socklen_t len = sizeof(info);
  ASSERT_EQ(getsockopt(pair.fd(), SOL_TLS, TLS_TX, &info, &len), 0);
  EXPECT_EQ(std::string(reinterpret_cast<char*>(info.rec_seq), 8),
            std::string("\0\0\0\0\0\0\0\3", 8));
}

TEST(SequenceTest, DirectionsShareTheSuite) {
  TcpPair pair;
  ASSERT_EQ(SetTlsUlp(pair.fd()), 0);
  ASSERT_EQ(RecordKey(kSuites[0]).Install(pair.fd(), TLS_TX), 0);
  EXPECT_EQ(RecordKey(kSuites[1]).Install(pair.fd(), TLS_RX), EINVAL);
  EXPECT_EQ(RecordKey(kSuites[3]).Install(pair.fd(), TLS_RX), EINVAL);
}

}  // namespace
}  // namespace spicegate
