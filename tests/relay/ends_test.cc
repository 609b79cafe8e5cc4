// SPDX-License-Identifier: Apache-2.0
//
// The same ends on every path: half-closes and resets each way, in the middle
// of bulk and behind a stalled reader, with nothing lost that a FIN follows
// and nothing left of a channel that a RST ends.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstdint>

#include "tests/relay/relay_path.h"
#include "tests/relay/relay_rig.h"

namespace spicegate {
namespace {

using RelayEndsTest = RelayPathTest;
using Saw = RelayPeer::Saw;

// Who says, and who hears it, of one direction.
struct Direction {
  RelayPeer* from;
  RelayPeer* to;
};

Direction ToClient(Line* line) { return {&line->server, &line->client}; }
Direction ToServer(Line* line) { return {&line->client, &line->server}; }

// Bulk until both are in their stride.
void WarmUp(RelayRig* rig, Direction direction) {
  ASSERT_TRUE(rig->RunUntil([&] {
    direction.from->SayUpTo(2 * kMib, 256 * kKib);
    return direction.to->HearUpTo(2 * kMib);
  }));
}

// `first` ends its direction at once, `second` says much more and ends too.
void HalfClose(RelayRig* rig, Line* line, Direction first, Direction second) {
  constexpr uint64_t kTotal = 6 * kMib;
  WarmUp(rig, first);
  first.from->ShutdownWrite();
  ASSERT_TRUE(rig->RunUntil([&] { return first.to->HearEnd(); }));
  EXPECT_EQ(first.to->saw(), Saw::kFin);
  EXPECT_FALSE(line->ended);
  rig->RunUntilStill([] {});
  EXPECT_EQ(rig->counters().relay_buffer_bytes.value(), 0);
  EXPECT_EQ(rig->counters().pipes_in_use.value(), 0);
  ASSERT_TRUE(rig->RunUntil([&] {
    second.from->SayUpTo(kTotal, 256 * kKib);
    return second.to->HearUpTo(kTotal);
  }));
  EXPECT_FALSE(line->ended);
  second.from->ShutdownWrite();
  ASSERT_TRUE(
      rig->RunUntil([&] { return second.to->HearEnd() && line->ended; }));
  EXPECT_EQ(second.to->saw(), Saw::kFin);
  EXPECT_EQ(line->bytes_to_client, line->client.heard());
  EXPECT_EQ(line->bytes_to_server, line->server.heard());
}

TEST_P(RelayEndsTest, TheClientHalfCloses) {
  RelayRig rig(Options());
  Line* const line = rig.Connect(wire());
  HalfClose(&rig, line, ToServer(line), ToClient(line));
  EXPECT_EQ(line->reason, CloseReason::kClientClosed);
  ExpectExact(rig, *line);
}

TEST_P(RelayEndsTest, TheServerHalfCloses) {
  RelayRig rig(Options());
  Line* const line = rig.Connect(wire());
  HalfClose(&rig, line, ToClient(line), ToServer(line));
  EXPECT_EQ(line->reason, CloseReason::kServerClosed);
  ExpectExact(rig, *line);
}

// A FIN that waits behind bytes which nobody reads for long.
TEST_P(RelayEndsTest, TheEndComesBehindBytesThatWaited) {
  for (const bool to_client : {true, false}) {
    RelayRig rig(Options(256 * kKib));
    Line* const line = rig.Connect(wire());
    const Direction bulk = to_client ? ToClient(line) : ToServer(line);
    WarmUp(&rig, bulk);
    const uint64_t stalled_at = bulk.from->said();
    rig.RunUntilStill([&] { bulk.from->SayUpTo(UINT64_MAX, 256 * kKib); });
    EXPECT_GT(bulk.from->said(), stalled_at);
    // What is left of the last write is never said.
    bulk.from->ShutdownWrite();
    rig.RunUntilStill([] {});
    EXPECT_FALSE(line->ended);
    EXPECT_EQ(bulk.to->heard(), stalled_at);
    ASSERT_TRUE(rig.RunUntil([&] { return bulk.to->HearEnd(); }));
    EXPECT_EQ(bulk.to->saw(), Saw::kFin);
    ExpectExact(rig, *line);
    ExpectCleanEnd(&rig, line);
  }
}

// A peer that is cut off while bytes are in flight towards it and from it. A
// unix socket closes without RST, unless something was left unread there.
void CutOff(RelayRig* rig, Line* line, RelayPeer* leaving, RelayPeer* staying,
            bool stalled) {
  const auto flood = [&] {
    staying->SayUpTo(UINT64_MAX, 256 * kKib);
    leaving->SayUpTo(UINT64_MAX, 256 * kKib);
  };
  if (stalled) {
    rig->RunUntilStill(flood);
  } else {
    ASSERT_TRUE(rig->RunUntil([&] {
      flood();
      leaving->Hear(300'000);
      staying->Hear(300'000);
      return leaving->heard() > 3 * kMib && staying->heard() > 3 * kMib;
    }));
    flood();  // unread at the one that leaves
    rig->Turn();
    rig->Turn();
  }
  leaving->Reset();
  ASSERT_TRUE(rig->RunUntil([&] {
    staying->SayUpTo(UINT64_MAX, 256 * kKib);
    return staying->HearEnd() && line->ended;
  }));
  EXPECT_TRUE(staying->exact());
  EXPECT_LE(staying->heard(), leaving->said());
  EXPECT_GE(line->bytes_to_client, line->client.heard());
  EXPECT_GE(line->bytes_to_server, line->server.heard());
  EXPECT_LE(line->bytes_to_client, line->server.said());
  EXPECT_LE(line->bytes_to_server, line->client.said());
  rig->RunUntilStill([] {});
  EXPECT_EQ(rig->counters().relay_buffer_bytes.value(), 0);
  EXPECT_EQ(rig->counters().pipes_in_use.value(), 0);
}

TEST_P(RelayEndsTest, TheClientIsCutOff) {
  for (const bool stalled : {false, true}) {
    RelayRig rig(Options(256 * kKib));
    Line* const line = rig.Connect(wire());
    CutOff(&rig, line, &line->client, &line->server, stalled);
    EXPECT_EQ(line->reason, CloseReason::kClientReset);
    if (wire() == Wire::kTcp || wire() == Wire::kTls) {
      EXPECT_EQ(line->server.saw(), Saw::kReset);
    }
  }
}

TEST_P(RelayEndsTest, TheServerIsCutOff) {
  for (const bool stalled : {false, true}) {
    RelayRig rig(Options(256 * kKib));
    Line* const line = rig.Connect(wire());
    CutOff(&rig, line, &line->server, &line->client, stalled);
    EXPECT_EQ(line->reason, CloseReason::kServerReset);
    if (wire() != Wire::kUnix) {
      EXPECT_EQ(line->client.saw(), Saw::kReset);
    }
  }
}

// The other direction is idle: only the bulk's own pump can notice, and must
// not take the RST for an end of the stream.
TEST_P(RelayEndsTest, ACutInBulkIsNoOrderlyEnd) {
  if (wire() == Wire::kUnix || wire() == Wire::kTcpToUnix) {
    return;  // a unix socket with nothing unread ends in order
  }
  for (const bool to_client : {true, false}) {
    RelayRig rig(Options());
    Line* const line = rig.Connect(wire());
    const Direction bulk = to_client ? ToClient(line) : ToServer(line);
    WarmUp(&rig, bulk);
    bulk.from->Reset();
    ASSERT_TRUE(rig.RunUntil([&] { return bulk.to->HearEnd(); }));
    EXPECT_EQ(bulk.to->saw(), Saw::kReset);
    ASSERT_TRUE(rig.RunUntil([&] { return line->ended; }));
    EXPECT_EQ(line->reason, to_client ? CloseReason::kServerReset
                                      : CloseReason::kClientReset);
    EXPECT_TRUE(bulk.to->exact());
  }
}

// splice(2) stops at an urgent byte and never gets past it. The relay does: the
// byte itself is lost, as in every relay that does not ask for it, and nothing
// else, nor is an end seen that has bytes before it.
TEST_P(RelayEndsTest, AnUrgentByteStopsNothing) {
  if (wire() != Wire::kTcp) {
    return;  // unix sockets and TLS have none
  }
  for (const bool then_end : {false, true}) {
    RelayRig rig(Options());
    Line* const line = rig.Connect(wire());
    WarmUp(&rig, ToClient(line));
    const uint64_t before = line->client.heard();
    ASSERT_EQ(send(line->server.fd(), "!", 1, MSG_OOB | MSG_NOSIGNAL), 1);
    line->server.SayUpTo(before + 1000, 1000);
    if (then_end) {
      line->server.ShutdownWrite();
    }
    ASSERT_TRUE(rig.RunUntil([&] {
      return then_end ? line->client.HearEnd()
                      : line->client.HearUpTo(before + 1000);
    }));
    EXPECT_EQ(line->client.heard(), before + 1000);
    EXPECT_TRUE(line->client.exact());
    rig.RunUntilStill([] {});
    rig.driver()->Wait(/*timeout_ms=*/20);
    EXPECT_EQ(rig.driver()->Dispatch(), 0u);  // and the worker sleeps
  }
}

// Bytes that were in a pipe when its channel was cut off must not turn up in
// the next one's.
TEST_P(RelayEndsTest, WhatWasCutOffIsInNobodysWay) {
  RelayRig rig(Options(256 * kKib));
  for (int round = 0; round < 3; ++round) {
    Line* const line = rig.Connect(wire());
    rig.RunUntilStill([&] { line->server.SayUpTo(UINT64_MAX, 256 * kKib); });
    line->client.Reset();
    ASSERT_TRUE(rig.RunUntil([&] { return line->ended; }));
    line->server.Close();
    Line* const next = rig.Connect(wire());
    ASSERT_TRUE(rig.RunUntil([&] {
      next->server.SayUpTo(2 * kMib, 256 * kKib);
      next->client.SayUpTo(2 * kMib, 256 * kKib);
      const bool at_client = next->client.HearUpTo(2 * kMib);
      return next->server.HearUpTo(2 * kMib) && at_client;
    }));
    ExpectCleanEnd(&rig, next);
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, RelayEndsTest, RelayPathValues(),
                         RelayPathName);

}  // namespace
}  // namespace spicegate
