// SPDX-License-Identifier: Apache-2.0
//
// For tests: a main inspector with all that belongs to it, and what can be seen
// of it.
#ifndef SPICEGATE_GATEWAY_RELAY_INSPECTOR_FIXTURE_H_
#define SPICEGATE_GATEWAY_RELAY_INSPECTOR_FIXTURE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gateway/relay/filter_runner.h"
#include "gateway/relay/main_inspector.h"
#include "proto/test_bytes.h"

namespace spicegate {

// Writes down what it is told, one word each.
class RecordingHost final : public InspectorHost {
 public:
  void OnMainInit(uint32_t session_id) override {
    log += "init:" + std::to_string(session_id) + " ";
  }
  proto::DstInfo OnMigrateTo(MigrationKind kind,
                             const proto::DstInfo& to) override {
    log += "migrate" + std::to_string(static_cast<int>(kind)) + ":" +
           std::string(to.host) + ":" + std::to_string(to.port) + ":" +
           std::to_string(to.sport) + ":" + std::string(to.cert_subject) + " ";
    return place.value_or(to);
  }
  void OnMigrateCancel() override { log += "cancel "; }
  void OnPolicyDrop(PolicyDrop drop) override {
    log += "drop" + std::to_string(static_cast<int>(drop)) + " ";
  }
  void OnServerRefusal(const proto::DataHeader& header) override {
    log += "refuse:" + std::to_string(header.type) + " ";
  }

  std::optional<proto::DstInfo> place;  // none: what the server said
  std::string log;
};

inline constexpr proto::ChannelKey kMainKey = {proto::ChannelType::kMain, 0};

enum class MigrationSide : uint8_t { kNoMigration, kSource, kDestination };

struct InspectorSetting {
  proto::HeaderKind kind = proto::HeaderKind::kMini;
  Policy policy = {};
  std::optional<proto::DstInfo> place = {};
  MigrationSide side = MigrationSide::kNoMigration;
  MigrationKind migration = MigrationKind::kSeamless;
};

// Everything that can be seen of a run.
struct InspectorResult {
  std::string out;
  std::string log;
  bool refused = false;
  Migration::Phase phase = Migration::Phase::kLinking;
  std::optional<uint32_t> data_len;

  bool operator==(const InspectorResult&) const = default;
};

// One inspector with all that belongs to it.
class InspectorBench {
 public:
  explicit InspectorBench(const InspectorSetting& setting)
      : migration_(setting.migration),
        agent_(setting.policy),
        inspector_(&host_, setting.kind, setting.policy,
                   setting.policy.restricts_agent() ? &agent_ : nullptr) {
    host_.place = setting.place;
    if (setting.side != MigrationSide::kNoMigration) {
      migration_.OnClientLinked();
      inspector_.set_migration(&migration_,
                               setting.side == MigrationSide::kDestination);
    }
  }

  InspectorResult result() const {
    return {proto::ToHex(pump_.out()), host_.log,
            pump_.then() == PumpFilter::Then::kRefuse, migration_.phase(),
            migration_.ExpectedDataLen(kMainKey)};
  }
  FilterRunner& pump() { return pump_; }
  bool refused() const { return result().refused; }
  MainInspector& inspector() { return inspector_; }
  Migration& migration() { return migration_; }

 private:
  RecordingHost host_;
  Migration migration_;
  AgentFilter agent_;
  MainInspector inspector_;
  FilterRunner pump_{&inspector_};
};

inline std::vector<uint8_t> MainMessage(proto::HeaderKind kind, uint16_t type,
                                        std::span<const uint8_t> body,
                                        uint64_t serial = 1) {
  std::array<uint8_t, proto::kMaxDataHeaderLen> header;
  const size_t len =
      proto::EncodeDataHeader(kind,
                              {.type = type,
                               .size = static_cast<uint32_t>(body.size()),
                               .serial = serial},
                              header);
  return proto::Join({std::span(header).first(len), body});
}

inline std::vector<uint8_t> MainMessage(uint16_t type,
                                        std::span<const uint8_t> body) {
  return MainMessage(proto::HeaderKind::kMini, type, body);
}

// The result of the whole at once, after showing that no cut changes it.
inline InspectorResult Inspect(const InspectorSetting& setting,
                               const std::vector<uint8_t>& in) {
  InspectorBench whole(setting);
  whole.pump().Feed(in);
  const InspectorResult expected = whole.result();
  const auto bytes = std::span(in);
  for (size_t cut = 1; cut < std::min<size_t>(in.size(), 2000); ++cut) {
    InspectorBench bench(setting);
    bench.pump().Feed(bytes.first(cut));
    bench.pump().Feed(bytes.subspan(cut));
    EXPECT_EQ(bench.result(), expected) << "cut at " << cut;
  }
  for (const size_t step : {1u, 2u, 3u, 5u, 7u, 16u, 61u}) {
    InspectorBench bench(setting);
    for (size_t at = 0; at < in.size(); at += step) {
      bench.pump().Feed(bytes.subspan(at, std::min(step, in.size() - at)));
    }
    EXPECT_EQ(bench.result(), expected) << "in pieces of " << step;
  }
  return expected;
}

inline void ExpectPasses(const InspectorSetting& setting,
                         const std::vector<uint8_t>& in,
                         const std::string& log = "") {
  const InspectorResult result = Inspect(setting, in);
  EXPECT_EQ(result.out, proto::ToHex(in));
  EXPECT_EQ(result.log, log);
  EXPECT_FALSE(result.refused);
}

inline std::vector<uint8_t> U32(uint32_t value) {
  std::vector<uint8_t> body(4);
  proto::StoreU32(body.data(), value);
  return body;
}

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_INSPECTOR_FIXTURE_H_
