// SPDX-License-Identifier: Apache-2.0
//
// What a session may do at its console, beyond what protects the hypervisor.
// Named in the configuration; chosen by the console and by the ticket.
#ifndef SPICEGATE_GATEWAY_CONSOLE_POLICY_H_
#define SPICEGATE_GATEWAY_CONSOLE_POLICY_H_

#include <cstdint>
#include <map>
#include <string>

namespace spicegate {

struct Policy {
  // Channel types whose links are refused: bit N is the SPICE type N.
  uint16_t refused_channels = 0;
  bool read_only = false;            // inputs are dropped
  bool clipboard_to_guest = true;    // what the client copies
  bool clipboard_from_guest = true;  // what the guest copies
  bool file_transfer = true;

  bool refuses_channel(uint8_t type) const {
    return type < 16 && (refused_channels >> type & 1) != 0;
  }
  // Agent messages have to be looked at.
  bool restricts_agent() const {
    return read_only || !clipboard_to_guest || !clipboard_from_guest ||
           !file_transfer;
  }

  friend bool operator==(const Policy&, const Policy&) = default;
};

// Forbids what either forbids.
inline Policy Combine(const Policy& a, const Policy& b) {
  Policy both;
  both.refused_channels =
      static_cast<uint16_t>(a.refused_channels | b.refused_channels);
  both.read_only = a.read_only || b.read_only;
  both.clipboard_to_guest = a.clipboard_to_guest && b.clipboard_to_guest;
  both.clipboard_from_guest = a.clipboard_from_guest && b.clipboard_from_guest;
  both.file_transfer = a.file_transfer && b.file_transfer;
  return both;
}

// By name. Immutable once it is shared.
using PolicySet = std::map<std::string, Policy>;

// What the guard does with a message it finds wrong.
enum class GuardMode : uint8_t {
  kEnforce,  // the channel is closed
  kCount,    // counted and logged, and passed on all the same
  kOff,      // not looked for
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONSOLE_POLICY_H_
