// SPDX-License-Identifier: Apache-2.0
//
// Any text as a broker's reply: what is taken of it can be dialled, named and
// shown.
#include <cstddef>
#include <cstdint>
#include <string>

#include "gateway/base/check.h"
#include "gateway/cloud/broker_protocol.h"
#include "gateway/cloud/cloud_config.h"
#include "gateway/console/console.h"

namespace {

using spicegate::CloudConsole;

void CheckConsole(const CloudConsole& console) {
  const std::string longest_name(spicegate::kMaxCloudNameLen, 'a');
  CHECK(spicegate::IsConsoleName(longest_name + "." + console.id));
  CHECK(!console.host.empty() && console.host.size() <= 253);
  CHECK(console.host.find_first_of(std::string("[]/%@ \0", 7)) ==
        std::string::npos);
  CHECK(console.port != 0 || console.tls_port != 0);
  CHECK(console.title.size() <= spicegate::kMaxBrokerTitleLen);
  CHECK(console.title.find_first_of("\r\n") == std::string::npos);
  CHECK(console.ticket.size() <= spicegate::kMaxServerTicketLen);
  CHECK(console.ca_pem.size() <= spicegate::kMaxBrokerCaBytes);
  CHECK(console.host_subject.size() <= spicegate::kMaxBrokerSubjectLen);
  CHECK(console.policy_name.empty() ||
        spicegate::IsConsoleName(console.policy_name));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  const std::string body(reinterpret_cast<const char*>(data), len);
  const auto console = spicegate::ParseBrokerReply(body);
  if (console.ok()) {
    CheckConsole(*console);
  } else {
    CHECK(console.status().message().size() <= 200);
  }
  spicegate::IsBrokerToken(body);
  return 0;
}
