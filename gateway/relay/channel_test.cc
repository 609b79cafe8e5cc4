// SPDX-License-Identifier: Apache-2.0
//
// One channel between a simulated client and a simulated server. Random faults
// are tests/sim's business; here each rule is shown once.
#include "gateway/relay/channel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "gateway/relay/channel_fixture.h"

namespace spicegate {
namespace {

using proto::ChannelType;

TEST_F(ChannelTest, CarriesBytesBothWaysAndCountsThem) {
  Open(ChannelType::kInputs);
  client_.WriteString("to the server");
  server_.WriteString("to the client!");
  Run();
  EXPECT_EQ(server_.ReadAll(), "to the server");
  EXPECT_EQ(client_.ReadAll(), "to the client!");
  const size_t inputs = static_cast<size_t>(ChannelType::kInputs);
  EXPECT_EQ(counters_.bytes_client_to_server[inputs].value(), 13);
  EXPECT_EQ(counters_.bytes_server_to_client[inputs].value(), 14);
  EXPECT_EQ(counters_.relay_buffer_bytes.value(), 0);
}

TEST_F(ChannelTest, KeepsAHalfCloseOpenTheOtherWay) {
  Open(ChannelType::kUsbredir);
  client_.WriteString("last words");
  client_.ShutdownWrite();
  Run();
  bool ended = false;
  EXPECT_EQ(server_.ReadAll(&ended), "last words");
  EXPECT_TRUE(ended);
  server_.WriteString("still talking");
  Run();
  EXPECT_EQ(client_.ReadAll(&ended), "still talking");
  EXPECT_FALSE(ended);
  EXPECT_FALSE(closing_.has_value());
  server_.ShutdownWrite();
  Run();
  EXPECT_EQ(closing_, CloseReason::kClientClosed);
  EXPECT_TRUE(ended_);
}

TEST_F(ChannelTest, TellsWhichSideEndedFirst) {
  Open(ChannelType::kCursor);
  server_.ShutdownWrite();
  Run();
  client_.ShutdownWrite();
  Run();
  EXPECT_EQ(closing_, CloseReason::kServerClosed);
}

TEST_F(ChannelTest, EndsAHalfClosedChannelThatStaysSilent) {
  Open(ChannelType::kCursor);
  client_.ShutdownWrite();
  Run();
  RunFor(limits_.half_close_ms - 1);
  // Movement starts the time anew.
  server_.WriteString("moving");
  Run();
  RunFor(2);
  EXPECT_FALSE(closing_.has_value());
  RunFor(limits_.half_close_ms);
  EXPECT_EQ(closing_, CloseReason::kHalfCloseTimeout);
}

TEST_F(ChannelTest, PassesAResetOn) {
  Open(ChannelType::kInputs);
  Run();
  client_.Reset();
  Run();
  EXPECT_EQ(closing_, CloseReason::kClientReset);
  std::array<uint8_t, 8> out;
  EXPECT_EQ(server_.Read(out), -ECONNRESET);
}

TEST_F(ChannelTest, PassesAServersResetOn) {
  Open(ChannelType::kMain);
  Run();
  server_.Reset();
  Run();
  EXPECT_EQ(closing_, CloseReason::kServerReset);
  std::array<uint8_t, 8> out;
  EXPECT_EQ(client_.Read(out), -ECONNRESET);
}

TEST_F(ChannelTest, HoldsNoMoreThanABufferForAClientThatDoesNotRead) {
  Open(ChannelType::kPlayback);
  const std::string flood(16 * 1024, 'x');
  size_t offered = 0;
  for (int i = 0; i < 1000; ++i) {
    offered += server_.WriteString(flood);
    Run(1);
  }
  EXPECT_EQ(counters_.relay_buffer_bytes.value(),
            static_cast<int64_t>(sizeof(RelayBuffer)));
  // Two links' worth and the buffer, then the server is held back.
  EXPECT_LE(offered, 2 * 64 * 1024 + kPumpBufferBytes + flood.size());
  // And nothing is lost once the client reads again.
  size_t received = 0;
  for (int i = 0; i < 1000; ++i) {
    received += client_.ReadAll().size();
    Run(1);
  }
  EXPECT_EQ(received, offered);
}

TEST_F(ChannelTest, LearnsTheSessionsIdFromAnInitInPieces) {
  Open(ChannelType::kMain);
  proto::MainInit init;
  init.session_id = 0x12345678;
  const auto body = proto::EncodeMainInit(init);
  const std::string stream =
      Message(3, "12345678") +
      Message(103, std::string(body.begin(), body.end())) +
      Message(119, "more");
  for (const char c : stream) {
    server_.WriteString(std::string(1, c));
    Run(3);
  }
  EXPECT_EQ(session_id_, 0x12345678u);
  EXPECT_EQ(client_.ReadAll(), stream);
}

TEST_F(ChannelTest, HoldsDisplayMessagesUntilTheServersFirst) {
  Open(ChannelType::kDisplay);
  client_.WriteString("behind INIT");
  Run();
  EXPECT_EQ(server_.ReadAll(), "");
  const std::string first = Message(3, "set ack");
  server_.WriteString(first.substr(0, first.size() - 1));
  Run();
  EXPECT_EQ(server_.ReadAll(), "");
  server_.WriteString(first.substr(first.size() - 1));
  Run();
  EXPECT_EQ(server_.ReadAll(), "behind INIT");
  EXPECT_EQ(client_.ReadAll(), first);
}

// The ways a client may go between INIT and the first message.
enum class Leave { kFin, kReset, kHalfClose, kClosedByGateway };

class DisplayEndTest : public ChannelTest,
                       public testing::WithParamInterface<Leave> {
 protected:
  void LeaveNow() {
    switch (GetParam()) {
      case Leave::kFin:
        client_.Close();
        break;
      case Leave::kReset:
        client_.Reset();
        break;
      case Leave::kHalfClose:
        client_.ShutdownWrite();
        break;
      case Leave::kClosedByGateway:
        channel_->Close(CloseReason::kSessionOver);
        break;
    }
    Run();
  }
};

TEST_P(DisplayEndTest, IsSafe) {
  Open(ChannelType::kDisplay);
  Run();
  LeaveNow();
  bool ended = true;
  server_.ReadAll(&ended);
  EXPECT_FALSE(ended) << "the server's leg ended before its first message";
  EXPECT_FALSE(ended_);
  server_.WriteString(Message(3, "set ack"));
  Run();
  server_.ReadAll(&ended);
  EXPECT_TRUE(ended);
  EXPECT_EQ(SafeEnds(SafeEnd::kTimedOut), 0);
}

TEST_P(DisplayEndTest, IsSafeOnPortAndWebdavToo) {
  for (const ChannelType type : {ChannelType::kPort, ChannelType::kWebdav}) {
    closing_.reset();
    ended_ = false;
    Open(type);
    Run();
    client_.WriteString("goes on at once");
    Run();
    EXPECT_EQ(server_.ReadAll(), "goes on at once");
    LeaveNow();
    EXPECT_FALSE(server_.ended()) << "QEMU would crash";
    EXPECT_FALSE(ended_);
    server_.WriteString(Message(201, "init"));
    Run();
    EXPECT_TRUE(server_.ended());
    channel_->Close(CloseReason::kShutdown);
    EXPECT_TRUE(ended_);
  }
}

TEST_P(DisplayEndTest, GivesUpAtItsDeadlineAndCountsIt) {
  Open(ChannelType::kDisplay);
  Run();
  LeaveNow();
  RunFor(kDisplayCommittedMs - 1);
  EXPECT_FALSE(ended_);
  RunFor(2);
  EXPECT_TRUE(ended_);
  EXPECT_EQ(SafeEnds(SafeEnd::kTimedOut), 1);
}

TEST_P(DisplayEndTest, EndsAtOnceAfterTheFirstMessage) {
  Open(ChannelType::kDisplay);
  server_.WriteString(Message(3, "set ack"));
  Run();
  if (GetParam() == Leave::kFin) {
    client_.ReadAll();  // unread input would turn the end into a reset
  }
  LeaveNow();
  bool ended = false;
  server_.ReadAll(&ended);
  EXPECT_TRUE(ended);
  EXPECT_EQ(SafeEnds(SafeEnd::kWaited), 0);
}

INSTANTIATE_TEST_SUITE_P(AllWays, DisplayEndTest,
                         testing::Values(Leave::kFin, Leave::kReset,
                                         Leave::kHalfClose,
                                         Leave::kClosedByGateway));

TEST_F(ChannelTest, AClientsEndThatWasHeldBackStillStartsTheHalfCloseTime) {
  Open(ChannelType::kDisplay);
  client_.ShutdownWrite();
  Run();
  server_.WriteString(Message(3, "set ack"));
  Run();
  // The message itself moved within the first period.
  RunFor(limits_.half_close_ms + 1);
  EXPECT_FALSE(closing_.has_value());
  RunFor(limits_.half_close_ms + 1);
  EXPECT_EQ(closing_, CloseReason::kHalfCloseTimeout);
}

TEST_F(ChannelTest, ADisplayServerThatNeverSpeaksIsGivenUp) {
  Open(ChannelType::kDisplay);
  // More than a held pump reads, so that the client's end is not noticed.
  client_.WriteString(std::string(64 * 1024, 'x'));
  Run();
  client_.WriteString(std::string(1024, 'x'));
  client_.Close();
  Run();
  RunFor(kDisplayCommittedMs + 1);
  EXPECT_EQ(closing_, CloseReason::kServerTimeout);
  EXPECT_EQ(SafeEnds(SafeEnd::kTimedOut), 1);
}

TEST_F(ChannelTest, AnEndlessFirstMessageDoesNotHoldTheWorker) {
  Open(ChannelType::kDisplay);
  channel_->Close(CloseReason::kSessionOver);
  std::string flood = Message(3, "");
  flood[2] = flood[3] = flood[4] = flood[5] = '\xff';  // 4 GiB to come
  server_.WriteString(flood);
  for (int i = 0; i < 100; ++i) {
    server_.WriteString(std::string(64 * 1024, 'x'));
    Run(2);
  }
  EXPECT_FALSE(ended_);
  channel_->GiveUp();
  EXPECT_TRUE(ended_);
  EXPECT_EQ(SafeEnds(SafeEnd::kTimedOut), 1);
}

TEST_F(ChannelTest, ADisplayServerThatEndsFirstIsNotWaitedFor) {
  Open(ChannelType::kDisplay);
  Run();
  server_.Close();
  Run();
  client_.Close();
  Run();
  EXPECT_TRUE(ended_);
  EXPECT_EQ(closing_, CloseReason::kServerClosed);
  EXPECT_EQ(SafeEnds(SafeEnd::kServerEnded), 1);
}

TEST_F(ChannelTest, ADisplayWhoseTlsBreaksIsNotClosedBeforeItsDeadline) {
  server_may_fail_ = true;
  for (const int error : {kTlsBadRecord, kTlsRekeyed}) {
    closing_.reset();
    ended_ = false;
    Open(ChannelType::kDisplay);
    Run();
    server_error_ = error;
    server_.WriteString("what cannot be opened");
    Run();
    EXPECT_EQ(closing_, error == kTlsBadRecord ? CloseReason::kServerTlsRecord
                                               : CloseReason::kServerTlsRekey);
    RunFor(kDisplayCommittedMs - 1);
    EXPECT_FALSE(server_.ended()) << "QEMU would crash";
    EXPECT_FALSE(ended_);
    const int64_t before = SafeEnds(SafeEnd::kTimedOut);
    RunFor(2);
    EXPECT_TRUE(ended_);
    EXPECT_EQ(SafeEnds(SafeEnd::kTimedOut), before + 1);
    server_error_ = 0;
  }
}

TEST_F(ChannelTest, ADisplayWhoseServerGaveUpIsOver) {
  server_may_fail_ = true;
  Open(ChannelType::kDisplay);
  Run();
  server_error_ = kTlsPeerAlert;
  server_.WriteString("alert");
  Run();
  EXPECT_EQ(closing_, CloseReason::kServerTlsAlert);
  EXPECT_TRUE(ended_);
  EXPECT_EQ(SafeEnds(SafeEnd::kServerEnded), 1);
}

TEST_F(ChannelTest, ADisplayMayEndWhileItAwaitsItsTurn) {
  Open(ChannelType::kDisplay);
  Run();
  server_.WriteString(Message(3, "ack").substr(0, 4));
  for (int i = 0; i < 50 && !yielded_; ++i) {
    driver_.Wait(0);
    driver_.Dispatch();
  }
  ASSERT_TRUE(yielded_);
  channel_->Close(CloseReason::kSessionOver);
  Run();
  EXPECT_FALSE(ended_);
  server_.WriteString(Message(3, "ack").substr(4));
  Run();
  EXPECT_TRUE(ended_);
  EXPECT_EQ(SafeEnds(SafeEnd::kWaited), 1);
}

TEST_F(ChannelTest, TwoBusyDirectionsYieldOnceATurn) {
  Open(ChannelType::kUsbredir);
  const std::string flood(64 * 1024, 'x');
  int num_yields = 0;
  for (int turn = 0; turn < 200; ++turn) {
    client_.WriteString(flood);
    server_.WriteString(flood);
    client_.ReadAll();
    server_.ReadAll();
    num_yields_ = 0;
    Run(1);
    num_yields = std::max(num_yields, num_yields_);
  }
  EXPECT_LE(num_yields, 1);
}

}  // namespace
}  // namespace spicegate
