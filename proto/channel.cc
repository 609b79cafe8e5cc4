// SPDX-License-Identifier: Apache-2.0
#include "proto/channel.h"

#include <array>

namespace spicegate::proto {
namespace {

constexpr std::array<std::string_view, kNumChannelTypes> kNames = {
    "unknown", "main",   "display",   "inputs",   "cursor", "playback",
    "record",  "tunnel", "smartcard", "usbredir", "port",   "webdav"};

}  // namespace

bool IsKnownChannelType(uint8_t type) {
  return type != 0 && type < kNumChannelTypes &&
         type != static_cast<uint8_t>(ChannelType::kTunnel);
}

bool IsKnownChannelType(ChannelType type) {
  return IsKnownChannelType(static_cast<uint8_t>(type));
}

std::string_view ChannelName(ChannelType type) {
  const size_t index = static_cast<uint8_t>(type);
  return kNames[index < kNames.size() ? index : 0];
}

}  // namespace spicegate::proto
