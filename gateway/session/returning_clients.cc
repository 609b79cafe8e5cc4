// SPDX-License-Identifier: Apache-2.0
#include "gateway/session/returning_clients.h"

#include "gateway/base/limits.h"

namespace spicegate {

void ReturningClients::Await(ReturningClient client) {
  const TicketDigest ticket = client.ticket.digest();
  auto entry = std::make_unique<Entry>(this, std::move(client));
  entry->timer.Arm(timers_, timers_->now_ms() + kSwitchHostMs);
  entries_.insert_or_assign(ticket, std::move(entry));
}

const Departure* ReturningClients::Find(const TicketDigest& ticket) const {
  const auto found = entries_.find(ticket);
  return found == entries_.end() ? nullptr : &found->second->client.departure;
}

std::optional<ReturningClient> ReturningClients::Take(
    const TicketDigest& ticket) {
  const auto found = entries_.find(ticket);
  if (found == entries_.end()) {
    return std::nullopt;
  }
  ReturningClient client = std::move(found->second->client);
  entries_.erase(found);
  return client;
}

void ReturningClients::OnTooLate(void* entry) {
  auto* late = static_cast<Entry*>(entry);
  ReturningClients* const owner = late->owner;
  const auto client = owner->Take(late->client.ticket.digest());
  owner->too_late_(*client);
}

}  // namespace spicegate
