// SPDX-License-Identifier: Apache-2.0
//
// Any text as Nova's reply: what is taken of it can be dialled and named.
#include <cstddef>
#include <cstdint>
#include <string>

#include "gateway/base/check.h"
#include "gateway/cloud/nova_protocol.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  const std::string body(reinterpret_cast<const char*>(data), len);
  const auto console = spicegate::ParseNovaReply(body);
  if (console.ok()) {
    CHECK(spicegate::IsNovaToken(console->id));
    CHECK(!console->host.empty() && console->host.size() <= 253);
    CHECK(console->host.find_first_of(std::string("[]/%@ \0", 7)) ==
          std::string::npos);
    CHECK(console->port != 0 || console->tls_port != 0);
    CHECK(console->ticket.empty() && console->ca_pem.empty());
  } else {
    CHECK(console.status().message().size() <= 200);
  }
  spicegate::IsNovaNotFound(body);
  spicegate::IsNovaToken(body);
  return 0;
}
