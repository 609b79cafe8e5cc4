// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/config_policies.h"

#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/console/console.h"
#include "gateway/control/config.h"
#include "proto/channel.h"

namespace spicegate {
namespace {

using proto::ChannelType;
using Text = JsonObjectReader::Text;

constexpr ChannelType kRefusable[] = {
    ChannelType::kUsbredir,  ChannelType::kRecord, ChannelType::kPlayback,
    ChannelType::kSmartcard, ChannelType::kWebdav, ChannelType::kPort};

// The bit of Policy::refused_channels for a channel's name; 0 when that cannot
// be refused.
uint16_t BitOf(std::string_view name) {
  for (const ChannelType type : kRefusable) {
    if (proto::ChannelName(type) == name) {
      return static_cast<uint16_t>(1U << static_cast<unsigned>(type));
    }
  }
  return 0;
}

bool IsRefusable(std::string_view name) { return BitOf(name) != 0; }

bool IsClipboard(std::string_view word) {
  return word == "both" || word == "to_guest" || word == "from_guest" ||
         word == "none";
}

constexpr Text kName = {"a name of 1 to 128 of A-Z a-z 0-9 . _ -",
                        kMaxConsoleNameLen, IsConsoleName};
constexpr Text kChannel = {
    "\"usbredir\", \"record\", \"playback\", \"smartcard\", \"webdav\" or "
    "\"port\"",
    16, IsRefusable};
constexpr Text kClipboard = {
    "\"both\", \"to_guest\", \"from_guest\" or \"none\"", 16, IsClipboard};

void ReadPolicy(JsonObjectReader& reader, Policy* policy) {
  std::vector<std::string> channels;
  reader.Strings("refuse_channels", 0, std::size(kRefusable), kChannel,
                 &channels);
  for (const std::string& channel : channels) {
    policy->refused_channels |= BitOf(channel);
  }
  reader.Bool("read_only", &policy->read_only);
  std::string clipboard = "both";
  reader.String("clipboard", kClipboard, &clipboard);
  policy->clipboard_to_guest = clipboard == "both" || clipboard == "to_guest";
  policy->clipboard_from_guest =
      clipboard == "both" || clipboard == "from_guest";
  reader.Bool("file_transfer", &policy->file_transfer);
}

}  // namespace

void ReadPolicies(JsonObjectReader& root, PolicySet* out) {
  root.Members("policies", kMaxPolicies, kName,
               [out](const std::string& name, JsonObjectReader& reader) {
                 ReadPolicy(reader, &(*out)[name]);
               });
}

}  // namespace spicegate
