// SPDX-License-Identifier: Apache-2.0
//
// How the load client tells the synthetic server what to send: in-band, in
// messages that are legal on every channel, so that any relay passes them and
// both sides may be in different processes. A command is a PONG, which a client
// may send at any time; an answer is a PING.
//
//   PONG, PING   u32 id (0xB5, op, u16 tag), u64 argument
#ifndef SPICEGATE_BENCH_LOAD_COMMAND_H_
#define SPICEGATE_BENCH_LOAD_COMMAND_H_

#include <array>
#include <cstdint>
#include <optional>

#include "bench/load/pattern.h"
#include "proto/channel.h"
#include "proto/common_channel.h"

namespace spicegate {

enum class Op : uint8_t {
  // Answered with the same message.
  kProbe = 1,
  // Start to send, or expect, the messages of a plan: seed in the tag, lengths
  // and rate in the argument.
  kSend = 2,
  kExpect = 3,
  // The client's last message: the argument is the bytes of its data stage,
  // this message included. The server stops sending at the end of a message,
  // and answers with the bytes of its own; the tag is how many messages arrived
  // wrong, a wrong count of bytes included.
  kFinish = 4,
};

struct Command {
  Op op = Op::kProbe;
  uint16_t tag = 0;
  uint64_t argument = 0;
};

// The body of the PONG or PING.
std::array<uint8_t, proto::kPingLen> EncodeCommand(const Command& command);
// Nothing for a body that is no command; longer ones are not.
std::optional<Command> ParseCommand(proto::Bytes body);

// kSend or kExpect with a plan; its type follows from channel and direction.
Command PlanCommand(Op op, const FloodPlan& plan);
// Nothing when the lengths are out of bounds.
std::optional<FloodPlan> PlanOf(const Command& command, uint16_t type);

// The message type that carries floods on a channel. Raw connections, which
// have no channel, are like displays and usbredir.
uint16_t ServerFloodType(proto::ChannelType type);
uint16_t ClientFloodType();

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_COMMAND_H_
