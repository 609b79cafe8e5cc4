// SPDX-License-Identifier: Apache-2.0
//
// What viewers present: one ticket for all, or one of spicegate's for each
// session, minted ahead of the run.
#ifndef SPICEGATE_BENCH_LOAD_TICKETS_H_
#define SPICEGATE_BENCH_LOAD_TICKETS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/load/address.h"

namespace spicegate {

class TicketSource {
 public:
  // The same for everybody.
  explicit TicketSource(std::string ticket) : tickets_{std::move(ticket)} {}

  // Mints `num_tickets` over one connection to spicegate's admin address, for
  // the consoles bench-00000 to bench-(num_consoles - 1) in turn. Blocks. "" or
  // what went wrong.
  std::string Mint(const Address& admin, int64_t num_tickets,
                   int64_t num_consoles);

  // The next ticket; null when all were used. Valid as long as the source.
  const std::string* Next();

 private:
  std::vector<std::string> tickets_;
  size_t next_ = 0;
  bool minted_ = false;
};

// The name of a console in the gateway's consoles file: "bench-00042".
std::string ConsoleName(int64_t number);

}  // namespace spicegate

#endif  // SPICEGATE_BENCH_LOAD_TICKETS_H_
