// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/host_patterns.h"

#include <arpa/inet.h>

#include <algorithm>

#include "gateway/base/ascii.h"

namespace spicegate {
namespace {

constexpr size_t kMaxLabelLen = 63;  // RFC 1035
constexpr size_t kMaxNameLen = 253;  // likewise
constexpr int kIpv4PrefixBits = 96;  // of ::ffff:0:0/96
constexpr std::array<uint8_t, 12> kIpv4Prefix = {0, 0, 0, 0, 0,    0,
                                                 0, 0, 0, 0, 0xff, 0xff};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool IsLabelChar(char c) {
  return (c >= 'a' && c <= 'z') || IsDigit(c) || c == '-' || c == '_';
}

bool IsLabel(std::string_view label) {
  return !label.empty() && label.size() <= kMaxLabelLen &&
         std::all_of(label.begin(), label.end(), IsLabelChar);
}

// A last label that begins with a digit makes a number of some base, which
// resolvers read as an address. No top-level domain does.
bool IsLastLabel(std::string_view label) {
  return IsLabel(label) && !IsDigit(label.front());
}

// `name` in lower case.
bool IsHostName(std::string_view name) {
  if (name.empty() || name.size() > kMaxNameLen) {
    return false;
  }
  for (size_t dot = 0; (dot = name.find('.')) != std::string_view::npos;) {
    if (!IsLabel(name.substr(0, dot))) {
      return false;
    }
    name.remove_prefix(dot + 1);
  }
  return IsLastLabel(name);
}

// A prefix length from 0 to `most`, without sign and leading zeros; -1 for all
// else.
int ParsePrefixLen(std::string_view text, int most) {
  const bool has_form = !text.empty() && text.size() <= 3 &&
                        std::all_of(text.begin(), text.end(), IsDigit) &&
                        (text.size() == 1 || text.front() != '0');
  if (!has_form) {
    return -1;
  }
  int len = 0;
  for (const char digit : text) {
    len = len * 10 + (digit - '0');
  }
  return len <= most ? len : -1;
}

uint8_t MaskOfByte(int prefix_len, size_t index) {
  const int bits = prefix_len - static_cast<int>(index) * 8;
  return bits >= 8   ? uint8_t{0xff}
         : bits <= 0 ? uint8_t{0}
                     : static_cast<uint8_t>(0xff << (8 - bits));
}

// A name, or a domain with its dot in front, in lower case.
bool ParseNamePattern(std::string_view text, std::string* out) {
  const bool is_domain = text.starts_with('.');
  // An entry means the same with and without a dot at its end, so that only
  // one of the two need be known.
  if (text.ends_with('.') ||
      !ParseHostName(text.substr(is_domain ? 1 : 0), out)) {
    return false;
  }
  if (is_domain) {
    out->insert(out->begin(), '.');
  }
  return true;
}

}  // namespace

bool ParseHostAddress(std::string_view text, AddressBytes* out) {
  if (text.find('\0') != std::string_view::npos) {
    return false;
  }
  const std::string terminated(text);
  if (inet_pton(AF_INET6, terminated.c_str(), out->data()) == 1) {
    return true;
  }
  std::copy(kIpv4Prefix.begin(), kIpv4Prefix.end(), out->begin());
  return inet_pton(AF_INET, terminated.c_str(),
                   out->data() + kIpv4Prefix.size()) == 1;
}

bool ParseHostName(std::string_view text, std::string* out) {
  // A dot at the end says that the name is whole.
  if (text.ends_with('.')) {
    text.remove_suffix(1);
  }
  out->resize(text.size());
  std::transform(text.begin(), text.end(), out->begin(), AsciiLower);
  return IsHostName(*out);
}

bool HostNetwork::Holds(const AddressBytes& host) const {
  const bool is_ipv4 =
      std::equal(kIpv4Prefix.begin(), kIpv4Prefix.end(), host.begin());
  if (is_ipv4 && prefix_len < kIpv4PrefixBits) {
    return false;
  }
  for (size_t i = 0; i < host.size(); ++i) {
    if ((host[i] & MaskOfByte(prefix_len, i)) != address[i]) {
      return false;
    }
  }
  return true;
}

bool ParseHostNetwork(std::string_view text, HostNetwork* out) {
  const size_t slash = text.find('/');
  if (!ParseHostAddress(text.substr(0, slash), &out->address)) {
    return false;
  }
  out->prefix_len = 128;
  if (slash != std::string_view::npos) {
    const bool is_ipv4 = text.find(':') == std::string_view::npos;
    const int most = is_ipv4 ? 32 : 128;
    const int len = ParsePrefixLen(text.substr(slash + 1), most);
    if (len < 0) {
      return false;
    }
    out->prefix_len = is_ipv4 ? kIpv4PrefixBits + len : len;
  }
  return out->Holds(out->address);
}

bool HostPatterns::IsEntry(std::string_view text) {
  return Parse({std::string(text)}).ok();
}

bool HostPatterns::IsNetworkEntry(std::string_view text) {
  HostNetwork network;
  return ParseHostNetwork(text, &network);
}

absl::StatusOr<HostPatterns> HostPatterns::Parse(
    const std::vector<std::string>& entries) {
  HostPatterns parsed;
  for (size_t i = 0; i < entries.size(); ++i) {
    HostNetwork network;
    std::string name;
    if (ParseHostNetwork(entries[i], &network)) {
      parsed.networks_.push_back(network);
    } else if (ParseNamePattern(entries[i], &name)) {
      parsed.names_.push_back(name);
    } else {
      return absl::InvalidArgumentError("entry " + std::to_string(i) +
                                        ": expected " + kExpected + ", got \"" +
                                        entries[i] + "\"");
    }
  }
  return parsed;
}

bool HostPatterns::Holds(std::string_view host) const {
  AddressBytes address;
  if (ParseHostAddress(host, &address)) {
    return HoldsAddress(address);
  }
  std::string name;
  return ParseHostName(host, &name) && HoldsName(name);
}

bool HostPatterns::HoldsAddress(const AddressBytes& address) const {
  return std::any_of(networks_.begin(), networks_.end(),
                     [&address](const HostNetwork& network) {
                       return network.Holds(address);
                     });
}

bool HostPatterns::HoldsName(std::string_view name) const {
  return std::any_of(names_.begin(), names_.end(),
                     [name](std::string_view entry) {
                       if (!entry.starts_with('.')) {
                         return name == entry;
                       }
                       return name == entry.substr(1) || name.ends_with(entry);
                     });
}

}  // namespace spicegate
