// SPDX-License-Identifier: Apache-2.0
//
// Waiting for the rest of a record. Linux 6.1 says POLLIN as soon as any byte
// of one is queued, 6.12 when it is whole: who trusts 6.1 spins.
//
// Two ways out hold on both, and these tests are their proof:
//   - SO_RCVLOWAT one above what is queued while POLL_ADD is being armed, back
//     to 1 at once: an armed poll is looked at again only for a whole record;
//   - a multishot POLL_ADD, which does not look at its start a second time.
// A mark that stays up is a trap: TCP asks TLS to look at the queue only above
// the mark, and under memory pressure TLS empties the queue on its own.

#include <gtest/gtest.h>
#include <liburing.h>
#include <linux/sock_diag.h>
#include <linux/tls.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

#include "tests/vm/ktls_pair.h"

namespace spicegate {
namespace {

// "Nothing happens" is believed after this.
constexpr int kQuietMs = 150;
constexpr int kPatienceMs = 20'000;

bool PollsTooEarly() {
  utsname name;
  EXPECT_EQ(uname(&name), 0);
  return std::strncmp(name.release, "6.1.", 4) == 0;
}

// Waits as the gateway does, on a ring of one thread.
class Ring {
 public:
  Ring() {
    io_uring_params params = {};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    EXPECT_EQ(io_uring_queue_init_params(8, &ring_, &params), 0);
  }
  ~Ring() { io_uring_queue_exit(&ring_); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  void Arm(int fd) {
    io_uring_prep_poll_add(io_uring_get_sqe(&ring_), fd, POLLIN | POLLRDHUP);
    EXPECT_EQ(io_uring_submit(&ring_), 1);
  }
  void ArmMultishot(int fd) {
    io_uring_prep_poll_multishot(io_uring_get_sqe(&ring_), fd,
                                 POLLIN | POLLRDHUP);
    EXPECT_EQ(io_uring_submit(&ring_), 1);
  }
  // The events of an armed poll, 0 when there were none within the time.
  int Wait(int timeout_ms) {
    __kernel_timespec limit = {timeout_ms / 1000,
                               timeout_ms % 1000 * 1'000'000LL};
    io_uring_cqe* cqe = nullptr;
    if (io_uring_wait_cqe_timeout(&ring_, &cqe, &limit) != 0) {
      return 0;
    }
    const int events = cqe->res;
    more_ = (cqe->flags & IORING_CQE_F_MORE) != 0;
    io_uring_cqe_seen(&ring_, cqe);
    return events;
  }
  // Whether the last event came from a poll that goes on.
  bool more() const { return more_; }

 private:
  io_uring ring_ = {};
  bool more_ = false;
};

class HalfRecordTest : public testing::TestWithParam<Suite> {
 protected:
  void SetUp() override {
    ASSERT_EQ(SetTlsUlp(pair_.fd()), 0);
    ASSERT_EQ(key_.Install(pair_.fd(), TLS_RX), 0);
  }

  // The length or -errno.
  int Receive() {
    const ssize_t got =
        recv(pair_.fd(), buffer_, sizeof(buffer_), MSG_DONTWAIT);
    if (got > 0) {
      received_.append(buffer_, got);
    }
    return got < 0 ? -errno : static_cast<int>(got);
  }

  int Queued() {
    int queued = -1;
    EXPECT_EQ(ioctl(pair_.fd(), FIONREAD, &queued), 0);
    return queued;
  }

  void SetMark(int num_bytes) {
    ASSERT_EQ(setsockopt(pair_.fd(), SOL_SOCKET, SO_RCVLOWAT, &num_bytes,
                         sizeof(num_bytes)),
              0);
  }

  // After EAGAIN: raises the mark above what is queued, looks once more for
  // what came meanwhile, and returns what it found.
  int Raise() {
    SetMark(Queued() + 1);
    return Receive();
  }

  // The whole cure. Returns -EAGAIN when the ring waits now.
  int RaiseArmLower() {
    const int got = Raise();
    if (got == -EAGAIN) {
      ring_.Arm(pair_.fd());
    }
    SetMark(1);
    return got;
  }

  void Send(std::string_view data) { pair_.Deliver(data); }

  // Makes the receive buffer so small that what is queued nearly fills it.
  void PressReceiveBuffer() {
    uint32_t meminfo[SK_MEMINFO_VARS] = {};
    socklen_t len = sizeof(meminfo);
    ASSERT_EQ(getsockopt(pair_.fd(), SOL_SOCKET, SO_MEMINFO, meminfo, &len), 0);
    // The kernel doubles the value and feels pressure above 7/8 of it.
    const int half = meminfo[SK_MEMINFO_RMEM_ALLOC] * 17 / 32;
    ASSERT_EQ(
        setsockopt(pair_.fd(), SOL_SOCKET, SO_RCVBUF, &half, sizeof(half)), 0);
  }

  // Leaves the mark up.
  void QueueHalfAndArm(const std::string& record) {
    Send(record.substr(0, 9000));
    ASSERT_EQ(Receive(), -EAGAIN);
    ASSERT_EQ(Queued(), 9000);
    ASSERT_EQ(Raise(), -EAGAIN);
    ring_.Arm(pair_.fd());
  }

  TcpPair pair_;
  RecordKey key_{GetParam()};
  Ring ring_;
  std::string received_;
  char buffer_[65536];
};

// What must not be relied on.
TEST_P(HalfRecordTest, PollSaysItTooEarlyOrNot) {
  const std::string record = key_.SealData(Pattern(1000));
  Send(record.substr(0, 500));
  EXPECT_EQ(Receive(), -EAGAIN);
  const int early = PollsTooEarly() ? POLLIN : 0;
  ring_.Arm(pair_.fd());
  EXPECT_EQ(ring_.Wait(kQuietMs), early);
  pollfd waiting = {pair_.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&waiting, 1, kQuietMs), early == 0 ? 0 : 1);
}

TEST_P(HalfRecordTest, TheMarkHoldsPollSyscall) {
  const std::string record = key_.SealData(Pattern(1000));
  Send(record.substr(0, 500));
  EXPECT_EQ(Raise(), -EAGAIN);
  pollfd waiting = {pair_.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&waiting, 1, kQuietMs), 0);
  Send(record.substr(500));
  EXPECT_EQ(poll(&waiting, 1, kPatienceMs), 1);
  EXPECT_EQ(Receive(), 1000);
}

TEST_P(HalfRecordTest, CureWaitsForTheRest) {
  const std::string record = key_.SealData(Pattern(1000));
  Send(record.substr(0, 500));
  EXPECT_EQ(Receive(), -EAGAIN);
  EXPECT_EQ(Queued(), 500);
  EXPECT_EQ(RaiseArmLower(), -EAGAIN);
  EXPECT_EQ(ring_.Wait(kQuietMs), 0);
  Send(record.substr(500));
  EXPECT_EQ(ring_.Wait(kPatienceMs), POLLIN);
  EXPECT_EQ(Receive(), 1000);
  EXPECT_EQ(received_, Pattern(1000));
}

TEST_P(HalfRecordTest, RestBeforeLooking) {
  const std::string record = key_.SealData(Pattern(1000));
  Send(record.substr(0, 500));
  EXPECT_EQ(Receive(), -EAGAIN);
  Send(record.substr(500));
  EXPECT_EQ(Raise(), 1000);
}

TEST_P(HalfRecordTest, RestBeforeTheWait) {
  const std::string record = key_.SealData(Pattern(1000));
  Send(record.substr(0, 500));
  EXPECT_EQ(Raise(), -EAGAIN);
  Send(record.substr(500));
  ring_.Arm(pair_.fd());
  SetMark(1);
  EXPECT_EQ(ring_.Wait(kPatienceMs), POLLIN);
  EXPECT_EQ(Receive(), 1000);
}

// One wasted round a packet, not a spin: the next wait is above that packet.
TEST_P(HalfRecordTest, PartOfTheRestBeforeTheWait) {
  const std::string record = key_.SealData(Pattern(1000));
  Send(record.substr(0, 500));
  EXPECT_EQ(Raise(), -EAGAIN);
  Send(record.substr(500, 100));
  ring_.Arm(pair_.fd());
  SetMark(1);
  if (ring_.Wait(kQuietMs) != 0) {
    EXPECT_EQ(RaiseArmLower(), -EAGAIN);
    EXPECT_EQ(ring_.Wait(kQuietMs), 0);
  }
  Send(record.substr(600));
  EXPECT_EQ(ring_.Wait(kPatienceMs), POLLIN);
  EXPECT_EQ(Receive(), 1000);
}

// An armed poll is not ended by bytes that complete nothing.
TEST_P(HalfRecordTest, OneByteAtATime) {
  const std::string record = key_.SealData(Pattern(40));
  Send(record.substr(0, 1));
  EXPECT_EQ(RaiseArmLower(), -EAGAIN);
  for (size_t i = 1; i + 1 < record.size(); ++i) {
    Send(record.substr(i, 1));
    ASSERT_EQ(ring_.Wait(2), 0) << "at byte " << i;
  }
  Send(record.substr(record.size() - 1));
  EXPECT_EQ(ring_.Wait(kPatienceMs), POLLIN);
  EXPECT_EQ(Receive(), 40);
  EXPECT_EQ(received_, Pattern(40));
}

// A receiver like the gateway's, and beside it a peer that dribbles.
TEST_P(HalfRecordTest, FullRecordsInPieces) {
  constexpr size_t kNumRecords = 20;
  constexpr size_t kPieceBytes = 3000;
  std::string wire;
  for (size_t i = 0; i < kNumRecords; ++i) {
    wire += key_.SealData(Pattern(kMaxRecordBytes));
  }
  std::thread peer([&] {
    for (size_t at = 0; at < wire.size(); at += kPieceBytes) {
      SendAll(pair_.peer(), std::string_view(wire).substr(at, kPieceBytes));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  size_t num_waits = 0;
  while (received_.size() < kNumRecords * kMaxRecordBytes) {
    if (Receive() > 0 || RaiseArmLower() > 0) {
      continue;
    }
    ++num_waits;
    if (ring_.Wait(kPatienceMs) == 0) {
      ADD_FAILURE() << "stalled after " << received_.size() << " bytes";
      break;
    }
  }
  peer.join();
  // A spin would be thousands.
  EXPECT_LE(num_waits, 2 * (wire.size() / kPieceBytes));
}

TEST_P(HalfRecordTest, SmallRecordsWakeAfterTheCure) {
  const std::string record = key_.SealData(Pattern(1000));
  Send(record.substr(0, 900));
  EXPECT_EQ(RaiseArmLower(), -EAGAIN);
  Send(record.substr(900));
  EXPECT_EQ(ring_.Wait(kPatienceMs), POLLIN);
  EXPECT_EQ(Receive(), 1000);
  EXPECT_EQ(RaiseArmLower(), -EAGAIN);
  EXPECT_EQ(ring_.Wait(kQuietMs), 0);
  Send(key_.SealData("x"));
  EXPECT_EQ(ring_.Wait(kPatienceMs), POLLIN);
  EXPECT_EQ(Receive(), 1);
}

TEST_P(HalfRecordTest, FinAfterHalfARecordWakes) {
  const std::string record = key_.SealData(Pattern(1000));
  Send(record.substr(0, 500));
  EXPECT_EQ(RaiseArmLower(), -EAGAIN);
  EXPECT_EQ(ring_.Wait(kQuietMs), 0);
  pair_.ClosePeer();
  EXPECT_EQ(ring_.Wait(kPatienceMs), POLLIN | POLLRDHUP);
  EXPECT_EQ(Receive(), 0);
}

// Why the mark comes down: small records after it do not wake.
TEST_P(HalfRecordTest, AMarkLeftUpHidesSmallRecords) {
  const std::string record = key_.SealData(Pattern(1000));
  Send(record.substr(0, 900));
  EXPECT_EQ(Raise(), -EAGAIN);
  Send(record.substr(900));
  EXPECT_EQ(Receive(), 1000);
  ring_.Arm(pair_.fd());
  Send(key_.SealData("x"));
  EXPECT_EQ(ring_.Wait(kQuietMs), 0);
  SetMark(1);
  EXPECT_EQ(ring_.Wait(kPatienceMs), POLLIN);
}

// Why it comes down at once and not after the wait: TLS may take the half
// record out of TCP's queue, and then the rest alone stays below the mark.
TEST_P(HalfRecordTest, AMarkLeftUpStallsUnderPressure) {
  const std::string record = key_.SealData(Pattern(kMaxRecordBytes));
  QueueHalfAndArm(record);
  PressReceiveBuffer();
  Send(record.substr(9000, 1));
  ASSERT_EQ(Queued(), 0);
  Send(record.substr(9001));
  EXPECT_EQ(ring_.Wait(kQuietMs), 0);
  SetMark(1);
  EXPECT_EQ(ring_.Wait(kPatienceMs), POLLIN);
  EXPECT_EQ(Receive(), kMaxRecordBytes);
  EXPECT_EQ(received_, Pattern(kMaxRecordBytes));
}

TEST_P(HalfRecordTest, CureHoldsUnderPressure) {
  const std::string record = key_.SealData(Pattern(kMaxRecordBytes));
  QueueHalfAndArm(record);
  SetMark(1);
  PressReceiveBuffer();
  Send(record.substr(9000, 1));
  EXPECT_EQ(ring_.Wait(kQuietMs), 0);
  Send(record.substr(9001));
  EXPECT_EQ(ring_.Wait(kPatienceMs), POLLIN);
  EXPECT_EQ(Receive(), kMaxRecordBytes);
  EXPECT_EQ(received_, Pattern(kMaxRecordBytes));
}

TEST_P(HalfRecordTest, MultishotPollNeedsNoMark) {
  const std::string record = key_.SealData(Pattern(1000));
  Send(record.substr(0, 500));
  EXPECT_EQ(Receive(), -EAGAIN);
  ring_.ArmMultishot(pair_.fd());
  EXPECT_EQ(ring_.Wait(kQuietMs), PollsTooEarly() ? POLLIN : 0);
  Send(record.substr(500, 100));
  EXPECT_EQ(ring_.Wait(kQuietMs), 0);
  Send(record.substr(600));
  EXPECT_EQ(ring_.Wait(kPatienceMs), POLLIN);
  EXPECT_TRUE(ring_.more());
  EXPECT_EQ(Receive(), 1000);
  Send(key_.SealData("x"));
  EXPECT_EQ(ring_.Wait(kPatienceMs), POLLIN);
  EXPECT_TRUE(ring_.more());
  EXPECT_EQ(Receive(), 1);
}

INSTANTIATE_TEST_SUITE_P(Suites, HalfRecordTest,
                         testing::Values(kSuites[0], kSuites[2], kSuites[3]),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

}  // namespace
}  // namespace spicegate
