// SPDX-License-Identifier: Apache-2.0
//
// Any bytes as a consoles file. What is accepted must keep its promises.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

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
  CHECK(has_port == !console.host.empty());
  CHECK(console.host.empty() + console.unix_path.empty() +
            console.qmp_path.empty() ==
        2);
  if (console.qmp_path.empty()) {
    CHECK((console.tls_port != 0) == !console.ca_pem.empty());
    CHECK(console.qmp_monitor == spicegate::QmpMonitor::kShared);
  } else {
    CHECK(console.ticket.empty() && !console.destination_ticket.has_value());
    CHECK(console.host_subject.empty() || !console.ca_pem.empty());
  }
}

// Two sockets for each pattern, one of them with a name of its own choice.
std::vector<spicegate::SocketMatch> Sockets(const std::string& pattern,
                                            size_t /*max_matches*/) {
  CHECK(spicegate::IsSocketPattern(pattern));
  const size_t star = pattern.find('*');
  return {{pattern.substr(0, star) + "7" + pattern.substr(star + 1), "7"},
          {"/elsewhere", "a b"}};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  const std::string text(reinterpret_cast<const char*>(data), len);
  static const spicegate::PolicySet policies = {{"kiosk", {.read_only = true}}};
  const auto file =
      spicegate::ParseConsoles(text, "f", {&policies}, NoFetch, nullptr);
  if (!file.ok()) {
    CHECK(file.status().message().substr(0, 3) == "f: ");
    return 0;
  }
  const auto table = spicegate::MakeConsoleTable(
      *file, spicegate::ListPatternSockets(file->patterns, Sockets));
  CHECK(table->size() <= file->consoles.size() + file->patterns.size());
  for (const spicegate::Console& console : table->consoles()) {
    CheckConsole(console);
    CHECK(table->Find(console.name) == &console);
  }
  return 0;
}
