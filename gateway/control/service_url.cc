// SPDX-License-Identifier: Apache-2.0
#include "gateway/control/service_url.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "gateway/console/host_patterns.h"

namespace spicegate {
namespace {

constexpr std::string_view kHttp = "http://";
constexpr std::string_view kHttps = "https://";

// Cuts `prefix` off; false when `text` does not begin with it.
bool Consume(std::string_view prefix, std::string_view* text) {
  if (text->substr(0, prefix.size()) != prefix) {
    return false;
  }
  text->remove_prefix(prefix.size());
  return true;
}

// pchar and '/' (RFC 3986, 3.3). A percent sign is taken as it is.
bool IsPathLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') ||
         std::string_view("/-._~%!$&'()*+,;=:@").find(c) !=
             std::string_view::npos;
}

bool ParsePort(std::string_view text, uint16_t* out) {
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, *out);
  return error == std::errc() && stopped == end && *out != 0;
}

// Takes the host off `text` and leaves the port with its colon, or nothing.
bool ParseHost(std::string_view* text, std::string* out) {
  AddressBytes ignored;
  if (Consume("[", text)) {
    const size_t end = text->find(']');
    *out = text->substr(0, end);
    if (end == std::string_view::npos || out->find(':') == std::string::npos ||
        !ParseHostAddress(*out, &ignored)) {
      return false;
    }
    text->remove_prefix(end + 1);
    return true;
  }
  const std::string_view host = text->substr(0, text->find(':'));
  text->remove_prefix(host.size());
  if (ParseHostAddress(host, &ignored)) {
    *out = host;
    return true;
  }
  return ParseHostName(host, out);
}

}  // namespace

bool ParseServiceUrl(std::string_view text, ServiceUrl* out) {
  if (text.size() > kMaxServiceUrlLen) {
    return false;
  }
  out->https = Consume(kHttps, &text);
  if (!out->https && !Consume(kHttp, &text)) {
    return false;
  }
  const size_t path_at = std::min(text.find('/'), text.size());
  out->path = text.substr(path_at);
  std::string_view place = text.substr(0, path_at);
  if (!std::all_of(out->path.begin(), out->path.end(), IsPathLetter) ||
      !ParseHost(&place, &out->host)) {
    return false;
  }
  out->port = out->https ? 443 : 80;
  return place.empty() ||
         (Consume(":", &place) && ParsePort(place, &out->port));
}

bool IsLoopbackService(const ServiceUrl& url) {
  AddressBytes address;
  if (!ParseHostAddress(url.host, &address)) {
    return url.host == "localhost";
  }
  HostNetwork ipv4;
  HostNetwork ipv6;
  return (ParseHostNetwork("127.0.0.0/8", &ipv4) && ipv4.Holds(address)) ||
         (ParseHostNetwork("::1", &ipv6) && ipv6.Holds(address));
}

}  // namespace spicegate
