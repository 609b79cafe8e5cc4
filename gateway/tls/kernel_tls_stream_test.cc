// SPDX-License-Identifier: Apache-2.0
#include "gateway/tls/kernel_tls_stream.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "gateway/tls/fake_kernel_tls.h"

namespace spicegate {
namespace {

using std::string_literals::operator""s;

class KernelTlsStreamTest : public ::testing::Test {
 protected:
  KernelTlsStreamTest() { Make({TlsLeg::kServer}); }
  ~KernelTlsStreamTest() override {
    stream_.reset();
    Socket::Release(std::move(socket_), Socket::End::kFin);
  }

  void Make(const KernelTlsStream::Options& options,
            const std::string& early = "") {
    stream_ = std::make_unique<KernelTlsStream>(
        socket_.get(), options,
        RelayedTls(&counters_, options.leg, options.version, options.suite,
                   OffloadDirections::kBoth),
        std::vector<uint8_t>(early.begin(), early.end()));
  }

  // What one Read returns: its bytes, or the number it failed with.
  std::string Read(size_t max_bytes = 100) {
    std::vector<uint8_t> out(max_bytes);
    result_ = stream_->Read(out);
    return result_ > 0 ? std::string(out.begin(), out.begin() + result_) : "";
  }

  ssize_t Write(const std::string& bytes) {
    return stream_->Write(
        {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  }

  int64_t Truncated() {
    return counters_.tls_truncated[static_cast<size_t>(TlsLeg::kServer)]
        .value();
  }

  FakeKernelTls kernel_;
  WorkerCounters counters_;
  std::unique_ptr<Socket> socket_{new Socket(&kernel_, 5)};
  std::unique_ptr<KernelTlsStream> stream_;
  Pipe pipe_;
  ssize_t result_ = 0;
};

constexpr char kCloseNotify[] = {1, 0};

// ---- Receiving.

TEST_F(KernelTlsStreamTest, ReadsJoinedRecordsThenWaits) {
  kernel_.Incoming("one");
  kernel_.Incoming("");
  kernel_.Incoming("two");
  EXPECT_EQ(Read(), "onetwo");
  EXPECT_EQ(Read(), "");
  EXPECT_EQ(result_, -EAGAIN);
  EXPECT_TRUE(stream_->ShortReadDrains());
}

TEST_F(KernelTlsStreamTest, EarlyPlaintextComesFirstAndIsNotSpliced) {
  Make({TlsLeg::kClient}, "early");
  kernel_.Incoming("later");
  EXPECT_FALSE(stream_->CanSpliceIn());
  EXPECT_FALSE(stream_->ShortReadDrains());
  EXPECT_EQ(stream_->SpliceIn(pipe_, 100), 0);
  EXPECT_EQ(Read(3), "ear");
  EXPECT_EQ(Read(), "ly");
  EXPECT_TRUE(stream_->CanSpliceIn());
  EXPECT_EQ(stream_->SpliceIn(pipe_, 100), 5);
  EXPECT_EQ(kernel_.pipe, "later");
}

TEST_F(KernelTlsStreamTest, TicketsInBetweenArePassedOver) {
  kernel_.Incoming("\x04\0\0\x03xyz"s, kTlsRecordHandshake);
  kernel_.Incoming("\x04\0\0\x01x\x04\0\0"s, kTlsRecordHandshake);
  kernel_.Incoming("\x02yz"s, kTlsRecordHandshake);
  kernel_.Incoming("data");
  EXPECT_EQ(Read(), "data");
  kernel_.Incoming("\x04\0\0\x03xyz"s, kTlsRecordHandshake);
  kernel_.Incoming("more");
  EXPECT_EQ(stream_->SpliceIn(pipe_, 100), 4);
  EXPECT_EQ(kernel_.pipe, "more");
  EXPECT_TRUE(kernel_.sent.empty());
}

TEST_F(KernelTlsStreamTest, ATicketLargerThanOurBufferIsOneMessage) {
  kernel_.Incoming("\x04\0\x08\0"s + std::string(2048, '\x18'),
                   kTlsRecordHandshake);
  kernel_.Incoming("data");
  EXPECT_EQ(Read(), "data");
}

TEST_F(KernelTlsStreamTest, CloseNotifyIsACleanEnd) {
  kernel_.Incoming("last");
  kernel_.Incoming({kCloseNotify, 2}, kTlsRecordAlert);
  kernel_.Incoming("void");
  EXPECT_EQ(Read(), "last");
  EXPECT_EQ(Read(), "");
  EXPECT_EQ(result_, 0);
  EXPECT_EQ(stream_->SpliceIn(pipe_, 100), 0);
  EXPECT_EQ(Read(), "");
  EXPECT_EQ(result_, 0);
  EXPECT_EQ(Truncated(), 0);
  EXPECT_EQ(Write("still"), 5);
}

TEST_F(KernelTlsStreamTest, ASpliceSeesCloseNotifyToo) {
  kernel_.Incoming({kCloseNotify, 2}, kTlsRecordAlert);
  EXPECT_EQ(stream_->SpliceIn(pipe_, 100), 0);
  EXPECT_EQ(Read(), "");
  EXPECT_EQ(result_, 0);
  EXPECT_EQ(Truncated(), 0);
}

TEST_F(KernelTlsStreamTest, AnEndWithoutCloseNotifyIsCountedOnce) {
  kernel_.ended = true;
  EXPECT_EQ(stream_->SpliceIn(pipe_, 100), 0);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Read(), "");
    EXPECT_EQ(result_, 0);
  }
  EXPECT_EQ(Truncated(), 1);
}

TEST_F(KernelTlsStreamTest, AnEmptyRecordIsNoEnd) {
  kernel_.Incoming("");
  kernel_.Incoming("data");
  EXPECT_EQ(stream_->SpliceIn(pipe_, 100), 0) << "for Read to confirm";
  EXPECT_EQ(Read(), "data");
}

TEST_F(KernelTlsStreamTest, AFatalAlertIsThePeersFailure) {
  kernel_.Incoming("\x02\x28", kTlsRecordAlert);
  EXPECT_EQ(Read(), "");
  EXPECT_EQ(result_, kTlsPeerAlert);
  EXPECT_EQ(stream_->SpliceIn(pipe_, 100), kTlsPeerAlert);
}

TEST_F(KernelTlsStreamTest, AKeyUpdateEndsItInGoodOrder) {
  kernel_.Incoming("data");
  kernel_.Incoming("\x18\0\0\x01\0"s, kTlsRecordHandshake);
  EXPECT_EQ(Read(), "data");
  EXPECT_EQ(Read(), "");
  EXPECT_EQ(result_, kTlsRekeyed);
  ASSERT_EQ(kernel_.sent.size(), 1U);
  EXPECT_EQ(kernel_.sent[0].type, kTlsRecordAlert);
  EXPECT_EQ(kernel_.sent[0].bytes, std::string(kCloseNotify, 2));
  EXPECT_EQ(stream_->ShutdownWrite(), 0);
  EXPECT_EQ(kernel_.sent.size(), 1U) << "close_notify twice";
}

TEST_F(KernelTlsStreamTest, WhereItDoesNotSendItSendsNoAlert) {
  Make({TlsLeg::kServer, TlsVersion::kTls13, TlsSuite::kAes128Gcm,
        /*sends=*/false});
  kernel_.Incoming("\x18\0\0\x01\0"s, kTlsRecordHandshake);
  Read();
  EXPECT_EQ(result_, kTlsRekeyed);
  EXPECT_TRUE(kernel_.sent.empty());
}

TEST_F(KernelTlsStreamTest, OtherMessagesAreRefused) {
  kernel_.Incoming("\x01\0\0\0"s, kTlsRecordHandshake);
  Read();
  EXPECT_EQ(result_, kTlsBadRecord);
  ASSERT_EQ(kernel_.sent.size(), 1U);
  EXPECT_EQ(kernel_.sent[0].bytes, "\x02\x0a") << "unexpected_message";
}

TEST_F(KernelTlsStreamTest, WhatTheKernelRefusesIsABadRecord) {
  for (const int error : {EBADMSG, EINVAL, EMSGSIZE}) {
    Make({TlsLeg::kServer});
    kernel_.receive_error = -error;
    Read();
    EXPECT_EQ(result_, kTlsBadRecord) << error;
    Read();
    EXPECT_EQ(result_, kTlsBadRecord) << error;
  }
}

TEST_F(KernelTlsStreamTest, ErrorsOfTheSocketStayWhatTheyAre) {
  kernel_.receive_error = -ECONNRESET;
  Read();
  EXPECT_EQ(result_, -ECONNRESET);
}

TEST_F(KernelTlsStreamTest, APartOfARecordIsWaitedForInFull) {
  kernel_.partial_bytes = 7;
  Read();
  EXPECT_EQ(result_, -EAGAIN);
  EXPECT_EQ(kernel_.num_low_water_calls, 1);
}

TEST_F(KernelTlsStreamTest, TheRestOfARecordMayComeInBetween) {
  kernel_.partial_bytes = 7;
  kernel_.completes_on_second_look = {{kTlsRecordData, "whole"}};
  EXPECT_EQ(Read(), "whole");
}

TEST_F(KernelTlsStreamTest, AFloodOfEmptyControlRecordsIsBounded) {
  for (int i = 0; i < 1000; ++i) {
    kernel_.Incoming("", kTlsRecordHandshake);
  }
  Read();
  EXPECT_EQ(result_, -EAGAIN);
  EXPECT_GT(kernel_.incoming.size(), 900U);
}

// ---- Sending.

TEST_F(KernelTlsStreamTest, SplicesOutOneRecordACall) {
  kernel_.pipe.assign(40'000, 'x');
  EXPECT_EQ(stream_->SpliceOut(pipe_, 40'000), 16'384);
  EXPECT_EQ(stream_->SpliceOut(pipe_, 23'616), 16'384);
  EXPECT_EQ(stream_->SpliceOut(pipe_, 7232), 7232);
}

TEST_F(KernelTlsStreamTest, TheLastByteTowardsAClientGoesApart) {
  Make({.leg = TlsLeg::kClient, .sends = true});
  EXPECT_EQ(Write("data"), 3);
  EXPECT_EQ(Write("a"), 1);
  ASSERT_EQ(kernel_.sent.size(), 2U);
  EXPECT_EQ(kernel_.sent[0].bytes, "dat");
  kernel_.pipe.assign(23'616, 'x');
  EXPECT_EQ(stream_->SpliceOut(pipe_, 23'616), 16'384);
  EXPECT_EQ(stream_->SpliceOut(pipe_, 7232), 7231);
  EXPECT_EQ(stream_->SpliceOut(pipe_, 1), 1);
}

TEST_F(KernelTlsStreamTest, EndsWithCloseNotify) {
  EXPECT_EQ(Write("data"), 4);
  kernel_.send_room = 0;
  EXPECT_EQ(stream_->ShutdownWrite(), -EAGAIN);
  EXPECT_FALSE(kernel_.write_side_ended);
  EXPECT_EQ(Write("more"), -EPIPE);
  kernel_.send_room = 100;
  EXPECT_EQ(stream_->ShutdownWrite(), 0);
  EXPECT_TRUE(kernel_.write_side_ended);
  ASSERT_EQ(kernel_.sent.size(), 2U);
  EXPECT_EQ(kernel_.sent[1].type, kTlsRecordAlert);
  EXPECT_EQ(kernel_.sent[1].bytes, std::string(kCloseNotify, 2));
  EXPECT_FALSE(stream_->CloseIsShutdown());
}

TEST_F(KernelTlsStreamTest, TheEndWaitsForTheLastRecord) {
  struct Case {
    TlsVersion version;
    TlsSuite suite;
    int64_t overhead;
  };
  for (const Case& c :
       {Case{TlsVersion::kTls13, TlsSuite::kAes256Gcm, 22},
        Case{TlsVersion::kTls12, TlsSuite::kAes128Gcm, 29},
        Case{TlsVersion::kTls12, TlsSuite::kChaCha20Poly1305, 21}}) {
    kernel_.sent.clear();
    kernel_.write_side_ended = false;
    kernel_.first_record = 3;
    Make({.leg = TlsLeg::kServer,
          .version = c.version,
          .suite = c.suite,
          .sends = true,
          .tcp_bytes_taken = 1000,
          .sequence = 3});
    EXPECT_EQ(Write("data"), 4);
    // Two records: the data and close_notify. Of the latter a byte is missing.
    kernel_.tcp_bytes_taken = 1000 + 4 + 2 + 2 * c.overhead - 1;
    EXPECT_EQ(stream_->ShutdownWrite(), -EAGAIN);
    EXPECT_EQ(stream_->ShutdownWrite(), -EAGAIN);
    EXPECT_FALSE(kernel_.write_side_ended);
    EXPECT_EQ(kernel_.sent.size(), 2U) << "close_notify twice";
    ++kernel_.tcp_bytes_taken;
    EXPECT_EQ(stream_->ShutdownWrite(), 0);
    EXPECT_TRUE(kernel_.write_side_ended);
  }
}

TEST_F(KernelTlsStreamTest, TheEndDoesNotWaitForEver) {
  kernel_.tcp_bytes_taken = 0;
  EXPECT_EQ(stream_->ShutdownWrite(), -EAGAIN);
  // The peer did not read for an hour, and there was no room: nobody asked.
  kernel_.now_ms += 3'600'000;
  for (int round = 0; round < 3; ++round) {
    ++kernel_.tcp_bytes_taken;  // something moved: it is worth waiting on
    for (int64_t ms = 0; ms < kTlsEndMs; ++ms) {
      ASSERT_EQ(stream_->ShutdownWrite(), -EAGAIN) << round << " " << ms;
      ++kernel_.now_ms;
    }
  }
  EXPECT_EQ(stream_->ShutdownWrite(), 0);
  EXPECT_TRUE(kernel_.write_side_ended);
}

TEST_F(KernelTlsStreamTest, ShortMemoryIsNoFailure) {
  for (const int error : {ENOBUFS, ENOMEM, EAGAIN}) {
    kernel_.send_error = -error;
    EXPECT_EQ(Write("data"), -EAGAIN);
  }
  kernel_.send_error = -EBADMSG;
  EXPECT_EQ(Write("data"), kTlsBadRecord);
}

TEST_F(KernelTlsStreamTest, AnAesKeyIsNotUsedForEver) {
  constexpr size_t kGiB = size_t{1} << 30;
  KeyUse use;
  for (int i = 0; i < 350; ++i) {
    use.Add(kGiB);
  }
  EXPECT_FALSE(use.exhausted());
  for (int i = 0; i < 20; ++i) {
    use.Add(kGiB);
  }
  EXPECT_TRUE(use.exhausted());
  use.Reset();
  EXPECT_FALSE(use.exhausted());
}

TEST_F(KernelTlsStreamTest, IsCountedWhileItExists) {
  const auto& open = counters_.tls_connections_open[1][1][static_cast<size_t>(
      TlsSuite::kOther)][static_cast<size_t>(OffloadDirections::kBoth)];
  EXPECT_EQ(open.value(), 1);
  stream_.reset();
  EXPECT_EQ(open.value(), 0);
}

}  // namespace
}  // namespace spicegate
