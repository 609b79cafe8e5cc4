// SPDX-License-Identifier: Apache-2.0
// What real servers said on main (proto/testdata) passes a main inspector
// untouched wherever it is cut, but for a port of 0xFFFF, which means none.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "gateway/relay/inspector_fixture.h"
#include "gateway/relay/main_inspector.h"
#include "proto/messages.h"
#include "proto/test_capture.h"

namespace spicegate {
namespace {

using Buffer = std::vector<uint8_t>;

struct Source {
  const char* capture;
  const char* channel;
  bool is_destination = false;
};

Buffer WithoutUnsetPorts(const proto::Stream& stream) {
  Buffer data = stream.data;
  size_t at = 0;
  for (const proto::Message& message : stream.messages) {
    at += proto::DataHeaderLen(stream.kind);
    if (proto::DstInfoKindOf(message.header.type).has_value()) {
      for (const size_t port_at : {at, at + 2}) {
        if (proto::LoadU16(&data[port_at]) == 0xFFFF) {
          proto::StoreU16(&data[port_at], 0);
        }
      }
    }
    at += message.body.size();
  }
  return data;
}

class CaptureTest : public testing::TestWithParam<Source> {
 protected:
  CaptureTest()
      : stream_(proto::Open(GetParam().capture, GetParam().channel,
                            proto::Direction::kServerToClient)),
        expected_(WithoutUnsetPorts(stream_)) {}

  // What comes out of `data` shown up to `cut` and then in pieces of `step`.
  Buffer Run(const Policy& policy, size_t cut, size_t step) {
    RecordingHost host;
    AgentFilter agent(policy);
    Migration migration(MigrationKind::kSeamless);
    migration.OnClientLinked();
    MainInspector inspector(&host, stream_.kind, policy,
                            policy.restricts_agent() ? &agent : nullptr);
    inspector.set_migration(&migration, GetParam().is_destination);
    FilterRunner pump(&inspector);
    auto rest = std::span<const uint8_t>(stream_.data);
    pump.Feed(rest.first(cut));
    for (rest = rest.subspan(cut); !rest.empty();) {
      const size_t len = std::min(step, rest.size());
      pump.Feed(rest.first(len));
      rest = rest.subspan(len);
    }
    EXPECT_EQ(pump.then(), PumpFilter::Then::kGoOn) << host.log;
    return pump.out();
  }

  void ExpectPasses(const Policy& policy, size_t cut, size_t step) {
    // Not EXPECT_EQ: it would print a quarter of a megabyte.
    EXPECT_TRUE(Run(policy, cut, step) == expected_)
        << "cut at " << cut << ", then in pieces of " << step;
  }

  const proto::Stream stream_;
  const Buffer expected_;
};

TEST_P(CaptureTest, PassesUntouched) {
  ASSERT_FALSE(stream_.messages.empty());
  const Policy none;
  ExpectPasses(none, 0, 65536);
  ExpectPasses(none, 0, 7);
  // Around each message's beginning; between them it makes no difference.
  size_t at = 0;
  for (const proto::Message& message : stream_.messages) {
    const size_t end = std::min(at + 26, stream_.data.size());
    for (size_t cut = at; cut < end; ++cut) {
      ExpectPasses(none, cut, 65536);
    }
    at += proto::DataHeaderLen(stream_.kind) + message.body.size();
  }
}

// The agent's messages are followed, and none of them is forbidden.
TEST_P(CaptureTest, ReadOnlyTakesNothingFromTheServersWords) {
  ExpectPasses({.read_only = true}, 0, 65536);
  ExpectPasses({.read_only = true}, 0, 61);
}

// What a real client brought to the destination is what the source had sent.
TEST(MigrationCaptureTest, DataIsAllowed) {
  const auto source = proto::Open("seamless/source", "main_0",
                                  proto::Direction::kServerToClient);
  const auto client = proto::Open("seamless/target", "main_0",
                                  proto::Direction::kClientToServer);
  const proto::Message* const data =
      proto::Find(client, proto::kMsgcMigrateData);
  ASSERT_NE(data, nullptr);
  RecordingHost host;
  MainInspector inspector(&host, source.kind, {}, nullptr);
  Migration migration(MigrationKind::kSeamless);
  migration.OnClientLinked();
  inspector.set_migration(&migration, false);
  FilterRunner(&inspector).Feed(source.data);
  EXPECT_EQ(migration.phase(), Migration::Phase::kHandedOver);
  EXPECT_TRUE(migration.AllowFlushMark(kMainKey));
  Buffer forged = data->body;
  forged.back() ^= 1;
  EXPECT_FALSE(migration.AllowData(kMainKey, forged));
  EXPECT_TRUE(migration.AllowData(kMainKey, data->body));
  EXPECT_EQ(migration.phase(), Migration::Phase::kTaken);
}

INSTANTIATE_TEST_SUITE_P(
    All, CaptureTest,
    testing::Values(Source{"all", "main_0"}, Source{"agent", "main_0"},
                    Source{"full_headers", "main_0"},
                    Source{"keys_and_mouse", "main_0"},
                    Source{"seamless/source", "main_0"},
                    Source{"seamless/target", "main_0", true},
                    Source{"semi_seamless/source", "main_0"},
                    Source{"semi_seamless/target", "main_0", true},
                    Source{"switch_host/source", "main_0"}),
    [](const auto& info) {
      std::string name = info.param.capture;
      std::replace(name.begin(), name.end(), '/', '_');
      return name;
    });

}  // namespace
}  // namespace spicegate
