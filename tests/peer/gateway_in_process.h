// SPDX-License-Identifier: Apache-2.0
//
// The gateway as an object of the test's own process, with its own control
// thread: for tests that want one sanitizer report or one debugger.
#ifndef SPICEGATE_TESTS_PEER_GATEWAY_IN_PROCESS_H_
#define SPICEGATE_TESTS_PEER_GATEWAY_IN_PROCESS_H_

#include <future>
#include <thread>

#include "gateway/server.h"
#include "tests/peer/gateway_fixture.h"

namespace spicegate {

class GatewayInProcess : public Gateway {
 public:
  // Returns once it is ready; aborts the test when it does not start.
  explicit GatewayInProcess(const GatewayOptions& options);
  ~GatewayInProcess() override;

  void Stop() override;

 private:
  void RunControl(std::promise<Server*>* started);

  Server* server_ = nullptr;  // Lives on the control thread's stack.
  std::promise<void> stop_requested_;
  std::thread control_;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_GATEWAY_IN_PROCESS_H_
