// SPDX-License-Identifier: Apache-2.0
//
// A real QEMU with a SPICE server, for tests that compare with it.
#ifndef SPICEGATE_TESTS_PEER_QEMU_PROCESS_H_
#define SPICEGATE_TESTS_PEER_QEMU_PROCESS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "tests/peer/child_process.h"
#include "tests/peer/peer_tls.h"

namespace spicegate {

// A bare PC in software emulation with qxl and, beside main, display, inputs
// and cursor channels; with `every_device` playback, record, usbredir and
// webdav too.
class QemuProcess {
 public:
  struct Options {
    std::string password = "secret";
    bool every_device = false;
    // Goes behind -spice's other values, for example ",tls-channel=main".
    std::string spice_extra = {};
  };

  // Whether this machine has a QEMU with SPICE. Tests skip themselves where
  // it has none, unless SPICEGATE_CI says that nothing may be skipped.
  static bool Available();

  // Returns once both ports listen; aborts the test when QEMU does not start.
  explicit QemuProcess(const Options& options);
  ~QemuProcess();

  uint16_t port() const { return port_; }
  uint16_t tls_port() const { return tls_port_; }
  ChildProcess* process() { return process_.get(); }

 private:
  bool Start(const Options& options);

  std::string directory_;
  uint16_t port_ = 0;
  uint16_t tls_port_ = 0;
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace spicegate

#endif  // SPICEGATE_TESTS_PEER_QEMU_PROCESS_H_
