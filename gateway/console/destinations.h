// SPDX-License-Identifier: Apache-2.0
//
// Where a migration may take a desktop. The server names its destination, and
// a guest may own its server: without a list it could have the gateway dial
// whatever the gateway can reach.
//
// Hosts are compared as they are written, before any name is resolved: a name
// is allowed by names only, an address by addresses and networks only.
#ifndef SPICEGATE_GATEWAY_CONSOLE_DESTINATIONS_H_
#define SPICEGATE_GATEWAY_CONSOLE_DESTINATIONS_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gateway/console/host_patterns.h"

namespace spicegate {

inline constexpr size_t kMaxDestinationLen = kMaxHostPatternLen;

// Immutable once made; any thread may ask.
class Destinations {
 public:
  // What an entry is, for error messages: "expected " and this.
  static constexpr const char* kExpected = HostPatterns::kExpected;

  // Allows every host.
  Destinations() = default;

  // An entry of HostPatterns.
  static bool IsEntry(std::string_view text) {
    return HostPatterns::IsEntry(text);
  }

  // InvalidArgument with "entry N: expected ..., got ..." (N from 0).
  static absl::StatusOr<Destinations> Parse(
      const std::vector<std::string>& entries) {
    absl::StatusOr<HostPatterns> parsed = HostPatterns::Parse(entries);
    if (!parsed.ok()) {
      return parsed.status();
    }
    return Destinations(*std::move(parsed));
  }

  // `host` as a server wrote it: any bytes. Nothing but what IsEntry would
  // take as an address or a name is ever allowed by a list: a host that a
  // resolver reads otherwise (127.1, a zero byte inside) is not.
  bool Allows(std::string_view host) const {
    return any() || patterns_.Holds(host);
  }

  // There is no list.
  bool any() const { return patterns_.empty(); }

 private:
  explicit Destinations(HostPatterns patterns)
      : patterns_(std::move(patterns)) {}

  HostPatterns patterns_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONSOLE_DESTINATIONS_H_
