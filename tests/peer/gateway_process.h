// SPDX-License-Identifier: Apache-2.0
//
// The gateway's binary in a process of its own.
#ifndef SPICEGATE_TESTS_PEER_GATEWAY_PROCESS_H_
#define SPICEGATE_TESTS_PEER_GATEWAY_PROCESS_H_

#include <memory>
#include <string>

#include "tests/peer/child_process.h"
#include "tests/peer/gateway_fixture.h"

namespace spicegate {

class GatewayProcess : public Gateway {
 public:
  // Returns once it is ready; aborts the test when it does not start.
  explicit GatewayProcess(const GatewayOptions& options);
  ~GatewayProcess() override;

  // SIGTERM, then exit status 0. A sanitizer's report shows here too.
  void Stop() override;

  ChildProcess* process() { return process_.get(); }

 private:
  void ReadListeners(const std::string& log);

  std::unique_ptr<ChildProcess> process_;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_GATEWAY_PROCESS_H_
