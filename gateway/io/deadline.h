// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_IO_DEADLINE_H_
#define SPICEGATE_GATEWAY_IO_DEADLINE_H_

#include <cerrno>
#include <cstdint>

#include "gateway/base/timer_wheel.h"
#include "gateway/io/socket.h"

namespace spicegate {

// While it lives, a socket's waits end with -ETIMEDOUT once `deadline_ms` has
// passed: absolute, whatever the peer sends meanwhile. The socket outlives it.
class Deadline {
 public:
  Deadline(TimerWheel* timers, Socket* socket, int64_t deadline_ms)
      : socket_(socket), timer_(&Deadline::OnTimer, this) {
    timer_.Arm(timers, deadline_ms);
  }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

  bool passed() const { return passed_; }

 private:
  static void OnTimer(void* self) {
    auto* deadline = static_cast<Deadline*>(self);
    deadline->passed_ = true;
    deadline->socket_->Interrupt(-ETIMEDOUT);
  }

  Socket* const socket_;
  Timer timer_;
  bool passed_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_DEADLINE_H_
