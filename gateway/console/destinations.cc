// SPDX-License-Identifier: Apache-2.0
#include "gateway/console/destinations.h"

#include <arpa/inet.h>

#include <algorithm>
#include <utility>

namespace spicegate {
namespace {

constexpr size_t kMaxLabelLen = 63;  // RFC 1035
constexpr size_t kMaxNameLen = 253;  // likewise
constexpr int kIpv4PrefixBits = 96;  // of ::ffff:0:0/96
constexpr std::array<uint8_t, 12> kIpv4Prefix = {0, 0, 0, 0, 0,    0,
                                                 0, 0, 0, 0, 0xff, 0xff};

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

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

}  // namespace

bool Destinations::Network::Holds(const Bytes& host) const {
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

bool Destinations::ParseAddress(std::string_view text, Bytes* out) {
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

bool Destinations::ParseNetwork(std::string_view text, Network* out) {
  const size_t slash = text.find('/');
  if (!ParseAddress(text.substr(0, slash), &out->address)) {
    return false;
  }
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

bool Destinations::ParseName(std::string_view text, std::string* out) {
  out->resize(text.size());
  std::transform(text.begin(), text.end(), out->begin(), Lower);
  return IsHostName(*out);
}

bool Destinations::IsEntry(std::string_view text) {
  return Parse({std::string(text)}).ok();
}

absl::StatusOr<Destinations> Destinations::Parse(
    const std::vector<std::string>& entries) {
  Destinations parsed;
  for (size_t i = 0; i < entries.size(); ++i) {
    const std::string_view text = entries[i];
    const bool is_domain = text.starts_with('.');
    Network network;
    std::string name;
    if (ParseNetwork(text, &network)) {
      parsed.networks_.push_back(network);
    } else if (ParseName(text.substr(is_domain ? 1 : 0), &name)) {
      parsed.names_.push_back((is_domain ? "." : "") + name);
    } else {
      return absl::InvalidArgumentError("entry " + std::to_string(i) +
                                        ": expected " + kExpected + ", got \"" +
                                        entries[i] + "\"");
    }
  }
  return parsed;
}

bool Destinations::Allows(std::string_view host) const {
  if (any()) {
    return true;
  }
  Bytes address;
  if (ParseAddress(host, &address)) {
    return std::any_of(
        networks_.begin(), networks_.end(),
        [&address](const Network& network) { return network.Holds(address); });
  }
  // A dot at the end says that the name is whole.
  if (host.ends_with('.')) {
    host.remove_suffix(1);
  }
  std::string name;
  return ParseName(host, &name) && AllowsName(name);
}

bool Destinations::AllowsName(std::string_view name) const {
  return std::any_of(names_.begin(), names_.end(),
                     [name](std::string_view entry) {
                       if (!entry.starts_with('.')) {
                         return name == entry;
                       }
                       return name == entry.substr(1) || name.ends_with(entry);
                     });
}

}  // namespace spicegate
