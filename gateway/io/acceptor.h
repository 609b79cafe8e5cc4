// SPDX-License-Identifier: Apache-2.0
#ifndef SPICEGATE_GATEWAY_IO_ACCEPTOR_H_
#define SPICEGATE_GATEWAY_IO_ACCEPTOR_H_

#include <cstdint>
#include <functional>

#include "gateway/base/counters.h"
#include "gateway/base/timer_wheel.h"
#include "gateway/base/unique_fd.h"
#include "gateway/io/driver.h"

namespace spicegate {

// Accepts from one listening socket for one worker. Without descriptors it
// pauses instead of spinning.
class Acceptor final : private OpHandler {
 public:
  // Called with a connected socket, which the callee owns.
  using OnAccept = std::function<void(int fd)>;

  // Everything borrowed outlives the acceptor.
  Acceptor(IoDriver* driver, TimerWheel* timers, Counter* pauses,
           UniqueFd listener, OnAccept on_accept);
  // Stop must have been called, and stopped() be true.
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  void Start();

  // Accepts nothing more. What the kernel has queued for this socket is reset
  // when the socket closes, which is once the operation in flight has ended.
  void Stop();
  bool stopped() const { return stopping_ && !op_; }

 private:
  void OnOp(uint32_t tag, OpResult result) override;
  void Pause();

  IoDriver* const driver_;
  TimerWheel* const timers_;
  Counter* const pauses_;
  UniqueFd listener_;
  const OnAccept on_accept_;
  Timer pause_;
  OpId op_;
  bool stopping_ = false;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_IO_ACCEPTOR_H_
