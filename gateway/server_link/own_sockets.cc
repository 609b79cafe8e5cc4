// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/own_sockets.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "gateway/base/clock.h"

namespace spicegate {

std::optional<OwnSockets::Place> OwnSockets::PlaceOf(
    const SocketAddress& local) {
  Place place{};
  constexpr size_t kPortAt = sizeof(in6_addr);
  if (local.family() == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&local.storage);
    place[10] = place[11] = 0xff;
    std::memcpy(&place[12], &in->sin_addr, sizeof(in->sin_addr));
    std::memcpy(&place[kPortAt], &in->sin_port, sizeof(in->sin_port));
    return place;
  }
  if (local.family() == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&local.storage);
    std::memcpy(&place[0], &in6->sin6_addr, sizeof(in6->sin6_addr));
    std::memcpy(&place[kPortAt], &in6->sin6_port, sizeof(in6->sin6_port));
    return place;
  }
  return std::nullopt;
}

void OwnSockets::Add(const Place& place) {
  const std::lock_guard lock(mutex_);
  ++places_[place].num_users;
}

void OwnSockets::Drop(const Place& place, int64_t now_ms) {
  const std::lock_guard lock(mutex_);
  const auto found = places_.find(place);
  if (found == places_.end()) {
    return;
  }
  if (--found->second.num_users == 0) {
    found->second.ended_ms = now_ms;
  }
  if (now_ms >= next_sweep_ms_) {
    next_sweep_ms_ = now_ms + kKeptMs;
    Sweep(now_ms);
  }
}

void OwnSockets::Sweep(int64_t now_ms) {
  for (auto entry = places_.begin(); entry != places_.end();) {
    const auto next = std::next(entry);
    if (entry->second.num_users == 0 &&
        now_ms - entry->second.ended_ms > kKeptMs) {
      places_.erase(entry);
    }
    entry = next;
  }
}

bool OwnSockets::Has(const std::string& host, uint16_t port, int64_t now_ms) {
  SocketAddress address;
  if (!NumericAddress(host, port, &address)) {
    return false;
  }
  const std::lock_guard lock(mutex_);
  const auto found = places_.find(*PlaceOf(address));
  return found != places_.end() && (found->second.num_users > 0 ||
                                    now_ms - found->second.ended_ms <= kKeptMs);
}

OwnSocketMark::OwnSocketMark(OwnSockets* sockets, int fd) {
  if (sockets == nullptr || !sockets->wanted()) {
    return;
  }
  if (const auto place = OwnSockets::PlaceOf(LocalAddress(fd))) {
    sockets_ = sockets;
    place_ = *place;
    sockets_->Add(place_);
  }
}

OwnSocketMark& OwnSocketMark::operator=(OwnSocketMark&& other) noexcept {
  if (this != &other) {
    Release();
    sockets_ = std::exchange(other.sockets_, nullptr);
    place_ = other.place_;
  }
  return *this;
}

void OwnSocketMark::Release() {
  if (OwnSockets* sockets = std::exchange(sockets_, nullptr)) {
    sockets->Drop(place_, MonotonicMs());
  }
}

}  // namespace spicegate
