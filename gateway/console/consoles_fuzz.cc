// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a consoles file. What is accepted must keep its promises.
#include <cstddef>
#include <cstdint>
#include <string>

#include "gateway/base/check.h"
#include "gateway/console/file_directory.h"

namespace {

absl::StatusOr<std::string> NoFetch(const std::string&) {
  return absl::NotFoundError("no files here");
}

void CheckConsole(const spicegate::Console& console) {
  CHECK(spicegate::IsConsoleName(console.name));
  CHECK(console.ticket.size() <= spicegate::kMaxServerTicketLen);
  CHECK(console.destination_ticket.value_or("").size() <=
        spicegate::kMaxServerTicketLen);
  CHECK(console.policy_name.empty() || console.policy.read_only);
  const bool has_port = console.port != 0 || console.tls_port != 0;
  CHECK(console.unix_path.empty() != console.host.empty());
  CHECK(has_port == !console.host.empty());
  CHECK((console.tls_port != 0) == !console.ca_pem.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  const std::string text(reinterpret_cast<const char*>(data), len);
  static const spicegate::PolicySet policies = {{"kiosk", {.read_only = true}}};
  const auto table =
      spicegate::ParseConsoles(text, "f", {&policies}, NoFetch, nullptr);
  if (!table.ok()) {
    CHECK(table.status().message().substr(0, 3) == "f: ");
    return 0;
  }
  for (const spicegate::Console& console : (*table)->consoles()) {
    CheckConsole(console);
    CHECK((*table)->Find(console.name) == &console);
  }
  return 0;
}
