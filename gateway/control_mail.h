// SPDX-License-Identifier: Apache-2.0
//
// What workers ask of the control thread.
#ifndef SPICEGATE_GATEWAY_CONTROL_MAIL_H_
#define SPICEGATE_GATEWAY_CONTROL_MAIL_H_

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

#include "gateway/base/mailbox.h"
#include "gateway/base/slab.h"
#include "gateway/base/unique_fd.h"
#include "gateway/server_link/server_access.h"

namespace spicegate {

// How to get in at a server; answered with GivenAccess to that worker.
struct AccessRequest {
  AccessQuestion question;
  int worker = 0;
  Handle inquiry;
};

// A worker's answer to DisconnectRequest.
struct Disconnected {
  uint64_t id = 0;
  int64_t num_sessions = 0;
};

using ControlMessage = std::variant<AccessRequest, Disconnected>;

class ControlMail {
 public:
  ControlMail() : wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

  // Any thread.
  void Post(ControlMessage message) {
    if (mailbox_.Push(std::move(message))) {
      const uint64_t one = 1;
      const ssize_t n = write(wake_.get(), &one, sizeof(one));
      static_cast<void>(n);
    }
  }

  // The control thread. The descriptor is readable while there is mail.
  int fd() const { return wake_.get(); }
  std::vector<ControlMessage> TakeAll() {
    uint64_t count = 0;
    const ssize_t n = read(wake_.get(), &count, sizeof(count));
    static_cast<void>(n);
    return mailbox_.TakeAll();
  }

 private:
  UniqueFd wake_;
  Mailbox<ControlMessage> mailbox_;
};

}  // namespace spicegate

#endif  // SPICEGATE_GATEWAY_CONTROL_MAIL_H_
