// SPDX-License-Identifier: Apache-2.0
//
// The ways through the relay that the tests go: how bytes are moved, and over
// which connections.
#ifndef SPICEGATE_TESTS_RELAY_RELAY_PATH_H_
#define SPICEGATE_TESTS_RELAY_RELAY_PATH_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <tuple>
#include <vector>

#include "tests/relay/relay_rig.h"

namespace spicegate {

struct RelayPath {
  const char* name;
  bool pipes;
  size_t pipe_bytes;
  proto::ChannelType type;
};

inline constexpr size_t kKib = 1024;
inline constexpr size_t kMib = 1024 * kKib;

inline constexpr RelayPath kRelayPaths[] = {
    {"copied", false, 256 * kKib, proto::ChannelType::kUsbredir},
    {"pipe_64k", true, 64 * kKib, proto::ChannelType::kUsbredir},
    {"pipe_256k", true, 256 * kKib, proto::ChannelType::kUsbredir},
    {"pipe_1m", true, 1024 * kKib, proto::ChannelType::kUsbredir},
    // A kind that moves bytes as soon as it is ready, not when its turn comes.
    {"copied_inline", false, 256 * kKib, proto::ChannelType::kInputs},
    {"pipe_inline", true, 256 * kKib, proto::ChannelType::kInputs},
};

inline const char* WireName(Wire wire) {
  switch (wire) {
    case Wire::kTcp:
      return "tcp";
    case Wire::kUnix:
      return "unix";
    case Wire::kTcpToUnix:
      return "tcp_to_unix";
    case Wire::kTls:
      return "tls";
  }
  return "";
}

class RelayPathTest
    : public testing::TestWithParam<std::tuple<RelayPath, Wire>> {
 protected:
  static RelayPath path() { return std::get<0>(GetParam()); }
  static Wire wire() { return std::get<1>(GetParam()); }
  // Bulk goes through a pipe here.
  static bool splices() { return path().pipes && wire() != Wire::kTls; }

  static RigOptions Options(int socket_buffer_bytes = 0) {
    RigOptions options;
    options.pipes = path().pipes;
    options.pool.pipe_bytes = path().pipe_bytes;
    options.type = path().type;
    options.socket_buffer_bytes = socket_buffer_bytes;
    return options;
  }

  // Every byte of `line` arrived, and the relay counted what the peers did.
  static void ExpectExact(const RelayRig& rig, const Line& line) {
    EXPECT_TRUE(line.complete());
    EXPECT_EQ(static_cast<uint64_t>(rig.to_server()), line.server.heard());
    EXPECT_EQ(static_cast<uint64_t>(rig.to_client()), line.client.heard());
    EXPECT_EQ(rig.copied() + rig.spliced(), rig.to_server() + rig.to_client());
  }

  // Both peers end in good order, and are told so.
  static void ExpectCleanEnd(RelayRig* rig, Line* line) {
    line->client.ShutdownWrite();
    line->server.ShutdownWrite();
    ASSERT_TRUE(rig->RunUntil([&] {
      return line->client.HearEnd() && line->server.HearEnd() && line->ended;
    }));
    EXPECT_EQ(line->client.saw(), RelayPeer::Saw::kFin);
    EXPECT_EQ(line->server.saw(), RelayPeer::Saw::kFin);
    EXPECT_TRUE(line->reason == CloseReason::kClientClosed ||
                line->reason == CloseReason::kServerClosed);
    EXPECT_EQ(line->bytes_to_client, line->client.heard());
    EXPECT_EQ(line->bytes_to_server, line->server.heard());
    EXPECT_TRUE(line->complete());
  }
};

// Every path over every connection that makes a difference to it.
inline auto RelayPathValues() {
  std::vector<std::tuple<RelayPath, Wire>> all;
  for (const RelayPath& path : kRelayPaths) {
    const bool bulk = path.type == proto::ChannelType::kUsbredir;
    for (const Wire wire :
         {Wire::kTcp, Wire::kUnix, Wire::kTcpToUnix, Wire::kTls}) {
      const bool ordinary = path.pipe_bytes == 256 * kKib;
      if (wire == Wire::kTls ? bulk && ordinary : bulk || wire == Wire::kTcp) {
        all.emplace_back(path, wire);
      }
    }
  }
  return testing::ValuesIn(all);
}

inline std::string RelayPathName(
    const testing::TestParamInfo<std::tuple<RelayPath, Wire>>& info) {
  return std::string(std::get<0>(info.param).name) + "_" +
         WireName(std::get<1>(info.param));
}

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_RELAY_RELAY_PATH_H_
