// SPDX-License-Identifier: Apache-2.0
//
// What stands between the two ends of a pump and decides, byte range by byte
// range, what goes on: a guard towards the server, an inspector towards the
// client. It never waits and never sees a byte twice.
#ifndef SPICEGATE_GATEWAY_RELAY_PUMP_FILTER_H_
#define SPICEGATE_GATEWAY_RELAY_PUMP_FILTER_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace spicegate {

class PumpFilter {
 public:
  enum class Then : uint8_t {
    kGoOn,
    // The rest stays with the pump and is shown again after its Unhold.
    kHold,
    // Nothing more goes this way: the channel is to end.
    kRefuse,
  };

  // What becomes of the bytes shown, in this order. `pass + skip` bytes are
  // used; the rest is shown again. Uses at least one byte, inserts something
  // or says other than kGoOn.
  struct Step {
    size_t pass = 0;                       // these go on as they are
    std::span<const uint8_t> insert = {};  // then these; valid until Next
    size_t skip = 0;                       // then these are dropped
    Then then = Then::kGoOn;
  };

  PumpFilter() = default;
  PumpFilter(const PumpFilter&) = delete;
  PumpFilter& operator=(const PumpFilter&) = delete;
  virtual ~PumpFilter() = default;

  // Called with bytes as they came, or with none when HasInsert().
  virtual Step Next(std::span<const uint8_t> bytes) = 0;

  // There is something to insert though no bytes have come. Whoever made it so
  // runs the pump.
  virtual bool HasInsert() const = 0;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_RELAY_PUMP_FILTER_H_
