// SPDX-License-Identifier: Apache-2.0
//
// Where CONNECT may lead without a ticket, as squid's http_access says it: a
// request is let through when one rule has both its host and its port. Nothing
// in the list, nothing let through.
//
// A name can be allowed in two ways. Listed as a name it may be dialled at
// whatever it resolves to; otherwise its addresses are asked for, and those
// that a rule's networks hold may be dialled, those only.
//
// Loopback, unspecified, link-local, multicast and broadcast addresses are
// allowed by entries that name nothing else: 127.0.0.0/8 or ::1 do, 0.0.0.0/0
// does not, and neither does a name that somebody lets point there. Else a
// wide entry would open services that trust whoever is on the same machine,
// and the gateway's own.
#ifndef SPICEGATE_GATEWAY_CONSOLE_ALLOW_LIST_H_
#define SPICEGATE_GATEWAY_CONSOLE_ALLOW_LIST_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/console/host_patterns.h"

namespace spicegate {

// Immutable once made; any thread may ask.
class AllowList {
 public:
  struct Rule {
    std::vector<std::string> hosts;  // entries of HostPatterns; at least one
    // First and last, both included; from 1. At least one.
    std::vector<std::pair<uint16_t, uint16_t>> ports;
  };

  enum class Verdict {
    kAllowed,     // listed as a name
    kAskAddress,  // decide with AllowsAddress for each that it resolves to
    kRefused,
  };

  // Allows nothing.
  AllowList() = default;

  // InvalidArgument with "rule N: ..." (N from 0).
  static absl::StatusOr<AllowList> Parse(const std::vector<Rule>& rules);

  bool empty() const { return rules_.empty(); }

  // `host` as a client wrote it: any bytes, no brackets. An address is refused
  // or left to AllowsAddress, which then allows it. What is neither an address
  // in full form nor a name is refused, whatever a resolver makes of it.
  Verdict Judge(std::string_view host, uint16_t port) const;

  // Before each address is dialled: the only answer that counts for names,
  // which may resolve to anything. `v6_mapped` as AddressBytes. `by_name`:
  // Judge said kAllowed for this host and port.
  bool AllowsAddress(std::span<const uint8_t, 16> v6_mapped, uint16_t port,
                     bool by_name) const;

 private:
  struct ParsedRule {
    HostPatterns hosts;
    std::vector<std::pair<uint16_t, uint16_t>> ports;

    bool HasPort(uint16_t port) const;
  };

  std::vector<ParsedRule> rules_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONSOLE_ALLOW_LIST_H_
