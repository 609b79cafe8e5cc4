// SPDX-License-Identifier: Apache-2.0
// Main inspector: the agent's messages, its tokens, and migration.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gateway/relay/agent_fixture.h"
#include "gateway/relay/inspector_fixture.h"
#include "gateway/relay/main_inspector.h"
#include "proto/messages.h"
#include "proto/test_bytes.h"

namespace spicegate {
namespace {

using proto::FromHex;
using proto::HeaderKind;
using proto::Join;
using proto::ToHex;
using Bench = InspectorBench;
using Buffer = std::vector<uint8_t>;
using Result = InspectorResult;
using Setting = InspectorSetting;
using Side = MigrationSide;

// ---- Agent ----

TEST(MainInspectorSessionTest, AgentMessagesArePolicysBusiness) {
  const Setting setting = {.policy = {.clipboard_from_guest = false}};
  const Buffer grab = AgentMessage(proto::kAgentClipboardGrab, 30);
  const Buffer reply = AgentMessage(proto::kAgentReply, 8);
  const Buffer stream = Join({reply, grab, reply, grab});
  const auto bytes = std::span(stream);
  Buffer in;
  for (size_t at = 0; at < stream.size(); at += 33) {
    const size_t len = std::min<size_t>(33, stream.size() - at);
    in = Join({in, MainMessage(109, bytes.subspan(at, len)),
               MainMessage(106, U32(1))});
  }
  const Result result = Inspect(setting, in);
  EXPECT_EQ(result.log, "drop1 drop1 ");
  EXPECT_EQ(
      result.out,
      ToHex(Join({MainMessage(109, reply), MainMessage(106, U32(1)),
                  MainMessage(106, U32(1)), MainMessage(109, bytes.first(21)),
                  MainMessage(106, U32(1)),
                  MainMessage(109, bytes.subspan(21, 7)),
                  MainMessage(106, U32(1)), MainMessage(106, U32(1))})));
}

TEST(MainInspectorSessionTest, AgentThatChangesBeginsAnew) {
  const Setting setting = {.policy = {.file_transfer = false}};
  const Buffer begun = AgentMessage(proto::kAgentFileXferData, 4, 1000);
  const Buffer reply = AgentMessage(proto::kAgentReply, 8);
  for (const uint16_t type : {107, 108, 115}) {
    const Buffer change = MainMessage(type, Buffer(type == 107 ? 0 : 4));
    const Result result =
        Inspect(setting, Join({MainMessage(109, begun), MainMessage(109, reply),
                               change, MainMessage(109, reply)}));
    EXPECT_EQ(result.out, ToHex(Join({change, MainMessage(109, reply)})));
  }
}

TEST(MainInspectorSessionTest, WithoutAPolicyTheAgentIsNotLookedAt) {
  ExpectPasses({}, MainMessage(109, Buffer(100, 0xff)));
  ExpectPasses({.policy = {.refused_channels = 1u << 9}},
               MainMessage(109, Buffer(100, 0xff)));
}

// ---- Tokens ----

TEST(MainInspectorSessionTest, TokensAreGivenBackBetweenMessages) {
  for (const HeaderKind kind : {HeaderKind::kMini, HeaderKind::kFull}) {
    const Buffer ping = MainMessage(kind, 4, Buffer(500), 5);
    const Buffer tokens = MainMessage(kind, 110, U32(3), 5);
    for (size_t cut = 0; cut <= ping.size(); ++cut) {
      Bench bench({.kind = kind});
      bench.pump().Feed(ping);
      bench.pump().Feed(std::span(ping).first(cut));
      bench.inspector().PayBack(1);
      bench.inspector().PayBack(2);
      bench.pump().Run();
      bench.pump().Feed(std::span(ping).subspan(cut));
      const std::string out = ToHex(bench.pump().out());
      EXPECT_TRUE(out == ToHex(Join({ping, ping, tokens})) ||
                  out == ToHex(Join({ping, tokens, ping})))
          << cut;
    }
  }
}

// ---- Migration ----

TEST(MainInspectorSessionTest, SourceHandsOver) {
  const Setting source = {.side = Side::kSource};
  const Buffer data(300, 7);
  const Buffer in = Join({MainMessage(1, U32(3)), MainMessage(2, data),
                          MainMessage(105, Buffer(4))});
  ExpectPasses(source, in);
  const Result result = Inspect(source, in);
  EXPECT_EQ(result.phase, Migration::Phase::kHandedOver);
  EXPECT_EQ(result.data_len, 300u);
  Bench bench(source);
  bench.pump().Feed(in);
  EXPECT_TRUE(bench.migration().AllowFlushMark(kMainKey));
  EXPECT_TRUE(bench.migration().AllowData(kMainKey, data));
}

TEST(MainInspectorSessionTest, SourceEndsASemiSeamlessOne) {
  Setting source = {.side = Side::kSource,
                    .migration = MigrationKind::kSemiSeamless};
  EXPECT_EQ(Inspect(source, MainMessage(112, {})).phase,
            Migration::Phase::kHandedOver);
  source.side = Side::kDestination;
  EXPECT_EQ(Inspect(source, MainMessage(112, {})).phase,
            Migration::Phase::kLinked);
}

TEST(MainInspectorSessionTest, SourcesDataThatNobodyAnnounced) {
  EXPECT_EQ(Inspect({.side = Side::kSource}, MainMessage(2, Buffer(10))).log,
            "refuse:2 ");
  const Buffer data = MainMessage(2, Buffer(10));
  EXPECT_TRUE(Inspect({.side = Side::kSource},
                      Join({MainMessage(1, U32(3)), data, data}))
                  .refused);
  ExpectPasses({}, data);
  ExpectPasses({.side = Side::kDestination},
               Join({MainMessage(1, U32(3)), data}));
}

TEST(MainInspectorSessionTest, DestinationAnswers) {
  for (const Side side : {Side::kSource, Side::kDestination}) {
    for (const bool ack : {true, false}) {
      Bench bench({.side = side});
      bench.pump().Feed(MainMessage(ack ? 117 : 118, {}));
      bench.migration().OnSourceEnd();
      EXPECT_EQ(bench.migration().phase(), ack && side == Side::kDestination
                                               ? Migration::Phase::kLinked
                                               : Migration::Phase::kHandedOver);
    }
  }
}

TEST(MainInspectorSessionTest, DestinationsMigrateIsNotTheSources) {
  EXPECT_EQ(Inspect({.side = Side::kDestination}, MainMessage(1, U32(3))).phase,
            Migration::Phase::kLinked);
}

}  // namespace
}  // namespace spicegate
