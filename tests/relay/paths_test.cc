// SPDX-License-Identifier: Apache-2.0
//
// The same bytes arrive on every path, whatever they are written and read in,
// and what the relay holds meanwhile is bounded.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "tests/relay/relay_path.h"
#include "tests/relay/relay_rig.h"

namespace spicegate {
namespace {

using RelayPathsTest = RelayPathTest;

// A connection of `SO_SNDBUF`, `SO_RCVBUF` as above, as the kernel doubles
// them, and one segment more for each buffer.
constexpr int kBufferBytes = 256 * 1024;
constexpr uint64_t kConnectionBytes = 2 * (2 * kBufferBytes + 64 * kKib);

TEST_P(RelayPathsTest, SixteenMebibyteWritesBothWays) {
  constexpr uint64_t kTotal = 16 * kMib;
  RelayRig rig(Options());
  Line* const line = rig.Connect(wire());
  ASSERT_TRUE(rig.RunUntil([&] {
    line->client.SayUpTo(kTotal, 16 * kMib);
    line->server.SayUpTo(kTotal, 16 * kMib);
    const bool at_server = line->server.HearUpTo(kTotal);
    const bool at_client = line->client.HearUpTo(kTotal);
    return at_server && at_client;
  }));
  ExpectExact(rig, *line);
  if (splices()) {
    EXPECT_GT(rig.spliced(), rig.copied());
  } else {
    EXPECT_EQ(rig.spliced(), 0);
  }
  ExpectCleanEnd(&rig, line);
}

TEST_P(RelayPathsTest, SingleBytesBehindBulkAndBulkBehindThem) {
  RelayRig rig(Options());
  Line* const line = rig.Connect(wire());
  uint64_t total = 0;
  const auto pass = [&](uint64_t num_bytes, size_t write_bytes) {
    total += num_bytes;
    return rig.RunUntil([&] {
      line->server.SayUpTo(total, write_bytes);
      return line->client.HearUpTo(total);
    });
  };
  ASSERT_TRUE(pass(2 * kMib, 256 * kKib));
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(pass(1, 1));
  }
  const int64_t spliced_before = rig.spliced();
  ASSERT_TRUE(pass(2'000, 1));  // many at once
  ASSERT_TRUE(pass(2 * kMib, 256 * kKib));
  EXPECT_EQ(rig.spliced() > spliced_before, splices());
  ExpectExact(rig, *line);
  ExpectCleanEnd(&rig, line);
}

TEST_P(RelayPathsTest, SwitchesInMidStreamAgainAndAgain) {
  RelayRig rig(Options());
  Line* const line = rig.Connect(wire());
  uint64_t total = 0;
  int bursts_spliced = 0;
  int trickles_copied = 0;
  for (size_t round = 0; round < 6; ++round) {
    const int64_t spliced_before = rig.spliced();
    total += kMib + round * 1'000'003 / 7;
    ASSERT_TRUE(rig.RunUntil([&] {
      line->server.SayUpTo(total, 256 * kKib);
      line->client.SayUpTo(total, 256 * kKib);
      const bool at_client = line->client.HearUpTo(total);
      return line->server.HearUpTo(total) && at_client;
    }));
    bursts_spliced += rig.spliced() > spliced_before ? 1 : 0;
    const int64_t copied_before = rig.copied();
    for (size_t i = 0; i < 40; ++i) {
      total += 1 + i * 97 % 3'000;
      ASSERT_TRUE(rig.RunUntil([&] {
        line->server.SayUpTo(total, 3'000);
        line->client.SayUpTo(total, 3'000);
        const bool at_client = line->client.HearUpTo(total);
        return line->server.HearUpTo(total) && at_client;
      }));
    }
    trickles_copied += rig.copied() > copied_before ? 1 : 0;
  }
  EXPECT_EQ(bursts_spliced, splices() ? 6 : 0);
  EXPECT_EQ(trickles_copied, 6);
  ExpectExact(rig, *line);
  ExpectCleanEnd(&rig, line);
}

TEST_P(RelayPathsTest, ASlowReaderGetsEverything) {
  constexpr uint64_t kTotal = 3 * kMib;
  RelayRig rig(Options(kBufferBytes));
  Line* const line = rig.Connect(wire());
  size_t turn = 0;
  ASSERT_TRUE(rig.RunUntil([&] {
    line->server.SayUpTo(kTotal, 64 * kKib);
    line->client.Hear(1 + ++turn * 7'919 % 30'000);
    return line->client.heard() == kTotal;
  }));
  ExpectExact(rig, *line);
  ExpectCleanEnd(&rig, line);
}

TEST_P(RelayPathsTest, AStalledReaderCostsOneBufferOrPipe) {
  constexpr uint64_t kTotal = 16 * kMib;
  RelayRig rig(Options(kBufferBytes));
  Line* const line = rig.Connect(wire());
  // Some bulk first, so that the pump is in its stride.
  ASSERT_TRUE(rig.RunUntil([&] {
    line->server.SayUpTo(4 * kMib, 256 * kKib);
    return line->client.HearUpTo(4 * kMib);
  }));
  rig.RunUntilStill([&] { line->server.SayUpTo(kTotal, 256 * kKib); });
  const uint64_t in_the_relay = std::max(path().pipe_bytes, kPumpBufferBytes);
  // TLS keeps a record, and reads two ahead.
  const uint64_t tls = wire() == Wire::kTls ? 64 * kKib : 0;
  EXPECT_LE(line->server.said() - line->client.heard(),
            2 * kConnectionBytes + in_the_relay + tls);
  EXPECT_LE(rig.driver()->most_piped_bytes(), path().pipe_bytes);

  // The other direction does not mind.
  ASSERT_TRUE(rig.RunUntil([&] {
    line->client.SayUpTo(2 * kMib, 256 * kKib);
    return line->server.HearUpTo(2 * kMib);
  }));
  ASSERT_TRUE(rig.RunUntil([&] {
    line->server.SayUpTo(kTotal, 256 * kKib);
    return line->client.HearUpTo(kTotal);
  }));
  ExpectExact(rig, *line);
  ExpectCleanEnd(&rig, line);
}

TEST_P(RelayPathsTest, AnIdleChannelHoldsNothing) {
  RelayRig rig(Options());
  Line* const line = rig.Connect(wire());
  uint64_t total = 0;
  for (const uint64_t num_bytes : {uint64_t{1}, 3 * kMib, uint64_t{100}}) {
    total += num_bytes;
    ASSERT_TRUE(rig.RunUntil([&] {
      line->server.SayUpTo(total, 256 * kKib);
      line->client.SayUpTo(total, 256 * kKib);
      const bool at_client = line->client.HearUpTo(total);
      return line->server.HearUpTo(total) && at_client;
    }));
    rig.RunUntilStill([] {});
    EXPECT_EQ(rig.counters().relay_buffer_bytes.value(), 0);
    EXPECT_EQ(rig.counters().pipes_in_use.value(), 0);
  }
  ExpectCleanEnd(&rig, line);
}

// Many at once share few pipes; who gets none is copied.
TEST_P(RelayPathsTest, ChannelsDoNotMixTheirBytes) {
  constexpr uint64_t kTotal = kMib;
  RigOptions options = Options();
  options.pool.max_pipes = 3;
  RelayRig rig(options);
  std::array<Line*, 6> lines;
  for (Line*& line : lines) {
    line = rig.Connect(wire());
  }
  size_t turn = 0;
  ASSERT_TRUE(rig.RunUntil([&] {
    bool done = true;
    ++turn;
    for (size_t i = 0; i < lines.size(); ++i) {
      lines[i]->server.SayUpTo(kTotal, 100'000 + i);
      lines[i]->client.SayUpTo(kTotal, 100'000 - i);
      if ((turn + i) % 3 != 0) {  // each stalls a third of the time
        lines[i]->client.HearUpTo(kTotal);
        lines[i]->server.HearUpTo(kTotal);
      }
      done &= lines[i]->client.heard() == kTotal &&
              lines[i]->server.heard() == kTotal;
    }
    return done;
  }));
  for (Line* line : lines) {
    ExpectCleanEnd(&rig, line);
  }
  EXPECT_LE(rig.driver()->most_open_pipes(), 3u);
  EXPECT_EQ(rig.copied() + rig.spliced(),
            static_cast<int64_t>(2 * lines.size() * kTotal));
}

TEST_P(RelayPathsTest, SmallMessagesAreNotHeldBack) {
  RelayRig rig(Options());
  Line* const line = rig.Connect(wire());
  if (wire() != Wire::kUnix) {
    int no_delay = 0;
    socklen_t len = sizeof(no_delay);
    ASSERT_EQ(getsockopt(line->client.fd(), IPPROTO_TCP, TCP_NODELAY, &no_delay,
                         &len),
              0);
    EXPECT_NE(no_delay, 0);
  }
  // Each message is answered before the next is said.
  for (uint64_t total = 64; total <= 64 * 200; total += 64) {
    ASSERT_TRUE(rig.RunUntil([&] {
      line->client.SayUpTo(total, 64);
      if (line->server.HearUpTo(total)) {
        line->server.SayUpTo(total, 64);
      }
      return line->client.HearUpTo(total);
    }));
  }
  ExpectExact(rig, *line);
  EXPECT_EQ(rig.spliced(), 0);
  EXPECT_EQ(rig.driver()->open_pipes(), 0u);
  ExpectCleanEnd(&rig, line);
}

INSTANTIATE_TEST_SUITE_P(Paths, RelayPathsTest, RelayPathValues(),
                         RelayPathName);

}  // namespace
}  // namespace spicegate
