// SPDX-License-Identifier: Apache-2.0
//
// Any text as lines of QEMU's: what is taken for QMP keeps to its bounds.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "gateway/base/check.h"
#include "gateway/qmp/qmp_protocol.h"

namespace {

using spicegate::QmpAddress;
using spicegate::QmpChannel;
using spicegate::QmpEvent;
using spicegate::QmpMessage;

void CheckAddress(const QmpAddress& address) {
  CHECK(address.host.size() <= spicegate::kMaxQmpHostLen);
  CHECK(address.port.size() <= spicegate::kMaxQmpHostLen);
  if (address.family == QmpAddress::Family::kIpv4 ||
      address.family == QmpAddress::Family::kIpv6) {
    CHECK(!address.port.empty() && address.port.size() <= 5);
    CHECK(address.port.find_first_not_of("0123456789") == std::string::npos);
  }
}

void CheckChannel(const QmpChannel& channel) {
  CheckAddress(channel.peer);
  CHECK(channel.channel_type >= 0 && channel.channel_id >= 0);
}

void CheckEvent(const QmpEvent& event) {
  CHECK(event.channel.has_value() ==
        (event.kind == QmpEvent::Kind::kInitialized));
  if (event.kind == QmpEvent::Kind::kOther ||
      event.kind == QmpEvent::Kind::kMigrateCompleted) {
    return;
  }
  CheckAddress(event.server);
  CheckAddress(event.client);
  if (event.channel.has_value()) {
    CheckChannel(*event.channel);
  }
}

void CheckSpice(const spicegate::JsonValue& result) {
  const auto spice = spicegate::ParseQuerySpice(result);
  if (!spice.ok()) {
    return;
  }
  CHECK(spice->host.empty() || spice->unix_path.empty());
  CHECK(spice->unix_path.empty() || spice->port + spice->tls_port == 0);
  CHECK(spice->channels.size() <= spicegate::kMaxQmpChannels);
  for (const QmpChannel& channel : spice->channels) {
    CheckChannel(channel);
  }
}

void CheckLine(const std::string& line) {
  const auto message = spicegate::ParseQmpLine(line);
  if (!message.ok()) {
    CHECK(message.status().message().size() <= 300);
    return;
  }
  CHECK(message->id.value_or(0) >= 0);
  CHECK(message->error.desc.size() <= spicegate::kMaxQmpErrorLen);
  CHECK(message->error.error_class.size() <= spicegate::kMaxQmpErrorLen);
  if (message->type == QmpMessage::Type::kEvent) {
    CheckEvent(message->event);
  } else if (message->type == QmpMessage::Type::kReturn) {
    CheckSpice(message->result);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t len) {
  const std::string text(reinterpret_cast<const char*>(data), len);
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    CheckLine(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return 0;
}
