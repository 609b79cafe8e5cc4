// SPDX-License-Identifier: Apache-2.0
// What particular messages of the captures (testdata/README.md) say.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "proto/agent.h"
#include "proto/display_channel.h"
#include "proto/link.h"
#include "proto/main_channel.h"
#include "proto/messages.h"
#include "proto/test_bytes.h"
#include "proto/test_capture.h"

namespace spicegate::proto {
namespace {

Stream OpenMain(const std::string& capture, Direction direction) {
  return Open(capture, "main_0", direction);
}

Stream OpenMainFromServer(const std::string& capture) {
  return OpenMain(capture, Direction::kServerToClient);
}

using U16s = std::vector<uint16_t>;

TEST(MainCaptureTest, StartOfASession) {
  const Stream main = OpenMainFromServer("all");
  EXPECT_EQ(
      Types(main),
      (U16s{kMsgMainInit, kMsgMainName, kMsgMainUuid, kMsgPing, kMsgPing,
            kMsgPing, kMsgMainChannelsList, kMsgPing, kMsgPing, kMsgNotify}));
  const Buffer& init_body = main.messages[0].body;
  const auto init = ParseMainInit(init_body);
  ASSERT_TRUE(init.has_value());
  EXPECT_EQ(ToHex(EncodeMainInit(*init)), ToHex(init_body));
  EXPECT_EQ(init->agent_tokens, kAgentInitialTokens);
  EXPECT_EQ(ParseMainName(main.messages[1].body), "capture");
  EXPECT_EQ(ToHex(*ParseMainUuid(main.messages[2].body)),
            "00112233445566778899aabbccddeeff");
  EXPECT_EQ(main.messages[5].body.size(), kPingLen + kNetTestPaddingLen);
}

TEST(MainCaptureTest, SecondariesCarryTheSessionId) {
  const auto init = ParseMainInit(OpenMainFromServer("all").messages[0].body);
  ASSERT_TRUE(init.has_value());
  for (const char* channel : {"display_0", "usbredir_1", "webdav_0"}) {
    const Stream stream = Open("all", channel, Direction::kClientToServer);
    EXPECT_EQ(ParseLinkMess(stream.link_body)->connection_id, init->session_id);
  }
}

TEST(MainCaptureTest, ChannelsList) {
  const Stream main = OpenMainFromServer("all");
  const Message* message = Find(main, kMsgMainChannelsList);
  ASSERT_NE(message, nullptr);
  const auto list = ChannelsListView::Parse(message->body);
  ASSERT_TRUE(list.has_value());
  std::vector<ChannelKey> keys;
  for (size_t i = 0; i < list->size(); ++i) {
    keys.push_back((*list)[i]);
    EXPECT_TRUE(IsKnownChannelType(keys.back().type));
  }
  EXPECT_EQ(keys.size(), 9u);
  EXPECT_TRUE(list->Contains({ChannelType::kUsbredir, 1}));
  EXPECT_TRUE(list->Contains({ChannelType::kPort, 0}));
  Buffer out(message->body.size());
  EXPECT_EQ(EncodeChannelsList(keys, out), out.size());
  EXPECT_EQ(ToHex(out), ToHex(message->body));
}

// `message` says where to migrate to; encoded again it is the same but for the
// TLS port, which QEMU was not given and wrote as 0xFFFF.
void CheckDstInfo(const std::string& capture, uint16_t type) {
  const Stream main = OpenMainFromServer(capture);
  const Message* message = Find(main, type);
  ASSERT_NE(message, nullptr);
  const DstInfoKind kind = *DstInfoKindOf(type);
  const auto info = ParseDstInfo(kind, message->body);
  ASSERT_TRUE(info.has_value());
  EXPECT_EQ(info->host, "127.0.0.1");
  EXPECT_EQ(info->port, 25303);
  EXPECT_EQ(info->sport, 0);
  EXPECT_EQ(info->cert_subject, "O=Test,CN=vm.example.test");
  Buffer out(message->body.size());
  EXPECT_EQ(EncodeDstInfo(kind, *info, out), out.size());
  Buffer expected = message->body;
  EXPECT_EQ(LoadU16(expected.data() + 2), 0xffff);
  StoreU16(expected.data() + 2, 0);
  EXPECT_EQ(ToHex(out), ToHex(expected));
}

TEST(MigrationCaptureTest, DstInfoOfEveryKind) {
  CheckDstInfo("seamless/source", kMsgMainMigrateBeginSeamless);
  CheckDstInfo("semi_seamless/source", kMsgMainMigrateBegin);
  CheckDstInfo("switch_host/source", kMsgMainMigrateSwitchHost);
}

TEST(MigrationCaptureTest, TheTargetIsLinkedWithTheSourcesId) {
  for (const std::string kind : {"seamless", "semi_seamless"}) {
    const auto init =
        ParseMainInit(OpenMainFromServer(kind + "/source").messages[0].body);
    const Stream target =
        OpenMain(kind + "/target", Direction::kClientToServer);
    EXPECT_EQ(ParseLinkMess(target.link_body)->connection_id, init->session_id);
  }
}

TEST(MigrationCaptureTest, SeamlessOrder) {
  const Stream source = OpenMainFromServer("seamless/source");
  const Message* migrate = Find(source, kMsgMigrate);
  ASSERT_NE(migrate, nullptr);
  EXPECT_EQ(ParseMigrate(migrate->body),
            kMigrateNeedFlush | kMigrateNeedDataTransfer);
  const Message* blob = Find(source, kMsgMigrateData);
  ASSERT_NE(blob, nullptr);
  const Stream target = OpenMain("seamless/target", Direction::kClientToServer);
  EXPECT_EQ(Types(target)[0], kMsgcMainMigrateDstDoSeamless);
  const Message* copy = Find(target, kMsgcMigrateData);
  ASSERT_NE(copy, nullptr);
  EXPECT_EQ(ToHex(copy->body), ToHex(blob->body));
  EXPECT_EQ(Types(OpenMainFromServer("seamless/target"))[0],
            kMsgMainMigrateDstSeamlessAck);
}

TEST(MigrationCaptureTest, CursorOwesNoData) {
  const Stream cursor =
      Open("seamless/source", "cursor_0", Direction::kServerToClient);
  const Message* migrate = Find(cursor, kMsgMigrate);
  ASSERT_NE(migrate, nullptr);
  EXPECT_EQ(ParseMigrate(migrate->body), 0u);
}

TEST(DisplayCaptureTest, InitComesFirst) {
  const Stream display = Open("all", "display_0", Direction::kClientToServer);
  ASSERT_FALSE(display.messages.empty());
  EXPECT_EQ(display.messages[0].header.type, kMsgcDisplayInit);
  const auto init = ParseDisplayInit(display.messages[0].body);
  ASSERT_TRUE(init.has_value());
  EXPECT_EQ(init->pixmap_cache_px, 20971520);
  EXPECT_EQ(ToHex(EncodeDisplayInit(*init)), ToHex(display.messages[0].body));
}

TEST(InputsCaptureTest, KeysAndMouse) {
  const Stream inputs =
      Open("keys_and_mouse", "inputs_0", Direction::kClientToServer);
  for (const uint16_t type :
       {kMsgcInputsKeyModifiers, kMsgcInputsKeyScancode, kMsgcInputsKeyDown,
        kMsgcInputsKeyUp, kMsgcInputsMouseMotion, kMsgcInputsMousePosition,
        kMsgcInputsMouseRelease}) {
    EXPECT_NE(Find(inputs, type), nullptr) << type;
  }
  const Stream acks =
      Open("keys_and_mouse", "inputs_0", Direction::kServerToClient);
  EXPECT_NE(Find(acks, kMsgInputsMouseMotionAck), nullptr);
}

// The agent messages in the AGENT_DATA of one side, by the rules of that side.
std::vector<uint32_t> AgentTypes(Direction direction, uint16_t data_type,
                                 AgentParser::Rules rules) {
  std::vector<uint32_t> types;
  AgentParser parser(rules);
  for (const Message& message : OpenMain("agent", direction).messages) {
    if (message.header.type != data_type) {
      continue;
    }
    EXPECT_TRUE(parser.StartPiece(message.header.size));
    Bytes in = message.body;
    for (bool more = true; more;) {
      const AgentParser::Step step = parser.Feed(in);
      in = in.subspan(step.consumed);
      if (step.event == AgentParser::Event::kHeader) {
        types.push_back(parser.header().type);
      }
      more = step.event != AgentParser::Event::kNeedMore &&
             step.event != AgentParser::Event::kViolation;
    }
  }
  EXPECT_FALSE(parser.violated());
  EXPECT_FALSE(parser.in_message());
  return types;
}

TEST(AgentCaptureTest, BothSides) {
  EXPECT_EQ(
      AgentTypes(Direction::kClientToServer, kMsgcMainAgentData,
                 AgentParser::Rules::kFromClient),
      (std::vector<uint32_t>{kAgentAnnounceCapabilities,
                             kAgentAnnounceCapabilities, kAgentDisplayConfig}));
  EXPECT_EQ(
      AgentTypes(Direction::kServerToClient, kMsgMainAgentData,
                 AgentParser::Rules::kFromServer),
      (std::vector<uint32_t>{kAgentAnnounceCapabilities, kAgentClipboardGrab}));
}

}  // namespace
}  // namespace spicegate::proto
