// SPDX-License-Identifier: Apache-2.0
// The client's half of AgentFilter: what a client may try to get past it.

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <vector>

#include "gateway/relay/agent_filter.h"
#include "gateway/relay/agent_fixture.h"
#include "proto/test_bytes.h"

namespace spicegate {
namespace {

using proto::Join;
using Buffer = std::vector<uint8_t>;
using Verdict = AgentFilter::Verdict;

Policy Nothing() {
  return {.read_only = true,
          .clipboard_to_guest = false,
          .clipboard_from_guest = false,
          .file_transfer = false};
}

class AgentFilterClientTest : public testing::Test {
 protected:
  AgentFilterClientTest() { filter_.ClientStarted(); }

  void ExpectGood() {
    EXPECT_EQ(filter_.FromClient(AgentMessage(proto::kAgentReply, 4)),
              Verdict::kPass);
    EXPECT_EQ(filter_.FromClient(AgentMessage(proto::kAgentClipboard, 4)),
              Verdict::kDrop);
    EXPECT_EQ(filter_.dropped(), PolicyDrop::kClipboard);
  }
  // The server has shut main down: nothing goes on.
  void ExpectBroken() {
    EXPECT_EQ(filter_.FromClient(AgentMessage(proto::kAgentReply, 4)),
              Verdict::kDrop);
    filter_.AgentChanged();
    filter_.ClientStarted();
    EXPECT_EQ(filter_.FromClient(AgentMessage(proto::kAgentReply, 4)),
              Verdict::kDrop);
  }

  AgentFilter filter_{Nothing()};
};

TEST_F(AgentFilterClientTest, AllPiecesOfAMessageGoTheSameWay) {
  for (const bool forbidden : {true, false}) {
    const auto way = forbidden ? Verdict::kDrop : Verdict::kPass;
    const uint32_t type =
        forbidden ? proto::kAgentFileXferData : proto::kAgentAudioVolumeSync;
    EXPECT_EQ(filter_.FromClient(AgentMessage(type, 2028, 5000)), way);
    EXPECT_EQ(filter_.dropped().has_value(), forbidden);
    EXPECT_EQ(filter_.FromClient(Buffer(2048)), way);
    EXPECT_EQ(filter_.dropped(), std::nullopt);
    EXPECT_EQ(filter_.FromClient({}), way);
    EXPECT_EQ(filter_.FromClient(AgentMessage(proto::kAgentReply, 904)), way);
    ExpectGood();
  }
}

TEST_F(AgentFilterClientTest, HeaderAlone) {
  EXPECT_EQ(filter_.FromClient(AgentMessage(proto::kAgentReply, 0, 3)),
            Verdict::kPass);
  EXPECT_EQ(filter_.FromClient(Buffer(3)), Verdict::kPass);
  EXPECT_EQ(filter_.FromClient(AgentMessage(proto::kAgentClipboardGrab, 0, 3)),
            Verdict::kDrop);
  EXPECT_EQ(filter_.FromClient(Buffer(3)), Verdict::kDrop);
  ExpectGood();
}

TEST_F(AgentFilterClientTest, BreachesPassAndNothingAfterThem) {
  Buffer protocol_2 = AgentMessage(proto::kAgentReply, 4);
  protocol_2[0] = 2;
  for (const Buffer& breach : {Buffer{}, Buffer(19), protocol_2,
                               AgentMessage(proto::kAgentReply, 5, 4),
                               AgentMessage(proto::kAgentReply, 2029, 5000)}) {
    AgentFilter filter(Nothing());
    EXPECT_EQ(filter.FromClient(breach), Verdict::kPass);
    EXPECT_EQ(filter.FromClient(AgentMessage(proto::kAgentReply, 4)),
              Verdict::kDrop);
  }
  EXPECT_EQ(filter_.FromClient(AgentMessage(proto::kAgentReply, 0, 3)),
            Verdict::kPass);
  EXPECT_EQ(filter_.FromClient(Buffer(4)), Verdict::kPass);
  ExpectBroken();
}

TEST_F(AgentFilterClientTest, BreachInADroppedMessageIsDropped) {
  EXPECT_EQ(filter_.FromClient(AgentMessage(proto::kAgentClipboard, 9, 4)),
            Verdict::kDrop);
  ExpectGood();
  filter_.FromClient(AgentMessage(proto::kAgentClipboard, 4, 8));
  EXPECT_EQ(filter_.FromClient(AgentMessage(proto::kAgentReply, 4)),
            Verdict::kDrop);
  ExpectGood();
}

// spice-server hands all of such a piece to the guest.
TEST_F(AgentFilterClientTest, NothingHidesBehindAnEmptyMessage) {
  const Buffer piece = Join({AgentMessage(proto::kAgentReply, 0),
                             AgentMessage(proto::kAgentClipboard, 8)});
  EXPECT_EQ(filter_.FromClient(piece), Verdict::kDrop);
  EXPECT_EQ(filter_.FromClient(AgentMessage(proto::kAgentReply, 0)),
            Verdict::kPass);
  ExpectGood();
}

TEST_F(AgentFilterClientTest, FramingOutlivesTheAgent) {
  filter_.FromClient(AgentMessage(proto::kAgentReply, 4, 100));
  filter_.AgentChanged();
  EXPECT_EQ(filter_.FromClient(Buffer(50)), Verdict::kPass);
  filter_.ClientStarted();
  EXPECT_EQ(filter_.FromClient(AgentMessage(proto::kAgentClipboard, 26)),
            Verdict::kPass);
  ExpectGood();
}

TEST_F(AgentFilterClientTest, DroppedMessageMayEndWithItsAgent) {
  Buffer rest = AgentMessage(proto::kAgentReply, 30);
  rest[0] = 2;  // no message
  for (const bool forgets_its_queue : {true, false}) {
    filter_.FromClient(AgentMessage(proto::kAgentClipboard, 4, 54));
    filter_.AgentChanged();
    filter_.ClientStarted();
    if (!forgets_its_queue) {
      EXPECT_EQ(filter_.FromClient(rest), Verdict::kDrop);
    }
    ExpectGood();
  }
}

TEST_F(AgentFilterClientTest, TokensAreOwedForWhatTheServerWouldHaveCharged) {
  const Buffer forbidden = AgentMessage(proto::kAgentClipboard, 4, 8);
  const Buffer allowed = AgentMessage(proto::kAgentReply, 4);
  filter_.FromClient(forbidden);
  EXPECT_TRUE(filter_.owes_token());
  filter_.FromClient(Buffer(4));
  EXPECT_TRUE(filter_.owes_token());
  filter_.FromClient(allowed);
  EXPECT_FALSE(filter_.owes_token());
  filter_.AgentChanged();
  filter_.FromClient(forbidden);
  EXPECT_FALSE(filter_.owes_token());
  filter_.FromClient(Buffer(4));
  EXPECT_FALSE(filter_.owes_token());
  filter_.ClientStarted();
  filter_.FromClient(forbidden);
  EXPECT_TRUE(filter_.owes_token());
  filter_.FromServer(forbidden);
  EXPECT_FALSE(filter_.owes_token());
}

TEST_F(AgentFilterClientTest, GoesOnAtAMigrationsDestination) {
  const Buffer begun = AgentMessage(proto::kAgentClipboard, 4, 100);
  filter_.FromClient(AgentMessage(proto::kAgentReply, 4, 100));
  filter_.FromServer(begun);
  filter_.ClientLetGo();
  EXPECT_EQ(filter_.FromClient(Buffer(96)), Verdict::kDrop);

  AgentFilter destination(Nothing());
  destination.ContinueFrom(filter_);
  EXPECT_EQ(destination.FromClient(Buffer(96)), Verdict::kPass);
  EXPECT_EQ(destination.FromServer(Buffer(96)), Verdict::kDrop);
  EXPECT_EQ(destination.FromServer(AgentMessage(proto::kAgentReply, 4)),
            Verdict::kPass);
  EXPECT_EQ(destination.FromClient(begun), Verdict::kDrop);
  EXPECT_TRUE(destination.owes_token());
}

// ---- Against a model of the server ----

class Cunning {
 public:
  explicit Cunning(uint32_t seed) : random_(seed) {}

  // Runs a client that tries everything, and an agent that comes and goes.
  void Run(int num_steps) {
    for (int i = 0; i < num_steps && !server_.shut_down(); ++i) {
      Step();
    }
  }

  const AgentServerModel& server() const { return server_; }

 private:
  uint32_t Pick(uint32_t below) {
    return static_cast<uint32_t>(random_() % below);
  }

  void Step() {
    switch (Pick(12)) {
      case 0:
        server_.AgentReset();
        changes_on_the_way_ = true;
        break;
      case 1:
        if (changes_on_the_way_) {
          filter_.AgentChanged();
          changes_on_the_way_ = false;
        }
        break;
      case 2:
        filter_.ClientStarted();
        server_.AgentStart();
        break;
      default:
        Send(NextPiece());
    }
  }

  Buffer NextPiece() {
    const uint32_t type = 1 + Pick(17);
    const uint32_t size = Pick(3) == 0 ? 0 : Pick(60);
    switch (Pick(40)) {
      case 0:
        return Buffer(Pick(50));
      case 1:
        return AgentMessage(type, size, Pick(100));
      case 2:
      case 3:
      case 4:
        return Join({AgentMessage(type, 0, Pick(2) * 30),
                     AgentMessage(proto::kAgentClipboard, 10)});
      default:
        return AgentMessage(type, size, size + (Pick(2) == 0 ? Pick(60) : 0));
    }
  }

  void Send(const Buffer& piece) {
    const Verdict verdict = filter_.FromClient(piece);
    ASSERT_NE(verdict, Verdict::kReplace);
    if (verdict == Verdict::kPass) {
      server_.Data(piece);
    }
  }

  std::mt19937 random_;
  AgentFilter filter_{Nothing()};
  AgentServerModel server_;
  bool changes_on_the_way_ = false;
};

TEST(AgentFilterModelTest, NothingIsSmuggledPastTheServersOwnFraming) {
  size_t num_delivered = 0;
  for (uint32_t seed = 0; seed < 20'000; ++seed) {
    Cunning cunning(seed);
    cunning.Run(40);
    for (const uint32_t type : cunning.server().delivered()) {
      ++num_delivered;
      ASSERT_TRUE(type != 2 && type != 4 && !(type >= 7 && type <= 12))
          << "type " << type << ", seed " << seed;
    }
    ASSERT_FALSE(cunning.server().guest_lost_sync()) << "seed " << seed;
  }
  EXPECT_GT(num_delivered, 10'000u);
}

}  // namespace
}  // namespace spicegate
