// SPDX-License-Identifier: Apache-2.0
// A hostile client before the guard. Byte 0: channel type (low four bits), bit
// 4 the kind of headers, bits 5 and 6 the mode. Byte 1: bits 0 and 1 the side
// in a migration, bit 2 one that is not seamless, bit 3 handed over, bit 4
// read-only, bit 5 no files for the agent. Byte 2: the length of pieces. Then
// the stream. Cut or whole, the same has to happen; where nothing is dropped,
// what comes out is what went in; and what would kill QEMU never comes out of
// an enforcing guard.

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "gateway/relay/agent_filter.h"
#include "gateway/relay/guard_fixture.h"
#include "gateway/relay/migration.h"
#include "proto/channel.h"
#include "proto/messages.h"
#include "proto/wire.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using Then = PumpFilter::Then;

void Require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

struct Setting {
  proto::ChannelKey key;
  proto::HeaderKind kind = proto::HeaderKind::kMini;
  GuardMode mode = GuardMode::kEnforce;
  bool in_migration = false;
  bool destination = false;
  bool seamless = false;
  bool handed_over = false;
  Policy policy;
};

Setting SettingOf(uint8_t a, uint8_t b) {
  Setting setting;
  const uint8_t type = a & 15;
  setting.key.type = proto::IsKnownChannelType(type)
                         ? static_cast<ChannelType>(type)
                         : ChannelType::kMain;
  setting.kind =
      (a & 16) != 0 ? proto::HeaderKind::kFull : proto::HeaderKind::kMini;
  setting.mode = static_cast<GuardMode>(std::min(a >> 5 & 3, 2));
  setting.in_migration = (b & 3) != 0;
  setting.destination = (b & 3) >= 2;
  setting.seamless = (b & 4) == 0;
  setting.handed_over = (b & 8) != 0;
  setting.policy.read_only = (b & 16) != 0;
  setting.policy.file_transfer = (b & 32) == 0;
  return setting;
}

// The source has let go of the channel, with eight bytes of data.
void HandOver(const Setting& setting, Migration& migration) {
  migration.OnClientLinked();
  if (!setting.seamless) {
    migration.OnSourceEnd();
    return;
  }
  constexpr uint8_t kData[] = {'D', 'A', 'T', 'A', 0, 1, 2, 3};
  migration.OnSourceMigrate({ChannelType::kMain, 0}, 3);
  migration.OnSourceMigrate(setting.key, 3);
  migration.OnSourceDataBegins(setting.key, sizeof(kData));
  migration.OnSourceData(setting.key, kData);
}

// All that can be seen of a run.
struct Result {
  std::vector<uint8_t> out;
  std::vector<GuardRule> rules;
  std::vector<proto::DataHeader> refused;
  std::vector<PolicyDrop> drops;
  std::vector<uint16_t> replies;
  std::vector<int> counts;
  Migration::Phase phase = {};
  Then then = {};

  bool operator==(const Result&) const = default;
};

Result ResultOf(const GuardedLeg& leg, const Migration& migration) {
  const NotingHost& host = leg.host;
  return {leg.runner.out(),
          host.rules,
          host.refused,
          host.drops,
          host.replies,
          {host.tokens_owed, host.acks_owed, host.inits, host.takeovers},
          migration.phase(),
          leg.runner.then()};
}

Result RunIn(const Setting& setting, proto::Bytes stream, size_t step) {
  AgentFilter agent(setting.policy);
  Migration migration(setting.seamless ? MigrationKind::kSeamless
                                       : MigrationKind::kSemiSeamless);
  if (setting.handed_over) {
    HandOver(setting, migration);
  }
  const bool has_agent = setting.key.type == ChannelType::kMain &&
                         setting.policy.restricts_agent();
  GuardedLeg leg({.key = setting.key,
                  .header_kind = setting.kind,
                  .mode = setting.mode,
                  .policy = setting.policy,
                  .agent = has_agent ? &agent : nullptr,
                  .migration = setting.in_migration ? &migration : nullptr,
                  .destination = setting.destination});
  while (!stream.empty()) {
    const proto::Bytes piece = stream.first(std::min(step, stream.size()));
    stream = stream.subspan(piece.size());
    leg.runner.Feed(piece);
    while (leg.runner.then() == Then::kHold) {
      leg.guard.ReleaseAfterInit();
      leg.runner.Unhold();
    }
  }
  return ResultOf(leg, migration);
}

bool Kills(const Setting& setting, const proto::DataHeader& header) {
  constexpr uint32_t kMostBytes = 4 * 1024 * 1024 + 16;
  if (header.size > kMostBytes || header.sub_list != 0) {
    return true;
  }
  switch (header.type) {
    case proto::kMsgcMigrateFlushMark:
      return !setting.in_migration || setting.destination;
    case proto::kMsgcMigrateData:
      return !setting.destination || !setting.handed_over;
    case proto::kMsgcMainMigrateEnd:
      return setting.key.type == ChannelType::kMain && !setting.destination;
    case proto::kMsgcMainMigrateDstDoSeamless:
      return setting.key.type == ChannelType::kMain &&
             (!setting.destination || !setting.seamless);
    case proto::kMsgcMainAgentToken:
      return setting.key.type == ChannelType::kMain;
    case proto::kMsgcDisplayInit:
      return setting.key.type == ChannelType::kMain ||
             (setting.key.type == ChannelType::kDisplay &&
              !setting.destination);
  }
  return false;
}

// What came out, seen with other eyes than the guard's.
void CheckOut(const Setting& setting, proto::Bytes out) {
  proto::MessageFramer framer(setting.kind);
  for (;;) {
    const proto::MessageFramer::Step step = framer.Feed(out);
    out = out.subspan(step.consumed);
    if (step.event == proto::MessageFramer::Event::kHeader) {
      Require(!Kills(setting, framer.header()));
    } else if (step.event == proto::MessageFramer::Event::kNeedMore) {
      return;
    }
  }
}

// How much of a message with a bad usbredir packet has gone on depends on where
// it was cut; never all of it.
bool IsSame(const Result& whole, Result cut) {
  const bool is_usb =
      !whole.rules.empty() && whole.rules.back() == GuardRule::kUsbPacket;
  if (is_usb && whole.then == Then::kRefuse) {
    Require(cut.out.size() >= whole.out.size());
    cut.out.resize(whole.out.size());
  }
  return whole == cut;
}

void Check(const Setting& setting, size_t step, proto::Bytes stream) {
  const Result whole = RunIn(setting, stream, stream.size());
  Require(IsSame(whole, RunIn(setting, stream, step)));
  Require(IsSame(whole, RunIn(setting, stream, 1)));
  const bool drops =
      setting.policy.read_only || setting.policy.restricts_agent();
  Require(drops ||
          (whole.out.size() <= stream.size() &&
           std::ranges::equal(whole.out, stream.first(whole.out.size()))));
  Require((whole.then == Then::kRefuse) ==
          (setting.mode == GuardMode::kEnforce && !whole.rules.empty()));
  Require(setting.mode != GuardMode::kOff || whole.rules.empty());
  if (setting.mode == GuardMode::kEnforce) {
    CheckOut(setting, whole.out);
  }
}

}  // namespace
}  // namespace spicegate

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  if (len >= 4) {
    spicegate::Check(spicegate::SettingOf(data[0], data[1]),
                     data[2] + size_t{1}, {data + 3, len - 3});
  }
  return 0;
}
