// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a configuration. What is accepted must keep its promises.
#include <cstddef>
#include <cstdint>
#include <string>

#include "gateway/base/check.h"
#include "gateway/console/console.h"
#include "gateway/control/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  const std::string text(reinterpret_cast<const char*>(data), len);
  const auto config = spicegate::ParseConfig(text, "f");
  if (!config.ok()) {
    CHECK(config.status().message().substr(0, 3) == "f: ");
    return 0;
  }
  CHECK(!config->listeners.empty());
  CHECK(config->listeners.size() <= spicegate::kMaxListeners);
  for (const spicegate::ListenerConfig& listener : config->listeners) {
    CHECK(!(listener.tls && listener.need_secured));
    spicegate::BindAddress again;
    CHECK(ParseBindAddress(FormatBindAddress(listener.address), &again));
    CHECK(again == listener.address);
  }
  CHECK(IsLoopback(config->admin.address) ||
        !config->admin.tls.client_ca_path.empty());
  for (const spicegate::CertificatePaths& pair : config->tls.certificates) {
    CHECK(!pair.certificate.empty() && !pair.key.empty());
  }
  CHECK(config->tls.tls12_suites.size() <= 3);
  for (const auto& [name, policy] : config->policies) {
    CHECK(spicegate::IsConsoleName(name));
    // Of main, display, inputs and cursor none.
    CHECK((policy.refused_channels & 0b1'1111) == 0);
  }
  CHECK(config->workers >= 0 && config->workers <= spicegate::kMaxWorkers);
  return 0;
}
