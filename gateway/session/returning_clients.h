// SPDX-License-Identifier: Apache-2.0
//
// Clients that their server has sent to another one (MIGRATE_SWITCH_HOST): they
// close everything and come back with the same ticket, to be led to where
// their desktop went.
#ifndef SPICEGATE_GATEWAY_SESSION_RETURNING_CLIENTS_H_
#define SPICEGATE_GATEWAY_SESSION_RETURNING_CLIENTS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "gateway/auth/vault.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/server_link/server_link.h"

namespace spicegate {

// Where a session's server sends its client.
struct Departure {
  // Without a console: nowhere that we would go.
  ConsoleTarget target;
  std::string from;  // "HOST:PORT"
  std::string to;
  int64_t started_ms = 0;
};

struct ReturningClient {
  TicketClaim ticket;  // keeps it valid
  std::string console;
  std::string client;  // its address
  Departure departure;
};

// Of one worker.
class ReturningClients {
 public:
  // `too_late` is told of each that has not come back within kSwitchHostMs.
  ReturningClients(TimerWheel* timers,
                   std::function<void(const ReturningClient&)> too_late)
      : timers_(timers), too_late_(std::move(too_late)) {}
  ReturningClients(const ReturningClients&) = delete;
  ReturningClients& operator=(const ReturningClients&) = delete;

  // In place of one with the same ticket.
  void Await(ReturningClient client);

  // Null when none is awaited.
  const Departure* Find(const TicketDigest& ticket) const;
  // It is back.
  std::optional<ReturningClient> Take(const TicketDigest& ticket);

 private:
  struct Entry {
    Entry(ReturningClients* o, ReturningClient c)
        : owner(o), client(std::move(c)) {}

    ReturningClients* const owner;
    ReturningClient client;
    Timer timer{&ReturningClients::OnTooLate, this};
  };

  static void OnTooLate(void* entry);

  TimerWheel* const timers_;
  const std::function<void(const ReturningClient&)> too_late_;
  absl::flat_hash_map<TicketDigest, std::unique_ptr<Entry>> entries_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_SESSION_RETURNING_CLIENTS_H_
