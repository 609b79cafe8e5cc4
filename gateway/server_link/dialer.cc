// SPDX-License-Identifier: Apache-2.0
#include "gateway/server_link/dialer.h"

#include <algorithm>
#include <cerrno>

#include "gateway/io/deadline.h"

namespace spicegate {

CloseReason ServerReasonOf(int error) {
  switch (error) {
    case -ETIMEDOUT:
      return CloseReason::kServerTimeout;
    case -ECANCELED:
      return CloseReason::kShutdown;
    default:
      return CloseReason::kServerGone;
  }
}

void Dialer::Abandon() {
  abandoned_ = true;
  if (leg_->socket != nullptr) {
    leg_->socket->Interrupt(-ECANCELED);
  }
}

Task<Dialer::Failure> Dialer::DialUnix(const std::string* path,
                                       int64_t deadline_ms) {
  const absl::StatusOr<SocketAddress> address = UnixAddress(*path);
  if (!address.ok()) {
    co_return CloseReason::kServerConnect;
  }
  co_return co_await Connect(*address, deadline_ms);
}

Task<Dialer::Failure> Dialer::Dial(const HostPort* place, int64_t deadline_ms,
                                   const Filter* filter) {
  Addresses addresses;
  SocketAddress numeric;
  if (NumericAddress(place->host, place->port, &numeric)) {
    addresses.push_back(numeric);
  } else {
    addresses = co_await context_.names->Put(*place, deadline_ms);
  }
  Failure failure = CloseReason::kServerResolve;
  if (filter != nullptr && !addresses.empty()) {
    std::erase_if(addresses, [filter](const auto& address) {
      return !(*filter)(address);
    });
    failure = CloseReason::kConnectForbidden;
  }
  for (size_t i = 0; i < addresses.size(); ++i) {
    // An address that never answers leaves the others their share of the time.
    const int64_t now_ms = context_.timers->now_ms();
    const int64_t num_left = static_cast<int64_t>(addresses.size() - i);
    failure = co_await Connect(addresses[i],
                               now_ms + (deadline_ms - now_ms) / num_left);
    if (!failure.has_value() || *failure == CloseReason::kShutdown) {
      break;
    }
  }
  co_return failure;
}

Task<Dialer::Failure> Dialer::Connect(SocketAddress address,
                                      int64_t deadline_ms) {
  if (abandoned_) {
    co_return CloseReason::kShutdown;
  }
  const int fd = context_.driver->OpenSocket(address.family());
  if (fd < 0) {
    co_return CloseReason::kInternal;
  }
  *leg_ = Leg::Plain(context_.driver, fd);
  if (address.family() != AF_UNIX) {
    TuneConnectingSocket(fd);
  }
  const Deadline deadline(context_.timers, leg_->socket.get(), deadline_ms);
  const int error =
      co_await leg_->socket->Connected(address.get(), address.len);
  if (error == 0) {
    co_return std::nullopt;
  }
  co_return error == -ETIMEDOUT || error == -ECANCELED
      ? ServerReasonOf(error)
      : CloseReason::kServerConnect;
}

}  // namespace spicegate
