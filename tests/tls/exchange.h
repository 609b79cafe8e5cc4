// SPDX-License-Identifier: Apache-2.0
//
// Patterns between the two ends of a relayed channel, both ways at once, in
// legal messages. Checked byte for byte, which is stronger than a checksum and
// names the first wrong byte.
#ifndef SPICEGATE_TESTS_TLS_EXCHANGE_H_
#define SPICEGATE_TESTS_TLS_EXCHANGE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "proto/channel.h"
#include "tests/peer/peer_loop.h"
#include "tests/peer/peer_stream.h"
#include "tests/peer/traffic.h"

namespace spicegate {

struct ExchangePlan {
  TrafficShape to_client;
  TrafficShape to_server;
  TrafficPlan bytes;
  // Each write of a peer carries about so much. 1: one byte each, which is a
  // record each where the peer speaks TLS.
  size_t write_len = 32 * 1024;
};

// `bytes` each way; towards the server much less on channels whose clients
// only send small messages.
ExchangePlan BulkPlan(proto::ChannelKey key, uint64_t bytes);
// `num_messages` each way with a body of one byte, one byte a write. For the
// channels that carry data of devices.
ExchangePlan SingleBytesPlan(uint64_t num_messages);

// Both streams are at the start of a message. Empty when every byte has
// arrived, else the first thing that went wrong.
PeerTask<std::string> Exchange(PeerStream* viewer, PeerStream* server,
                               const ExchangePlan* plan);

// The same messages one byte at a time, the next one only when its answer is
// here: nothing on the way can join bytes, and a lost wake-up stops it.
PeerTask<std::string> PingPong(PeerStream* viewer, PeerStream* server,
                               uint64_t num_messages);

// One end's view of one direction, for tests that write or read step by step.
// Both ends make the same `seed`.
TrafficWriter EndlessWriter(uint64_t seed, TrafficShape shape);
TrafficReader EndlessReader(uint64_t seed, TrafficShape shape);

// Writes all that `writer` makes, or until that fails.
PeerTask<void> WritePattern(PeerStream* stream, TrafficWriter* writer);

// Reads from `stream` until `reader` has `body_bytes`; "" or what went wrong.
PeerTask<std::string> ReadPatternUntil(PeerStream* stream,
                                       TrafficReader* reader,
                                       uint64_t body_bytes);

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_TLS_EXCHANGE_H_
