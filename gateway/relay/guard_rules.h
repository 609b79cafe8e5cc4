// SPDX-License-Identifier: Apache-2.0
//
// The messages that a client may send, by channel type: how long their bodies
// may be, and what a body may claim. When they may be sent is the guard's
// business. What viewers send and servers accept: proto/README.md; what each
// rule keeps away from QEMU: docs/security.md.
#ifndef SPICEGATE_GATEWAY_RELAY_GUARD_RULES_H_
#define SPICEGATE_GATEWAY_RELAY_GUARD_RULES_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "gateway/base/counters.h"
#include "proto/channel.h"

namespace spicegate {

struct MessageRule {
  // Whether what a body of `size` bytes claims at its front is true.
  using Claim = bool (*)(std::span<const uint8_t> front, uint32_t size);

  uint16_t type = 0;
  uint32_t min_len = 0;
  uint32_t max_len = 0;
  // What a body of another length breaks. A message that is only good at one
  // moment has a rule of its own for all that can be wrong with it.
  GuardRule length_rule = GuardRule::kMessageSize;
  uint8_t claim_len = 0;  // bytes of the front that `claim` looks at
  Claim claim = nullptr;
};

// The rule for `type` on a channel, or null: no viewer sends it there. Static
// storage.
const MessageRule* FindMessageRule(proto::ChannelType channel, uint16_t type);

// Whether a server survives this INIT of a display: 14 bytes, and a window that
// it can make. To be asked of the INIT of a fresh display as well, which no
// guard sees.
bool IsGoodDisplayInit(std::span<const uint8_t> body);

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_GUARD_RULES_H_
